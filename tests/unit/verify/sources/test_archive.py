"""Tars and gzips that somebody made to climb, to hide, to fill a disk or to eat memory."""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator

import pytest

from lastgood.verify import LimitError, RefusedEntryError
from lastgood.verify.sources.disk.archive import gunzip, members
from tests.servers.samples import FILES, tar_of


def pieces(body: bytes, size: int = 1000) -> Iterator[bytes]:
    return (body[start : start + size] for start in range(0, len(body), size))


def unpacked(body: bytes, size: int = 1000) -> dict[str, bytes]:
    return {entry.path: b"".join(bytes(chunk) for chunk in chunks) for entry, chunks in members(pieces(body, size))}


def header(name: str, kind: bytes, **fields: object) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type = kind
    for field, value in fields.items():
        setattr(found, field, value)
    return found


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("size", [1, 511, 10**7])
def test_every_tar_is_read_in_pieces_of_any_size(form: int, size: int) -> None:
    buffer = io.BytesIO()
    files = {"short.bin": b"s" * 700, "empty": b""}
    if form != tarfile.USTAR_FORMAT:
        files["long/" + "n" * 180 + "/\u00fc.bin"] = b"l" * 513
    with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
        for path, content in files.items():
            info = tarfile.TarInfo("./" + path)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    assert unpacked(buffer.getvalue(), size) == files


@pytest.mark.parametrize("name", ["../evil", "/etc/cron.d/evil", "a/../../evil", "a//b"])
def test_a_member_that_climbs_out_is_refused(name: str) -> None:
    with pytest.raises(RefusedEntryError, match="the file"):
        unpacked(tar_of({name: b"x"}))


@pytest.mark.parametrize(
    ("kind", "word"),
    [
        (tarfile.SYMTYPE, "symbolic link"),
        (tarfile.LNKTYPE, "hard link"),
        (tarfile.FIFOTYPE, "FIFO"),
        (tarfile.CHRTYPE, "character device"),
        (tarfile.BLKTYPE, "block device"),
        (b"Z", "something unknown"),
    ],
)
def test_a_member_that_is_no_file_is_refused(kind: bytes, word: str) -> None:
    with pytest.raises(RefusedEntryError, match=word):
        unpacked(tar_of({"a": header("a", kind, linkname="/etc/passwd")}))


def test_a_directory_is_passed_over() -> None:
    assert unpacked(tar_of({"d": header("d", tarfile.DIRTYPE), "d/f": b"x"})) == {"d/f": b"x"}


def test_an_extended_header_of_gigabytes_is_not_read_into_memory() -> None:
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        body = header("x", kind, size=2**33).tobuf(tarfile.GNU_FORMAT)
        with pytest.raises(LimitError, match="header of 8589934592 bytes"):
            unpacked(body)


@pytest.mark.parametrize(
    "record", [b"x", b"99 path=a\n", b"0 \n", b"-3 path=\n", b"11 size=ten\n", b"99999999999999999 a=b\n"]
)
def test_a_damaged_extended_header_is_refused(record: bytes) -> None:
    body = header("x", tarfile.XHDTYPE, size=len(record)).tobuf() + record.ljust(512, b"\0")
    with pytest.raises(RefusedEntryError, match="damaged"):
        unpacked(body + tar_of({"a": b"x"}))


def test_a_sparse_file_and_a_path_for_all_are_refused() -> None:
    for kind, record in ((tarfile.XHDTYPE, b"22 GNU.sparse.major=1\n"), (tarfile.XGLTYPE, b"10 path=a\n")):
        body = header("x", kind, size=len(record)).tobuf() + record.ljust(512, b"\0")
        with pytest.raises(RefusedEntryError):
            unpacked(body + tar_of({"a": b"x"}))


def test_garbage_and_every_cut_of_a_tar_are_refused() -> None:
    whole = tar_of({"a": b"x" * 600})
    with pytest.raises(RefusedEntryError, match="not a tar archive"):
        unpacked(b"garbage!" * 64)
    for length in (0, 1, 511, 512, 1000, 1112, 1500):
        with pytest.raises(RefusedEntryError, match="ends before"):
            unpacked(whole[:length])


def test_several_gzip_members_are_one_stream() -> None:
    body = gzip.compress(b"a" * 5000) + gzip.compress(b"b")
    for size in (1, 7, 10**6):
        assert b"".join(gunzip(pieces(body, size), len(body))) == b"a" * 5000 + b"b"


# Of no time, so that each worker of a run sees the same names.
CUT, GZIPPED = gzip.compress(b"a" * 999, mtime=0)[:-1], gzip.compress(b"a", mtime=0)


@pytest.mark.parametrize(
    "body",
    [b"", b"no gzip at all", CUT, GZIPPED + b"garbage", zlib.compress(b"a")],
)
def test_a_gzip_that_is_broken_or_cut_is_refused(body: bytes) -> None:
    with pytest.raises(RefusedEntryError, match="packed layer"):
        list(gunzip(pieces(body, 5), len(body)))


def test_a_bomb_ends_early_and_comes_in_small_pieces() -> None:
    bomb = gzip.compress(bytes(128 * 2**20))
    lengths: list[int] = []

    def note() -> None:
        lengths.extend(len(piece) for piece in gunzip(iter([bomb]), len(bomb)))

    with pytest.raises(LimitError, match="100 times"):
        note()
    assert max(lengths) <= 2**20


def test_the_sample_survives_a_tar() -> None:
    assert unpacked(tar_of(FILES)) == FILES


def test_a_member_of_a_negative_size_does_not_read_for_ever() -> None:
    block = bytearray(header("a", tarfile.REGTYPE, size=1).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"\xff" * 10 + b"\xf0\x00"  # base-256, -4096
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + sum(block[156:512]) + 8 * 32)
    with pytest.raises(RefusedEntryError, match="negative size"):
        unpacked(bytes(block) + bytes(1024))

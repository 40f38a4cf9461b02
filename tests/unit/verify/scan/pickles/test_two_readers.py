"""Files that one loader reads otherwise than another, or than we would."""

import gzip
import io
import struct
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

from lastgood.api.names import Severity
from lastgood.verify.scan import ScanLimits, ScanResult
from tests.unit.verify.scan import samples, torch_samples
from tests.unit.verify.scan.test_files import rules

Scanned = Callable[..., ScanResult]
END = 22
SYSTEM = samples.named("os", "system", "x")


def grave(result: ScanResult) -> set[str]:
    return {found.rule for found in result.at_least(Severity.HIGH)}


def zip64(data: bytes, *, leads_to: int | None = None, short: bool = False) -> bytes:
    """Return a zip with a zip64 end record and its locator, as PyTorch writes them."""
    count, size, offset = struct.unpack_from("<HLL", data, len(data) - END + 10)
    at = len(data) - END
    record = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, offset)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, at if leads_to is None else leads_to, 1)
    row = (b"PK\5\6", 0, 0, count, count, size + short, offset, 0)
    return data[:at] + record + locator + struct.pack("<4s4H2LH", *row)


def test_zip64_as_torch_writes_it_is_left_alone(scanned: Scanned) -> None:
    assert rules(scanned({"a.zip": zip64(samples.zipped({"a.txt": b"a"}))})) == set()


def test_directory_that_only_torch_finds_is_not_passed_over(scanned: Scanned) -> None:
    hidden = zip64(samples.zipped({"archive/data.pkl": SYSTEM}))
    outer = samples.zipped({"a.txt": b"a"})
    assert "zip-mismatch" in grave(scanned({"a.zip": zip64(outer, leads_to=len(hidden) - END - 76)}))
    assert "zip-mismatch" in grave(scanned({"a.zip": zip64(outer, short=True)}))


def test_zip_that_only_python_finds_behind_another_format_is_found(scanned: Scanned) -> None:
    """Python reads it as a zip up to the mending of CVE-2025-8291, which not every distribution has."""
    found = io.BytesIO()
    with zipfile.ZipFile(found, "w") as archive:
        archive.writestr("config.json", b"{}")
        archive.filelist[0].comment = struct.pack("<4sLQL", b"PK\6\7", 0, 5, 1)
    head = b"\x89HDF\r\n\x1a\n" + bytes([0, 0, 0, 0, 0, 8, 8, 0]) + bytes(8)
    size = 56 + len(found.getvalue())
    data = head + struct.pack("<4Q", 0, 2**64 - 1, size, 0) + found.getvalue()
    assert {"polyglot", "zip-mismatch"} <= grave(scanned({"model.keras": data}))


@pytest.mark.parametrize("name", ["a.npz", "a.pt"])
def test_array_of_objects_that_is_declared_as_storage_is_found(scanned: Scanned, name: str) -> None:
    array = samples.saved(samples.objects(samples.Calls(__import__("os").system, "x")))
    data = torch_samples.saved({"w": torch_samples.Tensor(torch_samples.Storage("ByteStorage", array))})
    assert grave(scanned({name: data})) == {"torch-storage"}


def test_pickle_beyond_what_is_kept_of_a_stream_is_found(scanned: Scanned) -> None:
    """The header is a text to a pickle, and so is what follows, to the very byte up to which is kept."""
    head = 8 + 0x54 + (0x20 << 8)
    left, filler = 2**23 - head, b""
    while left:
        count = min(900_000, left)
        filler += b"0T" + struct.pack("<L", count - 6) + bytes(count - 6)
        left -= count
    data = samples.safetensors_and_pickle(filler + b"0cos\nsystem\n(S'x'\ntR.")
    assert "polyglot" in grave(scanned({"model.safetensors.gz": gzip.compress(data, 1)}))


def test_pickles_that_take_all_their_time_do_not_add_up(scanned: Scanned) -> None:
    slow = b"\x80\x04})" + b"2\x86" * 60 + b"Ns."  # a hash of 2^60 steps
    result = scanned(
        {f"{index}.pkl": slow for index in range(50)}, limits=ScanLimits(pickle_seconds=1.0, pickle_failures=1)
    )
    assert [found.rule for found in result.findings][:49] == ["pickle-limits"] * 49  # the first: or unreadable


def test_members_that_are_far_more_together_than_the_archive_are_not_unpacked(scanned: Scanned) -> None:
    data = samples.zipped({f"{index}.txt": b"a" * 8_000_000 for index in range(40)}, zipfile.ZIP_DEFLATED)
    result = scanned({"a.zip": data})
    assert (grave(result), result.seconds < 5) == ({"archive-bomb"}, True)


def test_tensors_of_one_number_do_not_hide_one_that_is_not_finite(scanned: Scanned) -> None:
    shape = (8, 16)
    arrays = [np.zeros(shape, "<f4") for _ in range(30)] + [np.full(shape, np.nan, "<f4")]
    size = arrays[0].nbytes
    rows = ",".join(
        f'"t{index}":{{"dtype":"F32","shape":[8,16],"data_offsets":[{index * size},{index * size + size}]}}'
        for index in range(len(arrays))
    )
    header = f"{{{rows}}}".encode()
    body = struct.pack("<Q", len(header)) + header + b"".join(array.tobytes() for array in arrays)
    assert grave(scanned({"model.safetensors": body})) == {"values-not-finite"}

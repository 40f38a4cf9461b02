"""Attacks on a checkpoint's bytes: each is a DigestMismatch, and says what it found."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from lastgood.verify import FileEntry, Result, Verdict, digest, manifest, verify


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with one checkpoint, digits/2, of three files."""
    checkpoint = tmp_path / "digits" / "2"
    (checkpoint / "shards").mkdir(parents=True)
    (checkpoint / "config.json").write_text('{"classes": 10}')
    (checkpoint / "shards" / "1.bin").write_bytes(b"\x01" * 5000)
    (checkpoint / "shards" / "2.bin").write_bytes(b"\x02" * 5000)
    return tmp_path


@pytest.fixture
def checkpoint(volume: Path) -> Path:
    return volume / "digits" / "2"


@pytest.fixture(params=["first", "again", "again, isolated"])
def attacked(request: pytest.FixtureRequest, volume: Path, checkpoint: Path) -> Callable[[], Result]:
    """Verify against what the checkpoint was at first: for the first time, by its BLAKE3, and from outside."""
    known = manifest(checkpoint)
    expected = digest(checkpoint).digest
    first = verify(volume, "digits/2", expected)
    assert first.verdict is Verdict.VERIFIED
    blake3 = None if request.param == "first" else first.blake3
    isolated = "isolated" in request.param
    assert verify(volume, "digits/2", expected, blake3=blake3, isolated=isolated).verdict is Verdict.VERIFIED
    return lambda: verify(volume, "digits/2", expected, known=known, blake3=blake3, isolated=isolated)


def assert_found(result: Result, *findings: str) -> None:
    assert (result.verdict, result.findings) == (Verdict.MISMATCH, findings)
    assert result.expected in result.message
    assert (result.actual or "") in result.message


def test_flipped_byte_is_detected(attacked: Callable[[], Result], checkpoint: Path) -> None:
    content = bytearray((checkpoint / "shards" / "1.bin").read_bytes())
    content[2500] ^= 1
    (checkpoint / "shards" / "1.bin").write_bytes(content)
    result = attacked()
    assert_found(result, "shards/1.bin is changed (it had 5000 bytes and has 5000)")
    assert result.actual == digest(checkpoint).digest


def test_swapped_file_is_detected(attacked: Callable[[], Result], checkpoint: Path) -> None:
    one, two, aside = (checkpoint / "shards" / name for name in ("1.bin", "2.bin", "aside"))
    one.rename(aside)
    two.rename(one)
    aside.rename(two)
    assert len(attacked().findings) == 2


def test_truncation_is_detected(attacked: Callable[[], Result], checkpoint: Path) -> None:
    os.truncate(checkpoint / "shards" / "1.bin", 4999)
    assert_found(attacked(), "shards/1.bin is changed (it had 5000 bytes and has 4999)")


def test_extension_is_detected(attacked: Callable[[], Result], checkpoint: Path) -> None:
    with (checkpoint / "config.json").open("a") as file:
        file.write(" ")
    assert_found(attacked(), "config.json is changed (it had 15 bytes and has 16)")


def test_renamed_file_is_detected(attacked: Callable[[], Result], checkpoint: Path) -> None:
    (checkpoint / "config.json").rename(checkpoint / "config.bak")
    assert_found(attacked(), "config.json is renamed to config.bak")


def test_moved_file_is_detected(attacked: Callable[[], Result], checkpoint: Path) -> None:
    (checkpoint / "config.json").rename(checkpoint / "shards" / "config.json")
    assert_found(attacked(), "config.json is renamed to shards/config.json")


@pytest.mark.parametrize("name", ["evil.py", ".git", ".hidden", "__pycache__", "ignore_me~"])
def test_extra_file_is_detected_whatever_its_name(attacked: Callable[[], Result], checkpoint: Path, name: str) -> None:
    (checkpoint / name).write_text("import os")
    assert_found(attacked(), f"{name} is extra")


def test_extra_file_below_a_new_directory_is_detected(attacked: Callable[[], Result], checkpoint: Path) -> None:
    (checkpoint / ".git" / "hooks").mkdir(parents=True)
    (checkpoint / ".git" / "hooks" / "post-checkout").touch()
    assert_found(attacked(), ".git/hooks/post-checkout is extra")


def test_missing_file_is_a_mismatch_and_not_unreadable(attacked: Callable[[], Result], checkpoint: Path) -> None:
    (checkpoint / "shards" / "2.bin").unlink()
    assert_found(attacked(), "shards/2.bin is missing")


def test_emptied_directory_is_a_mismatch(attacked: Callable[[], Result], checkpoint: Path) -> None:
    for file in manifest(checkpoint):
        (checkpoint / file.path).unlink()
    assert_found(attacked(), "the directory has no files: there is nothing to verify")


def test_symbolic_link_to_the_right_bytes_is_refused(
    attacked: Callable[[], Result], checkpoint: Path, tmp_path: Path
) -> None:
    (checkpoint / "config.json").rename(tmp_path / "elsewhere")
    (checkpoint / "config.json").symlink_to(tmp_path / "elsewhere")
    assert_found(attacked(), "config.json is a symbolic link, which no checkpoint may hold")


def test_directory_that_became_a_link_is_refused(
    attacked: Callable[[], Result], checkpoint: Path, tmp_path: Path
) -> None:
    (checkpoint / "shards").rename(tmp_path / "elsewhere")
    (checkpoint / "shards").symlink_to(tmp_path / "elsewhere")
    assert_found(attacked(), "shards is a symbolic link, which no checkpoint may hold")


def test_checkpoint_that_became_a_link_is_refused(
    attacked: Callable[[], Result], checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint.rename(tmp_path / "elsewhere")
    checkpoint.symlink_to(tmp_path / "elsewhere")
    assert_found(attacked(), "digits/2 is a symbolic link, which no checkpoint may hold")


def test_parent_directory_that_became_a_link_is_refused(
    attacked: Callable[[], Result], checkpoint: Path, tmp_path: Path
) -> None:
    checkpoint.parent.rename(tmp_path / "elsewhere")
    checkpoint.parent.symlink_to(tmp_path / "elsewhere")
    assert_found(attacked(), "a directory of digits/2 is a symbolic link, which no checkpoint may hold")


@pytest.mark.timeout(10)
def test_fifo_does_not_hang(attacked: Callable[[], Result], checkpoint: Path) -> None:
    os.mkfifo(checkpoint / "weights")
    assert_found(attacked(), "weights is a FIFO, which no checkpoint may hold")


@pytest.mark.timeout(10)
def test_fifo_in_place_of_the_checkpoint_does_not_hang(volume: Path) -> None:
    os.mkfifo(volume / "model.bin")
    result = verify(volume, "model.bin", "sha256:" + "0" * 64)
    assert result.findings == ("model.bin is a FIFO, which no checkpoint may hold",)


def test_socket_is_refused(attacked: Callable[[], Result], checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(checkpoint)  # the address of a socket has at most 108 bytes
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("s")
    assert_found(attacked(), "s is a socket, which no checkpoint may hold")


def test_name_that_is_not_utf8_is_refused(attacked: Callable[[], Result], checkpoint: Path) -> None:
    (Path(os.fsdecode(os.fsencode(checkpoint) + b"/\xff\x1b[31mred"))).touch()
    assert_found(attacked(), "\\xff\\x1b[31mred has a name that is not UTF-8")


def test_every_refused_entry_is_named_up_to_twenty(attacked: Callable[[], Result], checkpoint: Path) -> None:
    for number in range(30):
        (checkpoint / f"link{number}").symlink_to("config.json")
    assert len(set(attacked().findings)) == 20


def test_manifest_in_place_of_the_directory_is_refused(attacked: Callable[[], Result], checkpoint: Path) -> None:
    rows = ",".join(
        f'{{"path":"{file.path}","sha256":"{file.sha256}","size":{file.size}}}' for file in manifest(checkpoint)
    )
    checkpoint.rename(checkpoint.parent / "1")
    checkpoint.write_text(f"[{rows}]")
    assert_found(attacked(), "the file is a manifest, not the directory whose digest it has")


def test_forged_known_manifest_names_nothing(volume: Path, checkpoint: Path) -> None:
    known = (*manifest(checkpoint), FileEntry(path="a.bin", size=1, sha256="0" * 64))
    result = verify(volume, "digits/2", "sha256:" + "0" * 64, known=known)
    assert_found(result)


def test_refused_entry_outranks_an_unreadable_directory(
    attacked: Callable[[], Result], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkpoint / "a_link").symlink_to("config.json")
    real = os.scandir

    def scandir(directory: int) -> object:
        if "shards" in str(Path(f"/proc/self/fd/{directory}").readlink()):
            raise OSError(5, "Input/output error")
        return real(directory)

    monkeypatch.setattr(os, "scandir", scandir)
    assert_found(attacked(), "a_link is a symbolic link, which no checkpoint may hold")


@pytest.mark.parametrize(
    "path",
    ["../outside", "digits/../../outside", "/etc/passwd", "", "digits//2", "./digits", "a\0b", "\udcff"],
)
def test_path_out_of_the_root_is_no_path(volume: Path, path: str) -> None:
    with pytest.raises(ValueError, match="path: must be"):
        verify(volume, path, "sha256:" + "0" * 64)


@pytest.mark.parametrize(
    "text", ["", "0" * 64, "sha256:" + "0" * 63, "sha256:" + "A" * 64, "sha256:" + "0" * 64 + "\n", "md5:0"]
)
def test_digest_that_is_none_is_never_compared(volume: Path, text: str) -> None:
    with pytest.raises(ValueError, match="digest: must be sha256:"):
        verify(volume, "digits/2", text)

"""What a digest is: `sha256sum` of a file, and of a directory what anyone computes with json and hashlib."""

import hashlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lastgood.verify import FileEntry, Verdict, differences, digest, manifest, manifest_digest, printable, verify

NAMES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) < 200
)
TREES = st.dictionaries(NAMES, st.binary(max_size=300), min_size=1, max_size=5)


@contextmanager
def tree(files: dict[str, bytes]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "model"
        root.mkdir()
        for name, content in files.items():
            (root / name).write_bytes(content)
        yield root


def independent_digest(root: Path) -> str:
    """Compute a manifest digest with nothing but the standard library."""
    rows = [
        {
            "path": str(file.relative_to(root)),
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "size": file.stat().st_size,
        }
        for file in root.rglob("*")
        if file.is_file()
    ]
    rows.sort(key=lambda row: str(row["path"]).encode())
    text = json.dumps(rows, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


@settings(deadline=None)
@given(files=TREES)
def test_directory_has_the_digest_that_anyone_can_compute(files: dict[str, bytes]) -> None:
    with tree(files) as root:
        assert digest(root).digest == independent_digest(root)


@settings(deadline=None)
@given(files=TREES, data=st.data())
def test_any_single_flipped_bit_is_found(files: dict[str, bytes], data: st.DataObject) -> None:
    files["weights.bin"] = data.draw(st.binary(min_size=1, max_size=3000))
    with tree(files) as root:
        expected = digest(root).digest
        content = bytearray(files["weights.bin"])
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
        (root / "weights.bin").write_bytes(content)
        assert verify(root.parent, "model", expected).verdict is Verdict.MISMATCH
        (root / "weights.bin").write_bytes(files["weights.bin"])
        assert verify(root.parent, "model", expected).verdict is Verdict.VERIFIED


@pytest.mark.parametrize("size", [0, 1, 2**20 - 1, 2**20, 2**20 + 1, 3 * 2**20])
def test_file_has_the_digest_that_sha256sum_prints(tmp_path: Path, size: int) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(index % 251 for index in range(size)))
    printed = subprocess.run(["sha256sum", str(path)], capture_output=True, check=True, text=True).stdout
    found = digest(path)
    assert (found.digest, found.size_bytes, found.file_count) == ("sha256:" + printed.split()[0], size, 1)


def test_digest_depends_on_nothing_but_paths_and_bytes(tmp_path: Path) -> None:
    for name, mode in (("one", 0o600), ("two", 0o755)):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a.bin").write_bytes(b"a")
        (tmp_path / name / "sub" / "a.bin").chmod(mode)
    (tmp_path / "two" / "empty").mkdir()
    assert digest(tmp_path / "one").digest == digest(tmp_path / "two").digest


def test_digest_is_the_same_with_any_number_of_threads(tmp_path: Path) -> None:
    for number in range(40):
        (tmp_path / f"{number}.bin").write_bytes(bytes([number]) * number * 1000)
    assert len({digest(tmp_path, threads=threads).digest for threads in (1, 2, 8, 64)}) == 1


def test_caller_may_name_a_checkpoint_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    (tmp_path / "latest").symlink_to("model.bin")
    assert digest(tmp_path / "latest") == digest(tmp_path / "model.bin")


def test_root_itself_can_be_verified(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"weights")
    for root in (tmp_path, tmp_path / "model.bin"):
        assert verify(root, ".", digest(root).digest).verdict is Verdict.VERIFIED


def test_result_says_what_was_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    (tmp_path / "b").write_bytes(b"123")
    result = verify(tmp_path.parent, tmp_path.name, digest(tmp_path).digest)
    assert (result.size_bytes, result.file_count, result.findings) == (8, 2, ())
    assert result.actual == result.expected == manifest_digest(result.files)
    assert result.seconds > 0


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    seen: list[int] = []
    (tmp_path / "a").write_bytes(b"a" * 3_000_000)
    (tmp_path / "b").write_bytes(b"b" * 2_000_000)
    files = manifest(tmp_path, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == sum(file.size for file in files) == 5_000_000


def test_manifest_digest_does_not_depend_on_the_order_of_its_files() -> None:
    files = [FileEntry(path=name, size=1, sha256="0" * 64) for name in ("b", "a", "\U0001f600", "\uffff")]
    assert manifest_digest(files) == manifest_digest(reversed(files))


def test_differences_are_bounded() -> None:
    files = [FileEntry(path=f"{number}" * 300, size=1, sha256="0" * 64) for number in range(100)]
    sentences = differences(files, [])
    assert len(sentences) == 20
    assert max(map(len, sentences)) < 512


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        pytest.param("modèle.bin", "modèle.bin", id="letters of any language are text"),
        pytest.param("a\nb\x1b[2J", "a\\nb\\x1b[2J", id="no line break and no escape sequence"),
        pytest.param("\udcff.bin", "\\xff.bin", id="bytes that are no text"),
        pytest.param("nib.\u202eexe", "nib.\\u202eexe", id="no change of direction"),
        pytest.param("a\u200bb", "a\\u200bb", id="nothing without width"),
        pytest.param("a\\nb", "a\\\\nb", id="an escape is not a break"),
    ],
)
def test_names_are_printable(name: str, shown: str) -> None:
    assert printable(name) == shown


@given(name=st.text(max_size=5000), limit=st.integers(60, 300))
def test_names_are_bounded(name: str, limit: int) -> None:
    shown = printable(name, limit)
    assert shown.isprintable()
    assert len(shown) <= limit

"""Is every change found? Single bytes changed, files swapped while they are hashed, disks that err: each 1,000 times.

- changes: one random byte of a checkpoint is changed, by one random bit, and must be found by the recorded BLAKE3 and,
  again, by sha256; put back, the checkpoint must be verified. It lies in memory (/dev/shm), to be done in minutes.
- swaps: at a random point of a hashing the checkpoint is swapped, in one of several manners; none may be accepted.
- errors: a FUSE file system errs in a random manner; none may be called tampered. Needs root, or fusermount.
"""

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))  # started as a script, it finds its neighbours too

from bench.common import circumstances, show, to_stderr
from lastgood.verify import Result, Verdict, digest, verify
from tests.unit.verify import badfs

ERRORS: Final = ("changing", "changing-in-memory", "eio", "eio-list", "eio-open", "eio-stat", "grows", "shrinks")
MEANING: Final = {
    "changes": "single-byte changes made",
    "changes_found": "of them, reported as a mismatch",
    "changes_restored": "times that the original was verified again in between",
    "swaps": "swaps while it was hashed",
    "swaps_accepted": "of them, verified",
    "errors": "readings of a disk that errs",
    "errors_called_tampered": "of them, reported as a mismatch",
    "errors_accepted": "of them, verified",
}


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Some files, and what they were when they were verified for the first time."""

    root: Path
    first: Result

    @classmethod
    def make(cls, root: Path, size: int, files: int) -> "Checkpoint":
        """Write random files of so many bytes together."""
        root.mkdir()
        for number in range(files):
            (root / f"{number}.bin").write_bytes(os.urandom(size // files))
        return cls(root=root, first=verify(root, ".", digest(root).digest))

    def verify(self, *, fast: bool, progress: Callable[[int], None] | None = None) -> Result:
        """Verify it again."""
        blake3 = self.first.blake3 if fast else None
        return verify(self.root, ".", self.first.expected, blake3=blake3, progress=progress)


def changes(folder: Path, size: int, count: int, chance: random.Random) -> dict[str, int]:
    """Change one byte after another; each is found in the fast way, whose mismatch is sha256's."""
    checkpoint = Checkpoint.make(folder / "changes", size, 8)
    found = restored = 0
    for number in range(count):
        path = chance.choice(sorted(checkpoint.root.iterdir()))
        offset, bit = chance.randrange(path.stat().st_size), 1 << chance.randrange(8)
        flip(path, offset, bit)
        found += checkpoint.verify(fast=number % 4 > 0).verdict is Verdict.MISMATCH
        flip(path, offset, bit)
        restored += number % 10 == 0 and checkpoint.verify(fast=True).verdict is Verdict.VERIFIED
    shutil.rmtree(checkpoint.root)
    return {"changes": count, "changes_found": found, "changes_restored": restored}


def flip(path: Path, offset: int, bit: int) -> None:
    """Change one bit, in place."""
    with path.open("r+b") as file:
        file.seek(offset)
        (value,) = file.read(1)
        file.seek(offset)
        file.write(bytes([value ^ bit]))


def swaps(folder: Path, count: int, chance: random.Random) -> dict[str, int]:
    """Swap what is hashed, at a random point of the hashing; count what was accepted."""
    size, step, accepted, done = 8 * 2**20, 2**20, 0, 0
    for number in range(count):
        checkpoint = Checkpoint.make(folder / "swaps", size, 4)
        swap = _Swap(
            root=checkpoint.root, at=chance.randrange(1, size // step) * step, how=chance.choice(MANNERS), chance=chance
        )
        accepted += checkpoint.verify(fast=bool(number % 2), progress=swap).verdict is Verdict.VERIFIED
        done += swap.done
        for rest in folder.iterdir():
            shutil.rmtree(rest)
    return {"swaps": done, "swaps_accepted": accepted}


class _Swap:
    def __init__(self, *, root: Path, at: int, how: "Manner", chance: random.Random) -> None:
        self._root, self._at, self._how, self._chance = root, at, how, chance
        self.done = False

    def __call__(self, total: int) -> None:
        if total >= self._at and not self.done:
            self.done = True
            self._how(self._root, self._chance.choice(sorted(self._root.iterdir())))


Manner = Callable[[Path, Path], None]


def rename_over(root: Path, path: Path) -> None:
    """Put another file, made before, in its place."""
    other = root.parent / "other"
    other.mkdir()
    (other / "file").write_bytes(os.urandom(path.stat().st_size))
    (other / "file").rename(path)


def rename_and_back(root: Path, path: Path) -> None:
    """Put another file in its place, and then the right one again."""
    aside = root.parent / "aside"
    aside.mkdir()
    path.rename(aside / "right")
    path.write_bytes(os.urandom((aside / "right").stat().st_size))
    time.sleep(0.001)
    (aside / "right").rename(path)


def write_in_place(_: Path, path: Path) -> None:
    """Change a byte and set the time back."""
    status = path.stat()
    flip(path, status.st_size // 2, 1)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def swap_directory(root: Path, _: Path) -> None:
    """Put another directory in the place of all of it."""
    root.rename(root.parent / "old")
    shutil.copytree(root.parent / "old", root)
    flip(root / "0.bin", 0, 1)


def swap_two(root: Path, path: Path) -> None:
    """Let two files change their names."""
    other = next(entry for entry in sorted(root.iterdir()) if entry != path)
    path.rename(root / "third")
    other.rename(path)
    (root / "third").rename(other)


def add_a_file(root: Path, _: Path) -> None:
    """Add code that nobody signed."""
    (root / "evil.py").write_text("import os")


MANNERS: Final[tuple[Manner, ...]] = (
    rename_over,
    rename_and_back,
    write_in_place,
    swap_directory,
    swap_two,
    add_a_file,
)


def errors(folder: Path, count: int, chance: random.Random) -> dict[str, int]:
    """Read a disk that errs; count what was called tampered, and name what was not called unreadable."""
    good = folder / "good"
    good.mkdir()
    for name, content in badfs.FILES.items():
        (good / name).write_bytes(content)
    first = verify(good, ".", digest(good).digest)
    (folder / "disk").mkdir()
    verdicts: Counter[Verdict] = Counter()
    with badfs.mounted(folder / "disk") as disk:
        for number in range(count):
            blake3 = first.blake3 if number % 2 else None
            error = chance.choice(ERRORS)
            result = verify(disk, error, first.expected, blake3=blake3)
            verdicts[result.verdict] += 1
            if result.verdict is not Verdict.UNREADABLE:
                to_stderr(f"{error} ({'quick' if blake3 else 'full'}): {result.verdict}: {result.message}")
    return {
        "errors": verdicts.total(),
        "errors_called_tampered": verdicts[Verdict.MISMATCH],
        "errors_accepted": verdicts[Verdict.VERIFIED],
    }


def main(argv: list[str] | None = None) -> int:
    """Try and print; 1 if anything was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--count", type=int, default=1000, metavar="N", help="how often, each (1000)")
    parser.add_argument("--size", type=int, default=200_000_000, metavar="BYTES", help="of the checkpoint (200000000)")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, metavar="N", help="to do the same again")
    parser.add_argument("--folder", default="/dev/shm", metavar="DIR", help="where to write (/dev/shm)")  # noqa: S108 - a folder of its own is made in it
    arguments = parser.parse_args(argv)
    chance, before, figures = random.Random(arguments.seed), circumstances(), dict[str, int]()  # noqa: S311 - to do the same again
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        to_stderr(f"changes (seed {arguments.seed})")
        figures |= changes(folder, arguments.size, arguments.count, chance)
        to_stderr("swaps")
        figures |= swaps(folder, arguments.count, chance)
        if badfs.usable():
            to_stderr("errors")
            figures |= errors(folder, arguments.count, chance)
    show({**figures, **before, "seed": str(arguments.seed)}, as_json=arguments.json, title="Tampering", meaning=MEANING)
    return 0 if nothing_missed(figures) else 1


def nothing_missed(figures: dict[str, int]) -> bool:
    """Tell whether everything was found and nothing was found that is not."""
    wrong = ("swaps_accepted", "errors_called_tampered", "errors_accepted")
    return figures["changes_found"] == figures["changes"] and not any(figures.get(name, 0) for name in wrong)


if __name__ == "__main__":
    sys.exit(main())

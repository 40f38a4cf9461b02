"""What bench/tamper.py does 1,000 times each, on smaller files and fewer times."""

import random
from pathlib import Path

import pytest

from bench import tamper
from tests.skips import NEEDS_FUSE
from tests.unit.verify import badfs

CHANCE = random.Random(4)  # noqa: S311 - the same each time


def test_every_single_byte_change_is_found(tmp_path: Path) -> None:
    assert tamper.changes(tmp_path, 4_000_000, 100, CHANCE) == {
        "changes": 100,
        "changes_found": 100,
        "changes_restored": 10,
    }


def test_no_swap_during_hashing_is_accepted(tmp_path: Path) -> None:
    assert tamper.swaps(tmp_path, 50, CHANCE) == {"swaps": 50, "swaps_accepted": 0}


@pytest.mark.skipif(not badfs.usable(), reason=NEEDS_FUSE)
def test_no_disk_that_errs_is_called_tampered(tmp_path: Path) -> None:
    found = tamper.errors(tmp_path, 50, CHANCE)
    assert found == {"errors": 50, "errors_called_tampered": 0, "errors_accepted": 0}

"""A store, and a checkpoint of three files beside it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.verify.store.helpers import full_disk


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A directory in memory, if there is such: hundreds of captures with their fsyncs would wait for a busy disk."""
    memory = "/dev/shm"  # noqa: S108 - what is below it is made by mkdtemp
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as path:
        yield Path(path)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    path.mkdir()
    return path


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    """A volume with one checkpoint, digits/2."""
    checkpoint = tmp_path / "volume" / "digits" / "2"
    (checkpoint / "shards" / "deep").mkdir(parents=True)
    (checkpoint / "config.json").write_text('{"classes": 10}')
    (checkpoint / "shards" / "1.bin").write_bytes(b"\x01" * 5000)
    (checkpoint / "shards" / "deep" / "2.bin").write_bytes(b"\x02" * 3_000_000)
    return tmp_path / "volume"


@pytest.fixture
def checkpoint(volume: Path) -> Path:
    return volume / "digits" / "2"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    with full_disk(tmp_path / "small") as path:
        yield path

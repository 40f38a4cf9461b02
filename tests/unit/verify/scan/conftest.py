"""A checkpoint to put files into, and a scan of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lastgood.verify.scan import ScanResult, scan

Put = Callable[..., ScanResult]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    found = tmp_path / "checkpoint"
    found.mkdir()
    return found


@pytest.fixture
def scanned(checkpoint: Path) -> Put:
    """Write files, and scan the directory."""

    def put(files: dict[str, bytes], **options: Any) -> ScanResult:
        for name, data in files.items():
            (checkpoint / name).parent.mkdir(parents=True, exist_ok=True)
            (checkpoint / name).write_bytes(data)
        return scan(checkpoint, **options)

    return put

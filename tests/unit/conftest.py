"""What every unit test leaves behind as it was."""

import gc
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def collecting() -> Iterator[None]:
    """Let garbage be collected again: a test that fails may leave a rollback that presses."""
    yield
    gc.enable()

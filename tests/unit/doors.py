"""The examples of docs/extending.md, put behind their doors as modules of their own."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent
from types import ModuleType

import pytest

_PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@contextmanager
def example_behind(door: ModuleType, attribute: str, name: str, forget: Callable[[], None]) -> Iterator[None]:
    """Put the page's one example that has an attribute behind a door; `forget` lets the kinds be found anew."""
    blocks = re.findall(r"```python\n(.*?)```", _PAGE.read_text(), re.DOTALL)
    (example,) = (text for text in blocks if attribute in text)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        (Path(folder) / f"{name}.py").write_text(dedent(example))
        patch.setattr(door, "__path__", [*door.__path__, folder])
        forget()
        try:
            yield
        finally:
            forget()
            sys.modules.pop(f"{door.__name__}.{name}", None)

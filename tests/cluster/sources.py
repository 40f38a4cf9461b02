"""The files of the checkout: whatever Git would not ignore. It needs no Git, and no repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pathspec import GitIgnoreSpec

if TYPE_CHECKING:
    from collections.abc import Iterator


def sources(root: Path) -> Iterator[Path]:
    """Yield every file and link below the checkout, in a fixed order."""
    ignored = GitIgnoreSpec.from_lines([".git", *(root / ".gitignore").read_text().splitlines()])
    for folder, names, files in os.walk(root):
        here = Path(folder)
        names[:] = sorted(name for name in names if not ignored.match_file(f"{(here / name).relative_to(root)}/"))
        for name in sorted(files):
            if not ignored.match_file(str((here / name).relative_to(root))):
                yield here / name

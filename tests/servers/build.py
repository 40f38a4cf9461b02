"""Builds one server from its Go module, once, into the cache, and only when a test asks for it.

Apart from the programs of a cluster (tests/cluster/plane/build.py), so that a demo never waits for them.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.paths import cache, locked, made
from tests.cluster.plane.build import GO_ENVIRONMENT, Program, run, toolchain

if TYPE_CHECKING:
    from collections.abc import Callable

_SOURCES = Path(__file__).parent / "go"
VERSITYGW = Program(name="versitygw", module="versitygw", package="github.com/versity/versitygw/cmd/versitygw")
REGISTRY = Program(name="registry", module="registry", package="github.com/distribution/distribution/v3/cmd/registry")


def built(program: Program, progress: Callable[[str], None] = print) -> Path:
    """Return the path of a server's program, after building it if it is missing. Two may call this at once."""
    folder = cache() / "servers" / f"{program.name}-{_digest(program)}"
    if not folder.exists():
        with locked(folder.with_suffix(".lock"), progress):
            if not folder.exists():
                _build(program, folder, progress)
    return folder / program.name


def _build(program: Program, folder: Path, progress: Callable[[str], None]) -> None:
    """Build into a folder with a temporary name, then rename it: what has the name is whole."""
    go = toolchain(progress)
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=made(folder.parent)))
    try:
        label = f"building {program.name} (only the first time, one or two minutes)"
        run(program.argv(go, partial), label, progress, cwd=_SOURCES / program.module)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _digest(program: Program) -> str:
    digest = hashlib.sha256(repr((program, GO_ENVIRONMENT)).encode())
    for path in sorted((_SOURCES / program.module).iterdir()):
        digest.update(f"{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()

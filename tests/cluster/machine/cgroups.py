"""The control groups of a node's pods: the one thing of it that the kernel does not remove with its namespaces."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
SECONDS = 10


def path(name: str) -> str:
    """Return the control group that holds everything the kubelet of this cluster makes."""
    return f"/lastgood-test-{name}"


def make(name: str) -> None:
    """Make it in every hierarchy: the kubelet wants to find it."""
    for hierarchy in _hierarchies():
        group = hierarchy / path(name).lstrip("/")
        group.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):  # version 1 starts with none, and nothing may run there
            if (hierarchy / file).exists() and not (group / file).read_text().strip():
                (group / file).write_text((hierarchy / file).read_text())


def remove(name: str) -> None:
    """Remove it; the kernel may need a moment to see that the last process is gone."""
    deadline = time.monotonic() + SECONDS
    while left := [group for hierarchy in _hierarchies() if (group := hierarchy / path(name).lstrip("/")).exists()]:
        for group in left:
            _remove_tree(group)
        if time.monotonic() > deadline:
            return
        time.sleep(0.02)


def _remove_tree(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        with suppress(OSError):
            Path(folder).rmdir()


def _hierarchies() -> list[Path]:
    if (ROOT / "cgroup.controllers").exists():
        return [ROOT]
    folders = [folder for folder in sorted(ROOT.glob("*")) if not folder.is_symlink()]
    return [folder for folder in folders if (folder / "cgroup.procs").exists()]

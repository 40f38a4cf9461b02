"""What may be skipped, and where: README.md says the same, and conftest.py fails a run that skips anything else."""

from __future__ import annotations

import os
import sys

NEEDS_ROOT = "mounts a file system, or becomes another user: needs root"
NEEDS_FUSE = "a disk that errs is a FUSE file system: needs Linux and root"

# On Linux as root nothing is skipped: what a test needs there, it installs (tests/cluster/made/packages.py).
ELSEWHERE = (NEEDS_ROOT, NEEDS_FUSE)


def complete() -> bool:
    """Tell whether this machine has to run everything."""
    return sys.platform == "linux" and os.geteuid() == 0


def allowed(reason: str, *, everything: bool) -> bool:
    """Tell whether a test may be skipped for this reason, where everything has to run and elsewhere."""
    return not everything and reason.removeprefix("Skipped: ") in ELSEWHERE

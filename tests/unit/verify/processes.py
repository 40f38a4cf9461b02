"""Which processes somebody has started, as the kernel tells it."""

from pathlib import Path


def children(pid: int | str = "self") -> set[int]:
    """Return the processes that a process has started and that are not gone.

    A thread that ends while we look hands its children to another one, which we may have looked at already.
    """
    while True:
        try:
            return _children(pid)
        except (FileNotFoundError, ProcessLookupError):
            if not Path(f"/proc/{pid}").exists():
                return set()


def _children(pid: int | str) -> set[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return {int(child) for task in tasks for child in (task / "children").read_text().split()}

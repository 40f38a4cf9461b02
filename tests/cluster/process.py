"""Processes named by pid and start time: a pid alone may belong to somebody else tomorrow."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.paths import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


@dataclass(frozen=True, kw_only=True)
class Process:
    """One process, today and only today."""

    pid: int
    started: int  # clock ticks since boot, field 22 of /proc/PID/stat

    @classmethod
    def of(cls, pid: int) -> Process:
        """Return the identity of the process that has this pid now.

        Raises:
            ProcessLookupError: there is none.
        """
        started = started_at(pid)
        if started is None:
            raise ProcessLookupError(pid)
        return cls(pid=pid, started=started)

    def alive(self) -> bool:
        """Tell whether it still runs; a zombie does not."""
        return started_at(self.pid) == self.started

    def send(self, number: signal.Signals) -> None:
        """Send a signal, through a pidfd so that it cannot reach a successor."""
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(self.pid)
            try:
                if self.alive():
                    signal.pidfd_send_signal(descriptor, number)
            finally:
                os.close(descriptor)

    def gone_within(self, seconds: float) -> bool:
        """Wait for its end; return whether it came in time."""
        deadline = time.monotonic() + seconds
        while self.alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def started_at(pid: int) -> int | None:
    """Return when the process started, or None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def children(pid: int) -> list[int]:
    """Return the pids whose parent is this one."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(stat.parent.name))
    return found


def spawn(argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """Start a program that the kernel kills when we die; its output goes to the log."""
    with log.open("ab") as output:
        return subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=clean_environment(environment or {}),
            preexec_fn=die_with_parent,  # noqa: PLW1509  # we spawn from a single thread
        )


def die_with_parent() -> None:
    """Ask the kernel to kill this process when its parent dies."""
    _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def clean_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return our environment without proxies, which would catch calls to the cluster, and without a kubeconfig."""
    dropped = {key for key in os.environ if key.lower().endswith("_proxy")} | {"KUBECONFIG"}
    return {**{key: value for key, value in os.environ.items() if key not in dropped}, **extra}


def python_path() -> dict[str, str]:
    """Return what a Python of ours needs in its environment to find this package, wherever it starts."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))}


def tail(path: Path, lines: int = 15) -> str:
    """Return the last lines of a log, or nothing if there is none."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except FileNotFoundError:
        return ""


def wait_stopped(pid: int, *, seconds: float = 10.0) -> None:
    """Wait until every thread of a process has stopped: a signal is sent before it is obeyed.

    Raises:
        TimeoutError: it runs still.
    """
    end = time.monotonic() + seconds
    while any(_state(task) not in "TtZX" for task in Path(f"/proc/{pid}/task").iterdir()):
        if time.monotonic() > end:
            raise TimeoutError(f"process {pid} does not stop")
        time.sleep(0.005)


def _state(task: Path) -> str:
    """Return the letter of a thread's state; one that has just ended is dead."""
    try:
        return (task / "stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "X"

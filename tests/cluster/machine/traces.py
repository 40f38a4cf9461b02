"""What a cluster leaves on a machine: for the tests that say it leaves nothing."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.machine import cgroups
from tests.cluster.spec import NODE, Spec, read_process

if TYPE_CHECKING:
    from tests.cluster.cluster import Cluster

Seen = frozenset[str]


class Traces:
    """Remembers what belongs to a running cluster, so that one can look for it after its end."""

    def __init__(self, cluster: Cluster) -> None:
        """Look at it while it runs."""
        self._name, self._directory = cluster.name, str(cluster.directory)
        first = read_process(cluster.directory / NODE)
        self._namespaces = _namespaces(first.pid) if first else frozenset()
        gateway = Spec.load(cluster.directory).at.gateway
        self._interface = f"lastgood-{gateway.split('.')[1]}" if first else None

    def left(self) -> list[str]:
        """Return what is there now: processes, mounts, interfaces, control groups, folders."""
        group = cgroups.path(self._name).lstrip("/")
        found = [str(path) for path in (*cgroups.ROOT.glob(group), *cgroups.ROOT.glob(f"*/{group}"))]
        found += [line for line in Path("/proc/mounts").read_text().splitlines() if self._directory in line]
        found += [name for name in os.listdir("/sys/class/net") if name == self._interface]  # noqa: PTH208  # only names
        found += [self._directory] if Path(self._directory).exists() else []
        return found + self._processes()

    def _processes(self) -> list[str]:
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                command = (folder / "cmdline").read_text().replace("\0", " ")
                if self._directory in command or _namespaces(int(folder.name)) & self._namespaces:
                    found.append(f"process {folder.name}: {command}")
        return found


def _namespaces(pid: int) -> Seen:
    names = [Path(f"/proc/{pid}/ns/{kind}").readlink() for kind in ("pid", "net", "mnt")]
    return frozenset(str(name) for name in names)

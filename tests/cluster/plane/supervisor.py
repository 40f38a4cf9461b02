"""The process that owns a cluster: starts it, and takes all of it down when told to or when its owner dies.

Run as `python -m tests.cluster.plane.supervisor FOLDER`. Every process of the cluster dies with this one (the kernel
sees to it), so the worst that a SIGKILL leaves is a folder, which `sweep` removes.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from tests.cluster.errors import ClusterError
from tests.cluster.machine import addresses, node
from tests.cluster.paths import clusters, locked
from tests.cluster.plane import control_plane
from tests.cluster.plane.start import Start, report, start_control_plane
from tests.cluster.spec import STARTER, STATE, SUPERVISOR, Spec, read_json, read_process, write_process

if TYPE_CHECKING:
    from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class EndedError(Exception):
    """It is time to take everything down."""


def main(directory: Path) -> None:
    """Hold the cluster up until the end comes."""
    for number in SIGNALS:
        signal.signal(number, _end)
    write_process(directory / SUPERVISOR, os.getpid())
    spec = Spec.load(directory)
    held: list[Start | node.Node] = []
    try:
        _watch(spec)
        _bring_up(spec, held)
        while True:
            time.sleep(1)  # and not pause(): a signal that comes right before that call is not noticed
    except EndedError:
        pass
    finally:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        _take_down(spec, held)


def _end(_number: int, _frame: FrameType | None) -> NoReturn:
    raise EndedError


def _watch(spec: Spec) -> None:
    """End when the owner does; without an owner, when the starter dies before it has seen the cluster ready."""
    watched = spec.owner or read_process(spec.path(STARTER))
    if watched is None:
        raise EndedError
    try:
        # A pidfd tells even of SIGKILL, and never of a stranger with the same pid.
        descriptor = os.pidfd_open(watched.pid)
    except ProcessLookupError:
        raise EndedError from None
    if not watched.alive():
        raise EndedError
    threading.Thread(target=_until_death, args=(descriptor, spec), daemon=True).start()


def _until_death(descriptor: int, spec: Spec) -> None:
    select.select([descriptor], [], [])
    if spec.owner or read_json(spec.path(STATE)).get("phase") != "ready":
        os.kill(os.getpid(), signal.SIGTERM)


def _bring_up(spec: Spec, held: list[Start | node.Node]) -> None:
    """Start everything; a failure is reported, and the starter decides what follows."""
    try:
        if spec.profile == "node":
            one = node.Node(spec)
            held.append(one)
            one.start()
        else:
            _start_here(spec, held)
    except (ClusterError, OSError, RuntimeError) as error:
        traceback.print_exc()
        report(spec, "failed", message=str(error))


def _start_here(spec: Spec, held: list[Start | node.Node]) -> None:
    with locked(clusters() / addresses.LOCK):
        spec = replace(spec, addresses=addresses.on_loopback())
        spec.save()
    control_plane.prepare(spec)
    start = Start(spec)
    held.append(start)
    start_control_plane(start)
    start.ready()


def _take_down(spec: Spec, held: list[Start | node.Node]) -> None:
    for one in held:
        one.kill()
    node.remove_traces(spec.name)
    if keep := os.environ.get("LASTGOOD_CLUSTER_LOGS"):
        shutil.copytree(spec.path("logs"), Path(keep) / spec.name, dirs_exist_ok=True)
    shutil.rmtree(spec.directory, ignore_errors=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

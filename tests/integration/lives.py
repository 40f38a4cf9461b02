"""Operators that start in a tenth of a second: forked from a process that has imported everything already.

A life is `lastgood run` as a user starts it, in a process of its own that SIGKILL ends as a crash does.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from lastgood.cli import run

PRELOADED = ["lastgood.cli.run", "kubernetes.client", "kubernetes.config", "tests.integration.lives"]


@dataclass(frozen=True, kw_only=True)
class Life:
    """One process, from start to SIGKILL."""

    process: BaseProcess

    @classmethod
    def start(cls, arguments: Sequence[str], *, log: Path, environment: Mapping[str, str]) -> "Life":
        """Start an operator; its security log and its log go into one file."""
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(PRELOADED)
        process = context.Process(target=_live, args=(tuple(arguments), str(log), dict(environment)), daemon=True)
        process.start()
        return cls(process=process)

    def kill(self) -> None:
        """End it with SIGKILL, if it lives."""
        self.process.kill()

    def gone(self) -> None:
        """End it, and wait until there is nothing left of it."""
        self.process.kill()
        self.process.join()
        self.process.close()


def _live(arguments: Sequence[str], log: str, environment: Mapping[str, str]) -> None:
    """Be the operator."""
    os.environ.update(environment)
    target = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(target, stream)
    sys.exit(run.main(arguments))

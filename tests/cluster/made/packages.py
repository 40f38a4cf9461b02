"""Installs the Debian packages that a node or an image build needs, and only what is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.errors import ClusterError
from tests.cluster.paths import cache, locked
from tests.cluster.plane.build import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NODE = (
    "containerd",
    "runc",
    "containernetworking-plugins",
    "iptables",
    "conntrack",
    "iproute2",
    "util-linux",
    "mount",
    "procps",
)
IMAGES = ("mmdebstrap", "buildah", "ca-certificates")
POLICY = Path("/usr/sbin/policy-rc.d")


def require(packages: Sequence[str], progress: Callable[[str], None]) -> None:
    """Install what is missing.

    Raises:
        ClusterError: this is not Debian, or we are not root; or it failed.
    """
    if os.geteuid() != 0:
        raise ClusterError("a node needs root: run as root, or use LASTGOOD_CLUSTER=kind, or the profile control-plane")
    if not shutil.which("dpkg-query"):
        raise ClusterError(f"please install these packages, or what your system calls them: {' '.join(packages)}")
    with locked(cache() / ".packages.lock", progress):
        if missing := [package for package in packages if not _installed(package)]:
            _install(missing, progress)


def _installed(package: str) -> bool:
    argv = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout == "installed"


def _install(packages: Sequence[str], progress: Callable[[str], None]) -> None:
    apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet", "--yes"]
    install = [*apt, "install", "--no-install-recommends", *packages]
    label = f"installing Debian packages {' '.join(packages)}"
    with _no_services():
        try:
            run(install, label, progress)
        except ClusterError:
            run([*apt, "update"], "apt-get update", progress)
            run(install, label, progress)


@contextmanager
def _no_services() -> Iterator[None]:
    """Keep the packages from starting services: containerd of the host is not ours to start."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()

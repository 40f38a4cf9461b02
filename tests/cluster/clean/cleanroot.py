"""A clean Debian 12 with `make` and Python alone: `python -m tests.cluster.clean.cleanroot make test` tries a checkout.

The root is made anew each time, with namespaces of its own for mounts and processes: both end with the command. Nothing
of this machine is in it but the checkout's files, devices, and how to reach package indexes: the configuration of the
resolver, pip and apt, and certificates. Its caches are empty. It needs root, on Debian or Ubuntu.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tests.cluster.cluster import to_stderr
from tests.cluster.made import images, packages
from tests.cluster.paths import ROOT, cache, locked, made
from tests.cluster.plane import build
from tests.cluster.process import die_with_parent
from tests.cluster.sources import sources

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

HERE = "/root/lastgood"  # where the checkout is in there
# How this machine reaches indexes. Where pip keeps its cache is not among it: in there it is empty.
VARIABLES = re.compile(
    r"PIP_(?!CACHE_DIR$)\w+|GO(PROXY|SUMDB|NOSUMDB|NOPROXY|PRIVATE|INSECURE|TOOLCHAIN)|\w+_proxy|\w+_PROXY"
    r"|SSL_CERT_(FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE"
)
CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
FILES = ("/etc/resolv.conf", "/etc/hosts", "/etc/pip.conf", "/root/.config/pip/pip.conf", "/root/.pip/pip.conf")
PLAIN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8"}
# pivot_root, not chroot: containers in there want a root that is a mount.
ENTER = """
set -eu
mount --bind "$1" "$1" && cd "$1"
mount -t proc proc proc && mount --rbind /sys sys && mount --rbind /dev dev && mount -t tmpfs tmpfs run
pivot_root . mnt
exec chroot . /bin/sh -c 'umount -l /mnt; cd "$1"; shift; "$@"; exit $?' sh "$2" /bin/sh -c "$3"
"""


def run(
    command: str, *, variables: Mapping[str, str] | None = None, tell: Callable[[str], None] = to_stderr
) -> tuple[int, str]:
    """Run a shell command in a clean root, in a copy of this checkout; return its exit code and what it said.

    Args:
        command: such as `make setup lint`.
        variables: more of the environment; files and folders that these name are there, too.
        tell: gets each line as it is said.
    """
    with fresh(tell) as root:
        environment = {**PLAIN, **passed_on(root, variables or {})}
        enter = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--ipc", "--uts"]
        argv = [*enter, "/bin/sh", "-c", ENTER, "sh", str(root), HERE, command]
        with subprocess.Popen(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,  # noqa: PLW1509  # from a single thread
        ) as process:
            said = list(told(process, tell))
        return process.returncode, "\n".join(said)


def told(process: subprocess.Popen[str], tell: Callable[[str], None]) -> Iterator[str]:
    """Yield each line as it comes, with the seconds so far when it is passed on."""
    began = time.monotonic()
    for line in process.stdout or ():
        tell(f"{time.monotonic() - began:5.0f} s  {line.rstrip()}")
        yield line.rstrip()


@contextmanager
def fresh(tell: Callable[[str], None]) -> Iterator[Path]:
    """Yield a new root with the checkout in it. One at a time; what a killed one left goes first."""
    archive = images.clean_root(tell)
    place = cache() / "cleanroot"
    with locked(cache() / ".cleanroot.lock", tell):
        shutil.rmtree(place, ignore_errors=True)
        try:
            root = made(place / "root")
            build.run(["tar", "-C", str(root), "-xf", str(archive)], "unpacking a clean Debian", tell)
            for path in sources(ROOT):
                copy(path, root / HERE[1:] / path.relative_to(ROOT))
            yield root
        finally:
            shutil.rmtree(place)


def copy(path: Path, target: Path) -> None:
    """Copy a file or a folder; of links, what they lead to, for that is elsewhere in there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, target, dirs_exist_ok=True, ignore=_dangling)
    else:
        shutil.copy2(path, target)


def _dangling(folder: str, names: list[str]) -> list[str]:
    """Return what leads nowhere; copytree's own question takes every relative link for one."""
    return [name for name in names if not (Path(folder) / name).exists()]


def passed_on(root: Path, more: Mapping[str, str]) -> dict[str, str]:
    """Copy how this machine reaches indexes into the root; return the variables that say the rest."""
    variables = {name: value for name, value in os.environ.items() if VARIABLES.fullmatch(name)} | dict(more)
    named = [word for value in variables.values() for word in value.split() if word.startswith("/")]
    apt = [str(path) for path in Path("/etc/apt/apt.conf.d").glob("*") if "Acquire" in path.read_text()]
    for name in (*FILES, *named, *apt, str(CERTIFICATES)):
        if Path(name).exists():
            copy(Path(name), root / name[1:])
    if CERTIFICATES.exists():  # the package ca-certificates would write the file anew without them
        copy(CERTIFICATES, root / "usr/local/share/ca-certificates/of-this-machine.crt")
    return variables


def main(words: Sequence[str]) -> int:
    """Run the command of a command line."""
    if not words:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    packages.require(packages.IMAGES, to_stderr)
    return run(shlex.join(words), tell=lambda line: print(line, flush=True))[0]  # noqa: T201  # a program that prints


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

# ruff: noqa: INP001  - a script that the Dockerfile runs, not a package
"""Puts together the root of the image: this Python, what is installed for it, and the libraries that these load.

`python3 image_root.py VENV ROOT` runs in the build stage, with its Python: nothing else of the stage comes along, no
shell and no package manager. docs/adr/0015-an-image-without-a-distribution.md says why.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Of the standard library: what makes environments, tests and windows. What the operator runs installs nothing.
NOT_OF_THE_LIBRARY = {
    *("site-packages", "dist-packages", "ensurepip", "venv"),
    *("test", "tests", "idlelib", "tkinter", "turtledemo", "lib2to3", "pydoc_data"),
}
# What is read by name and linked by nobody.
FILES = (
    "/etc/ld.so.cache",  # where the loader finds what is outside its own folders
    "/etc/nsswitch.conf",
    "/etc/os-release",  # scanners for known holes ask which system this is
    "/etc/python3.11",  # Debian's sitecustomize leads there
    "/etc/ssl/certs",  # sources of checkpoints are asked by https
    "/usr/lib/locale/C.utf8",
    "/usr/lib/ssl",  # where OpenSSL looks: links to the above
    "/usr/share/ca-certificates",
    "/usr/share/zoneinfo/UTC",
)
# The user has a name because getpass asks for one.
ACCOUNTS = {
    "etc/passwd": "root:x:0:0::/root:/usr/sbin/nologin\nlastgood:x:65532:65532::/nonexistent:/usr/sbin/nologin\n",
    "etc/group": "root:x:0:\nlastgood:x:65532:\n",
}
_LIBRARY = re.compile(r"(/\S+) \(0x")
_SHARED = re.compile(r"\.so(\.\d+)*$")


def wanted(venv: Path) -> Iterator[Path]:
    """Yield every file and link that belongs into the image, links to folders on the way not counted."""
    parts = [*_tree(venv), *_tree(Path(sysconfig.get_path("stdlib"))), Path(sys.executable)]
    parts += [part for name in FILES for part in _tree(Path(name))]
    yield from parts
    yield from libraries(part for part in parts if _SHARED.search(part.name) or part == Path(sys.executable))


def _tree(path: Path) -> Iterator[Path]:
    if path.is_symlink() or path.is_file():
        yield path
    for folder, names, files in os.walk(path):
        here = Path(folder)
        links = [name for name in names if (here / name).is_symlink()]
        names[:] = [name for name in names if not _left_out(here, name)]
        yield from (here / name for name in (*files, *links))


def _left_out(folder: Path, name: str) -> bool:
    own = folder == Path(sysconfig.get_path("stdlib"))
    return own and (name in NOT_OF_THE_LIBRARY or name.startswith("config-"))


def libraries(programs: Iterable[Path]) -> Iterator[Path]:
    """Yield what the loader would load for these programs and libraries."""
    told = subprocess.run(["ldd", *map(str, programs)], check=False, capture_output=True, text=True).stdout  # noqa: S603, S607 - the build stage's own
    yield from sorted({Path(found) for found in _LIBRARY.findall(told)})


def put(path: Path, root: Path) -> None:
    """Copy a file under its name, and every link on the way to it as a link."""
    target = root / path.parent.resolve().relative_to("/") / path.name
    if target.is_symlink() or target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(path, target, follow_symlinks=False)
    if path.is_symlink() and path.is_file():
        put(path.parent.resolve() / path.readlink(), root)


def merge_usr(root: Path) -> None:
    """Make the links at the top that a merged /usr has: the loader's own name is /lib64/..."""
    for path in Path("/").iterdir():
        if path.is_symlink() and path.name.startswith(("lib", "bin")):
            (root / path.name).symlink_to(path.readlink())


def packages(root: Path) -> str:
    """Return dpkg's notes on the packages that files of the image are from, so that scanners know their versions."""
    names = [f"/{path.relative_to(root)}" for path in root.rglob("*.so*")]
    names += [name.removeprefix("/usr") for name in names if name.startswith("/usr/lib")]
    if not shutil.which("dpkg-query"):
        return ""
    told = _dpkg("--search", *names, sys.executable, os.path.realpath(sys.executable))
    found = sorted({line.partition(": ")[0] for line in told.splitlines()})
    return _dpkg("--status", *found) if found else ""


def _dpkg(*arguments: str) -> str:
    argv = ["dpkg-query", *arguments]
    return subprocess.run(argv, check=False, capture_output=True, text=True).stdout  # noqa: S603 - the build stage's own


def main() -> None:
    """Make the root."""
    venv, root = Path(sys.argv[1]), Path(sys.argv[2])
    root.mkdir(parents=True)
    merge_usr(root)
    for path in wanted(venv):
        put(path, root)
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    for name, text in (*ACCOUNTS.items(), ("var/lib/dpkg/status", packages(root))):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


if __name__ == "__main__":
    main()

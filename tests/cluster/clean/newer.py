"""A day on which everything that the lock names has a newer release: wheels that say so, and hold nothing."""

from __future__ import annotations

import re
import zipfile
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PIN = re.compile(r"^([\w.-]+)==([^ ;\\]+)", re.MULTILINE)
EXTRAS = ("email", "crypto", "format-nongpl", "speedups")  # what somebody asks for by its name, as `pydantic[email]`


def pins(lock: Path) -> dict[str, str]:
    """Return the version of each package in a lock."""
    return {str(canonicalize_name(name)): version for name, version in PIN.findall(lock.read_text())}


def newer_releases(folder: Path, locks: Iterable[Path]) -> None:
    """Write a newer release of each package into a folder that pip may look into (`PIP_FIND_LINKS`).

    It is newer by so little that each range that lets the locked one in lets it in as well.
    """
    for lock in locks:
        for name, version in pins(lock).items():
            write_wheel(folder, name.replace("-", "_"), f"{version}.post1")


def write_wheel(folder: Path, name: str, version: str) -> None:
    """Write a wheel without content, for every Python (Core metadata 2.1, binary distribution format 1.0)."""
    info = f"{name}-{version}.dist-info"
    extras = "".join(f"Provides-Extra: {extra}\n" for extra in EXTRAS)
    parts = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{extras}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: lastgood\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{part},,\n" for part in (*parts, f"{info}/RECORD"))
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        for part, text in {**parts, f"{info}/RECORD": record}.items():
            wheel.writestr(part, text)

"""The small files that options name: keys, certificates and passwords; bounded, and never overwritten."""

import argparse
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

from lastgood.cli.parser import UsageError
from lastgood.cli.parser import path as path_of
from lastgood.verify.signing import SignatureError

PASSWORD: Final = "LASTGOOD_KEY_PASSWORD"  # noqa: S105 - the name of a variable, and no password
_MAX_FILE: Final = 2**20
_T = TypeVar("_T")


def read(option: str, path: Path) -> bytes:
    """Return what a file holds.

    Raises:
        UsageError: if it cannot be read, or is far too large.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise UsageError(f"{option}: {path} cannot be read: {error.strerror}") from None
    if len(data) > _MAX_FILE:
        raise UsageError(f"{option}: {path} is larger than {_MAX_FILE} bytes")
    return data


def load(option: str, path: Path, parse: Callable[[bytes], _T]) -> _T:
    """Return what a file holds, parsed.

    Raises:
        UsageError: if it is not what the option asks for.
    """
    data = read(option, path)
    try:
        return parse(data)
    except SignatureError as error:
        raise UsageError(f"{option}: {path}: {error}") from None


def create(option: str, path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not be there yet; without all of it, nothing stays.

    Raises:
        UsageError: if it is there, or cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except OSError as error:
        raise UsageError(f"{option}: {path} cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
    except OSError as error:
        with suppress(OSError):
            path.unlink()
        raise UsageError(f"{option}: {path} cannot be written: {error.strerror}") from None


def require_absent(option: str, path: Path) -> None:
    """Refuse a file that is there already, before any work is done for it.

    Raises:
        UsageError: if it is there.
    """
    if os.path.lexists(path):
        raise UsageError(f"{option}: {path} exists and is never overwritten; remove it, or name another")


def add_password(parser: argparse.ArgumentParser) -> None:
    """Add the option for a password; there is none that takes it itself, because every process list shows it."""
    parser.add_argument(
        "--password-file",
        type=path_of,
        metavar="FILE",
        help=f"holds the private key's password (default: the environment variable {PASSWORD}, or none)",
    )


def password(args: argparse.Namespace) -> bytes | None:
    """Return the password of the private key, if there is one."""
    if args.password_file is None:
        given = os.environ.get(PASSWORD)
        if given == "":  # as a secret that is not set: a key without encryption is not what was meant
            raise UsageError(f"{PASSWORD}: is empty; give the password, or unset the variable for none")
        return given.encode() if given else None
    found = read("--password-file", args.password_file).removesuffix(b"\n").removesuffix(b"\r")
    if not found:
        raise UsageError(f"--password-file: {args.password_file} is empty")
    return found

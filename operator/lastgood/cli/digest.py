"""`lastgood digest`: the digest of a file or a directory."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from lastgood.cli.parser import Exit
from lastgood.cli.progress import Progress
from lastgood.verify import Contents, Limits, digest


def limits_of(args: argparse.Namespace) -> Limits:
    """Return the limits that the options ask for."""
    return Limits(max_files=args.max_files, max_bytes=args.max_bytes)


def read(path: Path, limits: Limits) -> Contents:
    """Read a path and show how far it is."""
    with Progress() as progress:
        return digest(path, limits=limits, progress=progress)


def run(args: argparse.Namespace) -> int:
    """Print the digest, and nothing else, on stdout."""
    found = read(args.path, limits_of(args))
    if args.output == "text":
        print(found.digest)
        return Exit.OK
    summary = {"digest": found.digest, "sizeBytes": found.size_bytes, "fileCount": found.file_count}
    print(json.dumps({**summary, "files": [asdict(file) for file in found.files]}, indent=2))
    return Exit.OK

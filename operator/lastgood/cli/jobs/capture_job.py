"""`lastgood capture-job`: what the operator's Job runs to copy a snapshot from a claim to a store claim."""

import argparse
import json
from contextlib import suppress
from typing import Any, Final

from lastgood.cli import parser
from lastgood.cli.digest import limits_of
from lastgood.cli.jobs.verify_job import MAX_MESSAGE, answer
from lastgood.cli.progress import Progress
from lastgood.verify.errors import VerifyError
from lastgood.verify.store import StoreError, capture_path, forbidden, sweep

_MAX_TEXT: Final = 600
REMEDY: Final = "; the store claim must be writable for user 65532"


def add_options(added: argparse.ArgumentParser) -> None:
    """Say what is asked beside what `verify-job` is asked."""
    added.add_argument("--store", type=parser.path, required=True)


def run(args: argparse.Namespace) -> int:
    """Write what came of it, whatever it is."""
    return answer(args, message(args.nonce, args.digest, _captured(args)))


def _captured(args: argparse.Namespace) -> dict[str, Any]:
    with suppress(StoreError):  # what crashed captures left is in the way of nobody but of the free space
        sweep(args.store)
    try:
        with Progress() as progress:
            found = capture_path(
                args.root, args.path, args.store, args.digest, limits=limits_of(args), progress=progress
            )
    except VerifyError as error:
        return {"reason": "CaptureFailed", "message": f"{error}{REMEDY if forbidden(error) else ''}"}
    return {"reason": "Captured", "path": found.path, "sizeBytes": found.size_bytes, "existed": found.existed}


def message(nonce: str, digest: str, found: dict[str, Any]) -> str:
    """Return what came of it as JSON of at most 4 KiB."""
    body = {"nonce": nonce, "digest": digest, **found}
    if "message" in body:
        body["message"] = str(body["message"])[:_MAX_TEXT]
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    if len(text.encode()) > MAX_MESSAGE:  # 600 characters of at most 6 bytes each: only what is escaped may not fit
        text = json.dumps({**body, "message": "it failed"}, separators=(",", ":"))
    return text

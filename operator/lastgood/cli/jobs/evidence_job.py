"""`lastgood evidence-job`: what the operator's Job runs to keep what is on a claim as evidence on a store claim."""

import argparse
from contextlib import suppress
from typing import Any

from lastgood.cli import parser
from lastgood.cli.digest import limits_of
from lastgood.cli.jobs.capture_job import REMEDY, message
from lastgood.cli.jobs.verify_job import answer
from lastgood.cli.progress import Progress
from lastgood.verify.errors import VerifyError
from lastgood.verify.store import StoreError, forbidden, keep_evidence, sweep


def add_options(added: argparse.ArgumentParser) -> None:
    """Say what is asked beside what `verify-job` is asked."""
    added.add_argument("--store", type=parser.path, required=True)
    added.add_argument("--reason", default="")
    added.add_argument("--incident", default="")
    added.add_argument("--subject", default="")


def run(args: argparse.Namespace) -> int:
    """Write what came of it, whatever it is."""
    return answer(args, message(args.nonce, args.digest, _kept(args)))


def _kept(args: argparse.Namespace) -> dict[str, Any]:
    with suppress(StoreError):  # what crashed copies left is in the way of nobody but of the free space
        sweep(args.store)
    try:
        with Progress() as progress:
            found = keep_evidence(
                args.root,
                args.path,
                args.store,
                digest=args.digest,
                reason=args.reason,
                incident=args.incident or None,
                subject=args.subject or None,
                limits=limits_of(args),
                progress=progress,
            )
    except (VerifyError, ValueError) as error:
        return {"reason": "EvidenceFailed", "message": f"{error}{REMEDY if forbidden(error) else ''}"}
    kept = {"reason": "EvidenceKept", "path": found.path, "sizeBytes": found.size_bytes, "existed": found.existed}
    return kept | ({"found": found.found} if found.found else {})

"""`lastgood verify-job`: what the operator's Job runs; the verdict goes to the termination message."""

import argparse
import json
from typing import Any, Final

from lastgood.cli.digest import limits_of
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.progress import Progress
from lastgood.cli.verify import as_body
from lastgood.verify import verify

MAX_MESSAGE: Final = 4096  # bytes; what the kubelet keeps of a termination message
_MAX_FINDINGS: Final = 8
_MAX_TEXT: Final = 600


def run(args: argparse.Namespace) -> int:
    """Write a verdict, whatever it is; only when none could be written the exit code is not 0."""
    with Progress() as progress:
        result = verify(args.root, args.path, args.digest, limits=limits_of(args), progress=progress)
    text = message({"nonce": args.nonce, **as_body(result)})
    try:
        args.termination_log.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--termination-log: {args.termination_log} cannot be written: {error.strerror}") from error
    print(text)
    return Exit.OK


def message(verdict: dict[str, Any]) -> str:
    """Return a verdict as JSON of at most 4 KiB, with as many findings as fit."""
    short = {**verdict, "message": verdict["message"][:_MAX_TEXT]}
    for count in range(_MAX_FINDINGS, -1, -1):
        short["findings"] = verdict["findings"][:count]
        text = json.dumps(short, ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) <= MAX_MESSAGE:
            break
    return text  # without findings it fits: 600 characters of at most 4 bytes, and fields of fixed length

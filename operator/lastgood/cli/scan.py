"""`lastgood scan`: may these files even be here? For a person, or for a pipeline that reads the exit code."""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

import yaml

from lastgood import __version__
from lastgood.api.names import Severity
from lastgood.cli import parser
from lastgood.cli.digest import limits_of
from lastgood.cli.parser import Exit, Parser
from lastgood.cli.progress import Progress
from lastgood.verify.scan import Finding, Format, Policy, ScanLimits, ScanResult, ScanVerdict, scan
from lastgood.verify.scan.external import API_VERSION
from lastgood.verify.scan.pickles.imports import problem_with
from lastgood.verify.scan.values import DIGEST, NO_DIGEST

_FORMATS: Final = tuple(sorted(str(format_) for format_ in Format if format_ is not Format.TORCH))


def add_options(added: Parser) -> None:
    """Add what `lastgood scan` takes."""
    added.add_argument("path", type=parser.path, metavar="PATH", help="a file or a directory")
    added.add_argument(
        "--baseline", type=parser.path, metavar="DIR", help="an older checkpoint of the model, to compare weights with"
    )
    added.add_argument(
        "--allow-format",
        action="append",
        choices=_FORMATS,
        metavar="FORMAT",
        help=f"allow only the formats given; repeatable: {', '.join(_FORMATS)} (default: all but unknown)",
    )
    added.add_argument(
        "--allow-import",
        action="append",
        type=_import,
        default=[],
        metavar="MODULE.NAME",
        help="what pickles may import besides tensors and plain data, each by its full name; repeatable",
    )
    added.add_argument(
        "--allow-code",
        action="append",
        type=_code_digest,
        default=[],
        metavar="DIGEST",
        help="the digest, as the finding shows it, of reviewed code beside the weights; repeatable",
    )
    added.add_argument("--no-values", action="store_true", help="skip the numbers of the weights")
    added.add_argument(
        "--fail-on",
        choices=[str(severity) for severity in Severity],
        default=str(Severity.HIGH),
        help="exit with 1 on findings at or above this severity, or on unjudged files (default: %(default)s)",
    )
    added.add_argument(
        "--allow-unjudged",
        action="store_true",
        help="apply --fail-on to unjudged files too: --fail-on critical then passes them",
    )
    added.add_argument("--output", choices=["text", "json", "yaml"], default="text", help="(default: text)")


def _import(text: str) -> str:
    if problem := problem_with(text):
        raise argparse.ArgumentTypeError(problem)
    return text


def _code_digest(text: str) -> str:
    if not DIGEST.fullmatch(text):
        raise argparse.ArgumentTypeError(NO_DIGEST)
    return text


def run(args: argparse.Namespace) -> int:
    """Print what was found; the exit code says whether it is grave, or could not be read."""
    policy = Policy(
        formats=None if args.allow_format is None else frozenset(args.allow_format),
        imports=frozenset(args.allow_import),
        code=frozenset(args.allow_code),
        values=not args.no_values,
    )
    limits = ScanLimits(tree=limits_of(args))
    with Progress() as progress:
        result = scan(args.path, policy=policy, baseline=args.baseline, limits=limits, progress=progress)
    print(_WRITERS[args.output](result))
    return _exit_code(result, Severity(args.fail_on), unjudged=args.allow_unjudged)


def _exit_code(result: ScanResult, fail_on: Severity, *, unjudged: bool) -> int:
    if result.refusing(fail_on, unjudged=unjudged):
        return Exit.REFUSED
    # Something may be graver in what was not read, or not kept.
    return Exit.UNREADABLE if _unread(result) else Exit.OK


def _unread(result: ScanResult) -> bool:
    return not result.complete or result.verdict is ScanVerdict.UNREADABLE


def as_body(result: ScanResult) -> dict[str, Any]:
    """Return a result as JSON has it; an external scanner writes the same."""
    return {
        "apiVersion": API_VERSION,
        "scanner": {"name": "lastgood", "version": __version__},
        "verdict": str(result.verdict),
        "complete": not _unread(result) and all(found.judged for found in result.findings),
        "findings": [_row(found) for found in result.findings],
        "leftOut": result.left_out,
        "skipped": [asdict(row) for row in result.skipped],
        "scanned": result.scanned,
        "sizeBytes": result.size_bytes,
        "seconds": round(result.seconds, 6),
        "drift": None if result.drift is None else {**asdict(result.drift), "pattern": str(result.drift.pattern)},
        "message": result.message,
        "code": result.code,
    }


def _row(found: Finding) -> dict[str, str]:
    return {key: str(value) for key, value in asdict(found).items()}


def _text(result: ScanResult) -> str:
    lines = [f"{result.verdict}: {result.message}"]
    for found in result.findings:
        words = "" if found.judged else " (could not be judged)"
        lines.append(f"  {found.severity} {found.kind} {found.rule} {found.file}: {found.message}{words}")
        if found.evidence:
            lines.append(f"      {found.evidence}")
    if result.left_out:
        lines.append(f"  and {result.left_out} more")
    lines += [f"  skipped: {row.file}: {row.reason}" for row in result.skipped]
    if result.unlisted:
        lines.append(f"  skipped: {result.unlisted} more")
    return "\n".join(lines)


_WRITERS: Final[Mapping[str, Callable[[ScanResult], str]]] = {
    "text": _text,
    "json": lambda result: json.dumps(as_body(result), indent=2, allow_nan=False),
    "yaml": lambda result: yaml.safe_dump(as_body(result), sort_keys=False, allow_unicode=True).rstrip(),
}

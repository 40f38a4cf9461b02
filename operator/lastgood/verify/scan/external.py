"""What a scanner of somebody else writes: one JSON object, the same as `lastgood scan --output json` prints.

Any container image can be a scanner: it gets the checkpoint read-only, and writes this object. Where the operator
starts it (`lastgood.kube.jobs.scan_claims`), that may have 4096 bytes.

    {"apiVersion": "lastgood.dev/scan/v1", "scanner": {"name": "acme", "version": "2.1"}, "nonce": "…",
     "findings": [{"severity": "high", "rule": "backdoor-trigger", "file": "model.safetensors",
                   "kind": "finding", "evidence": "…", "message": "…"}],
     "skipped": [{"file": "big.bin", "reason": "too large"}], "complete": true}

`apiVersion`, `scanner.name`, `findings` and `complete` are required. A scanner that could not look at all says
`"complete": false`; nothing that it leaves out counts as a pass.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from lastgood.api import strictjson
from lastgood.api.names import Severity
from lastgood.api.strictjson import Bounds, JsonError
from lastgood.verify.reading.printable import printable
from lastgood.verify.scan.values import Finding, Kind, ScanVerdict, Skipped, anomaly, finding

Row = TypeVar("Row")
API_VERSION: Final = "lastgood.dev/scan/v1"
MAX_BYTES: Final = 2**20
MAX_FINDINGS: Final = 1000
_BOUNDS: Final = Bounds(size=MAX_BYTES, values=20 * MAX_FINDINGS, depth=64)
_MAX_TEXT: Final = 4096
_MAX_COUNT: Final = 2**53
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_RULE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_TOP: Final = frozenset({"apiVersion", "scanner", "findings", "complete"})
_MORE: Final = frozenset(
    {"nonce", "skipped", "verdict", "leftOut", "scanned", "sizeBytes", "seconds", "drift", "message", "code"}
)


class ExternalResultError(ValueError):
    """The result cannot be used; the message begins with the field and says what it must be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ExternalResult:
    """What an external scanner says; rules begin with its name, so that they cannot pass for ours."""

    scanner: str
    version: str
    complete: bool
    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...] = ()
    left_out: int = 0

    @property
    def verdict(self) -> ScanVerdict:
        """The verdict; of a scanner that could not look at all it is at best an anomaly."""
        return verdict(self.findings, unreadable=False, incomplete=not self.complete)


def verdict(findings: tuple[Finding, ...], *, unreadable: bool, incomplete: bool = False) -> ScanVerdict:
    """Return the one word for findings: what was found is certain, whatever could not be read besides."""
    if any(found.kind is Kind.FINDING for found in findings):
        return ScanVerdict.FINDING
    if unreadable:
        return ScanVerdict.UNREADABLE
    return ScanVerdict.ANOMALY if findings or incomplete else ScanVerdict.NO_FINDING


def parse(body: bytes, *, nonce: str | None = None) -> ExternalResult:
    """Return what an external scanner wrote.

    Args:
        body: at most 1 MiB.
        nonce: what the result must repeat, so that it is the answer to this question.

    Raises:
        ExternalResultError: if it is anything but the format above.
    """
    try:
        told = strictjson.parse(body, _BOUNDS)
    except JsonError as error:
        raise ExternalResultError(f"the result {error}") from None
    top = _object(told, "the result", _TOP, _MORE)
    if top["apiVersion"] != API_VERSION:
        raise ExternalResultError(f"apiVersion: must be {API_VERSION}")
    if nonce is not None and top.get("nonce") != nonce:
        raise ExternalResultError("nonce: must be the one that the scanner was given")
    if not isinstance(top["complete"], bool):
        raise ExternalResultError("complete: must be true or false")
    scanner = _object(top["scanner"], "scanner", frozenset({"name"}), frozenset({"version"}))
    name = _matching(scanner["name"], "scanner.name", _NAME)
    return ExternalResult(
        scanner=name,
        version=printable(_text(scanner.get("version", ""), "scanner.version"), 64),
        complete=top["complete"],
        findings=_rows(top["findings"], "findings", lambda row, path: _finding(row, path, name)),
        skipped=_rows(top.get("skipped", []), "skipped", _skipped),
        left_out=_count(top.get("leftOut", 0), "leftOut"),
    )


def _finding(row: object, path: str, scanner: str) -> Finding:
    found = _object(row, path, frozenset({"severity", "rule", "file"}), frozenset({"kind", "evidence", "message"}))
    make = {"finding": finding, "anomaly": anomaly}.get(_text(found.get("kind", "finding"), f"{path}.kind"))
    if make is None:
        raise ExternalResultError(f"{path}.kind: must be finding or anomaly")
    try:
        severity = Severity(found["severity"])
    except ValueError:
        raise ExternalResultError(f"{path}.severity: must be critical, high, medium or low") from None
    return make(
        severity,
        f"{scanner}/{_matching(found['rule'], f'{path}.rule', _RULE)}",
        _text(found["file"], f"{path}.file"),
        _text(found.get("message", ""), f"{path}.message"),
        _text(found.get("evidence", ""), f"{path}.evidence"),
    )


def _skipped(row: object, path: str) -> Skipped:
    found = _object(row, path, frozenset({"file", "reason"}))
    file, reason = _text(found["file"], f"{path}.file"), _text(found["reason"], f"{path}.reason")
    return Skipped(file=printable(file), reason=printable(reason))


def _count(value: object, path: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _MAX_COUNT:
        raise ExternalResultError(f"{path}: must be a whole number of at most {_MAX_COUNT}")
    return value


def _rows(value: object, path: str, read: Callable[[object, str], Row]) -> tuple[Row, ...]:
    if not isinstance(value, list) or len(value) > MAX_FINDINGS:
        raise ExternalResultError(f"{path}: must be a list of at most {MAX_FINDINGS}")
    return tuple(read(row, f"{path}[{index}]") for index, row in enumerate(value))


def _object(
    value: object, path: str, required: frozenset[str], optional: frozenset[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ExternalResultError(f"{path}: must be an object")
    missing, unknown = required - value.keys(), value.keys() - required - optional
    if missing or unknown:
        wrong = f"{min(missing)} is missing" if missing else f"{printable(min(unknown), 64)} is unknown"
        raise ExternalResultError(f"{path}: {wrong}")
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or len(value) > _MAX_TEXT:
        raise ExternalResultError(f"{path}: must be a text of at most {_MAX_TEXT} characters")
    return value


def _matching(value: object, path: str, pattern: "re.Pattern[str]") -> str:
    text = _text(value, path)
    if not pattern.fullmatch(text):
        raise ExternalResultError(f"{path}: must match {pattern.pattern}")
    return text

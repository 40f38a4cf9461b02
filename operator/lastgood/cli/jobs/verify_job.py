"""`lastgood verify-job`: what the operator's Job runs; all that it finds goes to the termination message."""

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lastgood.api.facts.evidence import MAX_FACTS, examined_body
from lastgood.api.facts.signature import Examined, SignatureProblem
from lastgood.api.fields import compact
from lastgood.api.names import ANCHORS_VARIABLE, Reason
from lastgood.api.text import listed, shortened
from lastgood.cli.digest import limits_of
from lastgood.cli.parser import Exit, UsageError
from lastgood.cli.progress import Progress
from lastgood.cli.verify import as_body
from lastgood.verify.inspection import Bundle, How, Inspection, Question, inspect
from lastgood.verify.scan import Policy
from lastgood.verify.signing import (
    MAX_BUNDLE,
    Certificate,
    PublicKey,
    SignatureError,
    load_certificates,
    load_public_key,
)

MAX_MESSAGE: Final = 4096  # bytes; what the kubelet keeps of a termination message
_SHORT: Final = 160
_MAX_ANCHORS: Final = 128 * 1024


def add_options(added: argparse.ArgumentParser) -> None:
    """Say what may be asked beside the digest."""
    added.add_argument("--blake3", default="")
    added.add_argument("--scan", action="store_true")
    added.add_argument("--bundle", action="append", default=[], type=_named)
    added.add_argument("--bundle-inside", action="append", default=[], type=_named)


def _named(text: str) -> tuple[int, str]:
    number, _, path = text.partition("=")
    if not number.isdecimal() or not path:
        raise argparse.ArgumentTypeError("must be NUMBER=PATH")
    return int(number), path


def run(args: argparse.Namespace) -> int:
    """Write a verdict, whatever it is; only when none could be written the exit code is not 0."""
    with Progress() as progress:
        how = How(limits=limits_of(args), progress=progress)
        found = inspect(args.root, args.path, question(args, os.environ), how)
    return answer(args, message(args.nonce, found))


def answer(args: argparse.Namespace, text: str) -> int:
    """Write what a Job has to say where the kubelet takes it from.

    Raises:
        UsageError: that is not possible; only then the exit code is not 0.
    """
    try:
        args.termination_log.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"--termination-log: {args.termination_log} cannot be written: {error.strerror}") from error
    print(text)
    return Exit.OK


def question(args: argparse.Namespace, environment: Mapping[str, str]) -> Question:
    """Return what the operator asks.

    Raises:
        UsageError: the anchors cannot be used.
    """
    asked = Question(
        digest=args.digest,
        at=datetime.now(UTC),
        bundles=tuple(bundle for _, bundle in sorted(_bundles(args), key=lambda item: item[0])),
        scan=Policy() if args.scan else None,
        blake3=args.blake3,
    )
    text = environment.get(ANCHORS_VARIABLE, "")
    return _with_anchors(asked, text) if text else asked


def _with_anchors(asked: Question, text: str) -> Question:
    try:
        anchors = json.loads(text[: _MAX_ANCHORS + 1])
        keys: list[PublicKey] = [load_public_key(str(pem).encode()) for pem in anchors["keys"]]
        roots: list[Certificate] = [root for pem in anchors["roots"] for root in load_certificates(str(pem).encode())]
        return replace(asked, keys=tuple(keys), roots=tuple(roots), anchors=str(anchors["anchors"]))
    except (ValueError, TypeError, KeyError, RecursionError, SignatureError) as error:
        raise UsageError(f"{ANCHORS_VARIABLE}: must be the keys that the operator writes: {error}") from error


def _bundles(args: argparse.Namespace) -> list[tuple[int, Bundle]]:
    mounted = [(number, _mounted(f"spec.signatures[{number}]", Path(path))) for number, path in args.bundle]
    inside = [(number, Bundle(name=f"spec.signatures[{number}]", path=path)) for number, path in args.bundle_inside]
    return mounted + inside


def _mounted(name: str, path: Path) -> Bundle:
    """Read a bundle of a ConfigMap, which the kubelet has written."""
    try:
        with path.open("rb") as file:
            return Bundle(name=name, data=file.read(MAX_BUNDLE + 1))
    except FileNotFoundError:
        return Bundle(name=name, problem="its ConfigMap, or the key in it, is not there")
    except OSError as error:
        return Bundle(name=name, problem=f"its ConfigMap could not be read: {error.strerror}")


@dataclass(frozen=True, kw_only=True)
class _Room:
    """How much of each part is kept: items of the lists, and characters of their texts.

    One scan finding, the gravest, is always kept, for a policy judges by it. A signature that is left out counts for
    nobody, and a sentence only explains.
    """

    findings: int
    scanned: int
    problems: int
    facts: int
    text: int = 160
    message: int = 600


_ROOMS: Final[Sequence[_Room]] = (
    *(_Room(findings=count, scanned=count, problems=8, facts=MAX_FACTS) for count in range(8, 1, -1)),
    _Room(findings=1, scanned=1, problems=4, facts=8),
    _Room(findings=0, scanned=1, problems=2, facts=4, text=80),
    _Room(findings=0, scanned=1, problems=1, facts=2, text=40, message=200),
    _Room(findings=0, scanned=1, problems=1, facts=1, text=24, message=200),
    _Room(findings=0, scanned=1, problems=1, facts=0, text=24, message=200),
)


def message(nonce: str, found: Inspection) -> str:
    """Return what was found as JSON of at most 4 KiB: the verdict first, then who signed, then as much as fits."""
    for room in _ROOMS:
        text = json.dumps(_body(nonce, found, room), ensure_ascii=False, separators=(",", ":"))
        if len(text.encode()) <= MAX_MESSAGE:
            break
    return text  # the last of them fits: a few texts of at most 4 bytes a character, and fields of fixed length


def _body(nonce: str, found: Inspection, room: _Room) -> dict[str, Any]:
    body = {"nonce": nonce, **as_body(found.result)}
    body |= {"message": body["message"][: room.message], "findings": listed(body["findings"], room.findings)}
    if found.result.blake3:
        body["blake3"] = found.result.blake3
    if found.examined is not None:
        body["examined"] = compact(examined_body(_fewer(found.examined, room)))
    if found.scan is not None:
        body["scan"] = compact(found.scan.fewer(room.scanned, room.text).as_body())
    return body


def _fewer(examined: Examined, room: _Room) -> Examined:
    """Return an examination with as much as is kept: a fact that is left out counts for nobody, and is told of."""
    facts, problems = examined.facts, examined.problems
    if missing := len(facts[room.facts :]):
        told = f"{missing} valid signatures did not fit into the Job's result"
        problems = (SignatureProblem(source="the Job's answer", reason=Reason.UNREADABLE, message=told), *problems)
    kept = tuple(replace(item, message=item.message[: room.text]) for item in problems[: room.problems])
    signed = tuple(replace(fact, left_out=_shortest(fact.left_out)) for fact in facts[: room.facts])
    return replace(examined, problems=kept, facts=signed)


def _shortest(paths: Sequence[str]) -> tuple[str, ...]:
    return tuple(shortened(path, _SHORT) for path in paths[:1])

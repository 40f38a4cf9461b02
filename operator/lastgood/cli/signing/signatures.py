"""The signatures of `lastgood verify`: whose are asked for, what they prove, and whether that is enough."""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lastgood.api.facts.signature import Claims, SignatureFact, SignatureProblem
from lastgood.api.fields import compact, format_time
from lastgood.api.names import Reason
from lastgood.cli import parser
from lastgood.cli.parser import UsageError
from lastgood.cli.signing import keyfiles
from lastgood.cli.signing.sign import path_inside
from lastgood.core.trust.policy import Judgement, Trust, TrustedKey, TrustedRoot, judge, vouched
from lastgood.verify import FileEntry, RefusedEntryError, UnreadableError, printable
from lastgood.verify.reading.reading import open_path, opened, reading
from lastgood.verify.signing import (
    MAX_BUNDLE,
    Certificate,
    Proven,
    PublicKey,
    SignatureError,
    SignatureFile,
    examine_all,
    load_certificates,
    load_public_key,
)

_ANYTHING: Final = Claims(model="", version="")  # nothing is compared with it: claims are told, and not judged here
_POLICY: Final = "--threshold"  # how messages call what the options ask for
_CHUNK: Final = 2**20
_MAX_SIGNATURES: Final = 16


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the options ask for; `all_right` unless a threshold says how many suffice."""

    paths: tuple[Path, ...]
    keys: tuple[PublicKey, ...]
    roots: tuple[Certificate, ...]
    trust: Trust
    all_right: bool


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One signature file, and what became of it: facts (one for each root), or a problem with findings."""

    source: str
    judgement: Judgement
    facts: tuple[SignatureFact, ...] = ()
    problem: SignatureProblem | None = None
    findings: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Signed:
    """Whether the signatures are enough, and each of them."""

    judgement: Judgement
    signatures: tuple[Signature, ...]


def add_options(added: argparse.ArgumentParser) -> None:
    """Say which options there are."""
    for option, metavar, text in (
        ("--signature", "FILE", "a signature (an OpenSSF Model Signing bundle); each must be valid"),
        ("--public-key", "FILE", "a trusted public key (PEM)"),
        ("--certificate-chain", "FILE", "trusted root certificates (PEM)"),
        ("--identity", "NAME", "the trusted identity: the exact URI, email address or DNS name in the certificate"),
    ):
        kind = str if metavar == "NAME" else Path
        added.add_argument(option, type=kind, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")
    added.add_argument(
        "--threshold",
        type=parser.positive,
        metavar="N",
        help="how many different signers are required; other signatures may be invalid (default: 1, all valid)",
    )
    added.add_argument(
        "--allow-left-out", action="store_true", help="accept files that a signature does not cover, such as .git/"
    )


def wanted(args: argparse.Namespace) -> Wanted | None:
    """Return what is asked for, or None without a signature.

    Raises:
        UsageError: if the options do not fit together, or a key cannot be used.
    """
    _require_sense(args)
    if not args.signature:
        return None
    keys = tuple(keyfiles.load("--public-key", path, load_public_key) for path in args.public_key)
    roots = tuple(
        root
        for path in args.certificate_chain
        for root in keyfiles.load("--certificate-chain", path, load_certificates)
    )
    trust = _trust(args, keys, roots)
    if trust.threshold > (most := len({key.key_id for key in keys}) + len(set(args.identity))):
        raise UsageError(f"--threshold: {trust.threshold} signers are more than the {most} given; each key counts once")
    paths = tuple(args.signature)
    return Wanted(paths=paths, keys=keys, roots=roots, trust=trust, all_right=args.threshold is None)


def _require_sense(args: argparse.Namespace) -> None:
    if not args.signature:
        for option in ("public_key", "certificate_chain", "identity", "threshold", "allow_left_out"):
            if getattr(args, option):
                raise UsageError(f"--{option.replace('_', '-')}: requires --signature")
        return
    if len(args.signature) > _MAX_SIGNATURES:
        raise UsageError(f"--signature: at most {_MAX_SIGNATURES} can be given")
    if not args.public_key and not args.certificate_chain:
        raise UsageError("--signature: needs a --public-key, or --certificate-chain and --identity, to check it with")
    if bool(args.certificate_chain) != bool(args.identity):
        raise UsageError("--certificate-chain and --identity: belong together; give both")
    if "" in args.identity:
        raise UsageError("--identity: must not be empty")


def _trust(args: argparse.Namespace, keys: Sequence[PublicKey], roots: Sequence[Certificate]) -> Trust:
    return Trust(
        name=_POLICY,
        required=True,
        threshold=args.threshold or 1,
        keys=tuple(
            TrustedKey(name=str(path), key_id=key.key_id) for path, key in zip(args.public_key, keys, strict=True)
        ),
        # Named by its identity: two roots that vouch for the same signer make one signer.
        roots=tuple(
            TrustedRoot(name=name, root_id=root.certificate_id, key_id=root.key_id, identity=name)
            for name in args.identity
            for root in roots
        ),
        allow_left_out=args.allow_left_out,
    )


def check(wanted: Wanted, root: Path, files: Sequence[FileEntry]) -> Signed:
    """Hold every signature against the files that were read."""
    now = datetime.now(UTC)
    read = dict(enumerate(map(_read, wanted.paths)))
    bundles = {
        index: SignatureFile(data=data, path=path_inside(root, wanted.paths[index]))
        for index, data in read.items()
        if isinstance(data, bytes)
    }
    proven = examine_all(bundles, files, keys=wanted.keys, roots=wanted.roots, at=now)
    facts = [fact for item in proven.values() if not isinstance(item, SignatureError) for fact in item]
    look = _Look(wanted=wanted, now=now, beside=vouched(facts, [wanted.trust], now=now))
    told = {**proven, **{index: item for index, item in read.items() if isinstance(item, SignatureProblem)}}
    found = tuple(look.at(path, told[index]) for index, path in enumerate(wanted.paths))
    return Signed(judgement=look.together(found), signatures=found)


@dataclass(frozen=True, kw_only=True)
class _Look:
    """What signatures are judged with: `beside` are those that the others need not sign."""

    wanted: Wanted
    now: datetime
    beside: frozenset[int]

    def at(self, path: Path, told: Proven | SignatureProblem) -> Signature:
        """Judge one signature by itself."""
        source = printable(str(path))
        if isinstance(told, SignatureError):
            return _useless(source, told.as_problem(source), told.findings)
        if isinstance(told, SignatureProblem):
            return _useless(source, told)
        facts = tuple(replace(fact, claims=None) for fact in told)
        alone = self._judge(facts, replace(self.wanted.trust, threshold=1))
        message = alone.message.removeprefix(f"{_POLICY}: 0 of 1 signatures: ").removesuffix(f" ({_POLICY})")
        return Signature(source=source, judgement=replace(alone, message=f"{source}: {message}"), facts=told)

    def together(self, found: Sequence[Signature]) -> Judgement:
        """Judge all of them."""
        for signature in found:
            if self.wanted.all_right and not signature.judgement.signed:
                return signature.judgement
        facts = [replace(fact, claims=None) for item in found for fact in item.facts]
        return self._judge(facts, self.wanted.trust, [item.problem for item in found if item.problem])

    def _judge(
        self, facts: Sequence[SignatureFact], trust: Trust, problems: Sequence[SignatureProblem] = ()
    ) -> Judgement:
        return judge(facts, trust, now=self.now, expected=_ANYTHING, problems=problems, beside=self.beside)


def _useless(source: str, problem: SignatureProblem, findings: tuple[str, ...] = ()) -> Signature:
    signed = None if problem.reason == Reason.UNREADABLE else False
    judgement = Judgement(signed=signed, reason=problem.reason, message=f"{source}: {problem.message}")
    return Signature(source=source, judgement=judgement, problem=problem, findings=findings)


def _read(path: Path) -> bytes | SignatureProblem:
    """Read a signature file, which may lie in the checkpoint: a FIFO there must not hang us."""
    source = printable(str(path))
    try:
        with opened(open_path(path)) as descriptor, reading(source):
            parts: list[bytes] = []
            while sum(map(len, parts)) <= MAX_BUNDLE and (part := os.read(descriptor, _CHUNK)):
                parts.append(part)
            return b"".join(parts)
    except UnreadableError as error:
        return SignatureProblem(source=source, reason=Reason.UNREADABLE, message=str(error))
    except RefusedEntryError as error:
        return SignatureProblem(source=source, reason=Reason.SIGNATURE_INVALID, message=str(error))


def as_body(signature: Signature) -> dict[str, Any]:
    """Return a signature as JSON has it."""
    fact, judgement = next(iter(signature.facts), None), signature.judgement
    body: dict[str, Any] = {"file": signature.source, "counts": bool(judgement.signed), "reason": str(judgement.reason)}
    body["message"] = judgement.message
    if fact is None:
        return {**body, "findings": list(signature.findings)}
    return body | compact(
        {
            "method": str(fact.method),
            "keyId": fact.key_id,
            "rootId": fact.root_id or None,
            "identity": fact.identity or None,
            "notBefore": format_time(fact.not_before),
            "notAfter": format_time(fact.not_after),
            "claims": _claims_body(fact.claims) if fact.claims else None,
            "leftOut": list(fact.left_out),
        }
    )


def _claims_body(claims: Claims) -> dict[str, Any]:
    return compact(
        {
            "model": claims.model,
            "version": claims.version,
            "trainedAt": format_time(claims.trained_at),
            "dataCutoff": format_time(claims.data_cutoff),
            "signedAt": format_time(claims.signed_at),
            "image": claims.image or None,
        }
    )

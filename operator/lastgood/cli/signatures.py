"""The signatures of `lastgood verify`: whose are asked for, what they prove, and whether that is enough."""

import argparse
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from lastgood.api.fields import compact, format_time
from lastgood.api.names import Reason
from lastgood.api.signature import Claims, SignatureFact, SignatureProblem
from lastgood.cli import keyfiles, parser
from lastgood.cli.parser import UsageError
from lastgood.cli.sign import path_inside
from lastgood.core.trust import MAX_FACTS, Judgement, Trust, TrustedKey, TrustedRoot, judge
from lastgood.verify import FileEntry, RefusedEntryError, UnreadableError, printable
from lastgood.verify.reading import open_path, opened, reading
from lastgood.verify.signing import (
    MAX_BUNDLE,
    Certificate,
    PublicKey,
    SignatureError,
    examine,
    load_certificates,
    load_public_key,
)

_ANYTHING: Final = Claims(model="", version="")  # nothing is compared with it: claims are told, and not judged here
_POLICY: Final = "--threshold"  # how messages call what the options ask for
_CHUNK: Final = 2**20


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
    """One signature file, and what became of it: a fact, or a problem with findings."""

    source: str
    judgement: Judgement
    fact: SignatureFact | None = None
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
        ("--signature", "FILE", "a signature (an OpenSSF Model Signing bundle); each must be right"),
        ("--public-key", "FILE", "a public key whose signatures count (PEM)"),
        ("--certificate-chain", "FILE", "certificates that a signer's must lead to one of (PEM)"),
        ("--identity", "NAME", "whose certificates count: exactly the URI, email address or DNS name in them"),
    ):
        kind = str if metavar == "NAME" else Path
        added.add_argument(option, type=kind, action="append", default=[], metavar=metavar, help=f"{text}; repeatable")
    added.add_argument(
        "--threshold",
        type=parser.positive,
        metavar="N",
        help="how many different signers suffice, whatever the other signatures are (default: 1, and all right)",
    )
    added.add_argument(
        "--allow-left-out", action="store_true", help="accept files that a signature leaves out, such as .git/"
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
        raise UsageError(f"--threshold: {trust.threshold} signers cannot be found among {most}; each key counts once")
    paths = tuple(args.signature)
    return Wanted(paths=paths, keys=keys, roots=roots, trust=trust, all_right=args.threshold is None)


def _require_sense(args: argparse.Namespace) -> None:
    if not args.signature:
        for option in ("public_key", "certificate_chain", "identity", "threshold", "allow_left_out"):
            if getattr(args, option):
                raise UsageError(f"--{option.replace('_', '-')}: belongs to --signature; give one too")
        return
    if len(args.signature) > MAX_FACTS:
        raise UsageError(f"--signature: at most {MAX_FACTS} can be given")
    if not args.public_key and not args.certificate_chain:
        raise UsageError("--signature: needs a --public-key, or --certificate-chain and --identity, to check it with")
    if bool(args.certificate_chain) != bool(args.identity):
        raise UsageError("--certificate-chain and --identity: belong together; who signed must be said")
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
            TrustedRoot(name=name, root_id=root.key_id, identity=name) for name in args.identity for root in roots
        ),
        allow_left_out=args.allow_left_out,
    )


def check(wanted: Wanted, root: Path, files: Sequence[FileEntry]) -> Signed:
    """Hold every signature against the files that were read."""
    now = datetime.now(UTC)
    bundles = [_read(path) for path in wanted.paths]
    own = {
        inside: hashlib.sha256(bundle).hexdigest()
        for path, bundle in zip(wanted.paths, bundles, strict=True)
        if isinstance(bundle, bytes) and (inside := path_inside(root, path))
    }

    def look(path: Path, bundle: bytes | SignatureProblem) -> Signature:
        source = printable(str(path))
        if isinstance(bundle, SignatureProblem):
            return _judged(wanted, source, now, problem=bundle)
        try:
            fact = examine(bundle, files, keys=wanted.keys, roots=wanted.roots, at=now, own=own)
        except SignatureError as error:
            return _judged(wanted, source, now, problem=error.as_problem(source), findings=error.findings)
        return _judged(wanted, source, now, fact=fact)

    found = tuple(look(path, bundle) for path, bundle in zip(wanted.paths, bundles, strict=True))
    return Signed(judgement=_together(wanted, found, now), signatures=found)


def _together(wanted: Wanted, found: Sequence[Signature], now: datetime) -> Judgement:
    for signature in found:
        if wanted.all_right and not signature.judgement.signed:
            return signature.judgement
    facts = [replace(item.fact, claims=None) for item in found if item.fact]
    problems = [item.problem for item in found if item.problem]
    return judge(facts, wanted.trust, now=now, expected=_ANYTHING, problems=problems)


def _judged(  # noqa: PLR0917 - the parts of one value, made in one place
    wanted: Wanted,
    source: str,
    now: datetime,
    fact: SignatureFact | None = None,
    problem: SignatureProblem | None = None,
    findings: tuple[str, ...] = (),
) -> Signature:
    if problem:
        signed = None if problem.reason == Reason.UNREADABLE else False
        judgement = Judgement(signed=signed, reason=problem.reason, message=f"{source}: {problem.message}")
    else:
        facts = [replace(fact, claims=None)] if fact else []
        alone = judge(facts, replace(wanted.trust, threshold=1), now=now, expected=_ANYTHING)
        message = alone.message.removeprefix(f"{_POLICY}: 0 of 1 signatures: ").removesuffix(f" ({_POLICY})")
        judgement = replace(alone, message=f"{source}: {message}")
    return Signature(source=source, judgement=judgement, fact=fact, problem=problem, findings=findings)


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
    fact, judgement = signature.fact, signature.judgement
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
        }
    )

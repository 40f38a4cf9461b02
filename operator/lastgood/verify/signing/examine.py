"""What do bundles prove about the files that were read?"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from lastgood.api.facts.signature import Method, SignatureFact
from lastgood.verify.signing.certificates import Certificate, require_signers
from lastgood.verify.signing.compare import require_same
from lastgood.verify.signing.envelope import Envelope, parse_bundle
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.keys import PublicKey
from lastgood.verify.signing.plain import is_plain
from lastgood.verify.signing.statement import parse_statement
from lastgood.verify.values import FileEntry

_SHOWN: Final = 256  # characters of a reason that another sentence repeats
Proven = tuple[SignatureFact, ...] | SignatureError
"""What one bundle proved: a fact for its key, or for each root that its certificate leads to; or why nothing."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SignatureFile:
    """A bundle, and where it lies below the checkpoint; empty where it is no file of the checkpoint."""

    data: bytes
    path: str = ""


def examine(
    bundle: bytes,
    files: Sequence[FileEntry],
    *,
    keys: Sequence[PublicKey],
    roots: Sequence[Certificate],
    at: datetime,
    path: str = "",
) -> SignatureFact:
    """Check one bundle of OpenSSF Model Signing v1.0 against the files that were read.

    Args:
        bundle: the text of the signature file.
        files: what was read, as `manifest` returns it; a checkpoint of one file is named `.`.
        keys: whose signatures are looked for.
        roots: whose certificates are; the fact names the first that the signer's leads to.
        at: the time at which certificates must be valid, with a time zone.
        path: where the bundle itself lies below the checkpoint; it need not sign itself.

    Raises:
        SignatureError: if the signature is not right, for whatever reason.
        ValueError: if `at` has no time zone.
    """
    found = examine_all({0: SignatureFile(data=bundle, path=path)}, files, keys=keys, roots=roots, at=at)[0]
    if isinstance(found, SignatureError):
        raise found
    return found[0]


def examine_all(
    bundles: Mapping[int, SignatureFile],
    files: Sequence[FileEntry],
    *,
    keys: Sequence[PublicKey],
    roots: Sequence[Certificate],
    at: datetime,
) -> dict[int, Proven]:
    """Check the bundles of one checkpoint against the files that were read; each is answered under its index.

    1. The outer layers are read; 2. the signer is one of `keys`, or has a certificate that leads to one of `roots`;
    3. the signature is right; 4. what was signed is read; 5. it is exactly the files.

    A file of the checkpoint need not be signed by a bundle if it is a bundle itself, passes 1 to 5 as well, and is
    nothing else: that it is named as a signature says nothing. Each fact tells which bundles it is not over, for
    whether their signers count, and so the fact, a policy decides.

    Raises:
        ValueError: if `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("at: must have a time zone")
    signers = {index: _signers(index, item, keys, roots, at) for index, item in bundles.items()}
    read = {file.path: file.sha256 for file in files}
    problems = {index: _not_beside(item, signers[index], read) for index, item in bundles.items() if item.path}
    while True:
        beside = _Beside.of(bundles, problems)
        found = {index: _held(item, signers[index], files, beside) for index, item in bundles.items()}
        fallen = [index for index in beside.paths if isinstance(found[index], SignatureError)]
        if not fallen:
            return found
        # A bundle over other files is no signature of this checkpoint, but a file in it like any other.
        problems |= {index: f"it does not sign these files: {found[index]}"[:_SHOWN] for index in fallen}


@dataclass(frozen=True, kw_only=True, slots=True)
class _Beside:
    """The bundles that others need not sign, by their index, and why the other paths are no such ones."""

    paths: Mapping[int, str]
    refused: Mapping[str, str]

    @classmethod
    def of(cls, bundles: Mapping[int, SignatureFile], problems: Mapping[int, str]) -> "_Beside":
        paths = {index: bundles[index].path for index, why in problems.items() if not why}
        return cls(paths=paths, refused={bundles[index].path: why for index, why in problems.items() if why})

    def outside(self, index: int, signed: Collection[str]) -> tuple[int, ...]:
        """Return the bundles other than this one that are not among the paths that it signed."""
        return tuple(other for other, path in self.paths.items() if other != index and path not in signed)


def _signers(
    index: int, item: SignatureFile, keys: Sequence[PublicKey], roots: Sequence[Certificate], at: datetime
) -> Proven:
    try:
        envelope = parse_bundle(item.data)
        found = _by_certificate(envelope, roots, at) if envelope.certificates else (_by_key(envelope, keys),)
    except SignatureError as error:
        return error
    return tuple(replace(fact, index=index) for fact in found)


def _not_beside(item: SignatureFile, signer: Proven, read: Mapping[str, str]) -> str:
    """Return why a path that is named as a signature has to be signed like any other, or nothing."""
    if isinstance(signer, SignatureError):
        return str(signer)
    if read.get(item.path) != hashlib.sha256(item.data).hexdigest():
        return "it is not the bundle that was read"
    return "" if is_plain(item.data, parse_bundle(item.data)) else "it holds more than a signature"


def _held(item: SignatureFile, signer: Proven, files: Sequence[FileEntry], beside: _Beside) -> Proven:
    """Hold a bundle, whose signature is right, against the files."""
    if isinstance(signer, SignatureError):
        return signer
    try:
        # Read once more rather than kept: a bundle may be large, and there may be many.
        statement = parse_statement(parse_bundle(item.data).payload, len(files))
        left_out = require_same(statement, files, frozenset(beside.paths.values()), beside.refused)
    except SignatureError as error:
        return error
    outside = beside.outside(signer[0].index, statement.resources)
    return tuple(replace(fact, claims=statement.claims, left_out=left_out, outside=outside) for fact in signer)


def _by_certificate(envelope: Envelope, roots: Sequence[Certificate], at: datetime) -> tuple[SignatureFact, ...]:
    signers = require_signers(envelope.certificates, roots, at)
    if not signers[0].key.made(envelope.signature, envelope.signed):
        raise SignatureError(Problem.BAD_SIGNATURE, "the key of the bundle's certificate did not make the signature")
    return tuple(
        SignatureFact(
            method=Method.CERTIFICATE,
            key_id=signer.key.key_id,
            root_id=signer.root_id,
            identity=signer.identity,
            not_before=signer.not_before,
            not_after=signer.not_after,
        )
        for signer in signers
    )


def _by_key(envelope: Envelope, keys: Sequence[PublicKey]) -> SignatureFact:
    # The hint is not signed, so it only helps to say what is wrong: every key is tried.
    signed = envelope.signed
    for key in keys:
        if key.made(envelope.signature, signed):
            return SignatureFact(method=Method.KEY, key_id=key.key_id)
    if any(key.hint == envelope.hint for key in keys):
        raise SignatureError(Problem.BAD_SIGNATURE, "the signature is invalid: the bundle was changed after signing")
    raise SignatureError(Problem.UNKNOWN_KEY, "none of the trusted public keys made the signature")

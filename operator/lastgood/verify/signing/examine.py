"""What does a bundle prove about the files that were read?"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from lastgood.api.signature import Method, SignatureFact
from lastgood.verify.signing.certificates import Certificate, require_signer
from lastgood.verify.signing.compare import require_same
from lastgood.verify.signing.envelope import Envelope, parse_bundle
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.keys import PublicKey
from lastgood.verify.signing.statement import parse_statement
from lastgood.verify.values import FileEntry

_NONE: Final[Mapping[str, str]] = MappingProxyType({})


def examine(
    bundle: bytes,
    files: Sequence[FileEntry],
    *,
    keys: Sequence[PublicKey],
    roots: Sequence[Certificate],
    at: datetime,
    own: Mapping[str, str] = _NONE,
) -> SignatureFact:
    """Check a bundle of OpenSSF Model Signing v1.0 against the files that were read.

    1. The bundle's outer layers are read; 2. its signer is one of `keys`, or has a certificate that leads to one
    of `roots`; 3. the signature is right; 4. what was signed is read; 5. it is exactly the files. Whether the
    signer counts, a policy decides.

    Args:
        bundle: the text of the signature file.
        files: what was read, as `manifest` returns it; a checkpoint of one file is named `.`.
        keys: whose signatures are looked for.
        roots: whose certificates are.
        at: the time at which certificates must be valid, with a time zone.
        own: signature files inside the checkpoint, with the sha256 of what was read from them: they need not be
            signed themselves.

    Raises:
        SignatureError: if the signature is not right, for whatever reason.
        ValueError: if `at` has no time zone.
    """
    if at.tzinfo is None:
        raise ValueError("at: must have a time zone")
    envelope = parse_bundle(bundle)
    fact = _by_certificate(envelope, roots, at) if envelope.certificates else _by_key(envelope, keys)
    statement = parse_statement(envelope.payload, len(files))
    return replace(fact, claims=statement.claims, left_out=require_same(statement, files, own))


def _by_certificate(envelope: Envelope, roots: Sequence[Certificate], at: datetime) -> SignatureFact:
    signer = require_signer(envelope.certificates, roots, at)
    if not signer.key.made(envelope.signature, envelope.signed):
        raise SignatureError(Problem.BAD_SIGNATURE, "the signature is not the one of the bundle's certificate")
    return SignatureFact(
        method=Method.CERTIFICATE,
        key_id=signer.key.key_id,
        root_id=signer.root_id,
        identity=signer.identity,
        not_before=signer.not_before,
        not_after=signer.not_after,
    )


def _by_key(envelope: Envelope, keys: Sequence[PublicKey]) -> SignatureFact:
    # The hint is not signed, so it only helps to say what is wrong: every key is tried.
    signed = envelope.signed
    for key in keys:
        if key.made(envelope.signature, signed):
            return SignatureFact(method=Method.KEY, key_id=key.key_id)
    if any(key.hint == envelope.hint for key in keys):
        raise SignatureError(Problem.BAD_SIGNATURE, "the signature is not right: the bundle was changed after signing")
    raise SignatureError(Problem.UNKNOWN_KEY, "the signature is by no public key that was given")

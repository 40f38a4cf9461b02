"""Signatures of checkpoints: bundles of OpenSSF Model Signing v1.0, methods `key` and `certificate`.

`examine` says what a bundle proves about files that were read, and `sign` makes one. What counts is decided
elsewhere, by a policy: a signature that is right is a fact, and not yet trust.
"""

from lastgood.api.facts.signature import Claims, Method, SignatureFact
from lastgood.verify.signing.certificates import Certificate, load_certificates, require_usable
from lastgood.verify.signing.envelope import MAX_BUNDLE
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.examine import Proven, SignatureFile, examine, examine_all
from lastgood.verify.signing.keys import (
    CURVES,
    PrivateKey,
    PublicKey,
    generate_key,
    load_private_key,
    load_public_key,
)
from lastgood.verify.signing.sign import sign

__all__ = [
    "CURVES",
    "MAX_BUNDLE",
    "Certificate",
    "Claims",
    "Method",
    "PrivateKey",
    "Problem",
    "Proven",
    "PublicKey",
    "SignatureError",
    "SignatureFact",
    "SignatureFile",
    "examine",
    "examine_all",
    "generate_key",
    "load_certificates",
    "load_private_key",
    "load_public_key",
    "require_usable",
    "sign",
]

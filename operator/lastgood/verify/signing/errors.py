"""Why a signature proves nothing about a checkpoint: a word for programs, and a sentence for people."""

from enum import StrEnum
from typing import Final

from lastgood.api.facts.signature import SignatureProblem
from lastgood.api.names import Reason

_MAX_MESSAGE: Final = 512


class Problem(StrEnum):
    """What is wrong with a bundle, its signer, or the files it is about."""

    MALFORMED = "SignatureMalformed"
    TOO_LARGE = "SignatureTooLarge"
    UNSUPPORTED = "SignatureUnsupported"
    UNSUPPORTED_KEY = "KeyUnsupported"
    UNKNOWN_KEY = "KeyUnknown"
    BAD_SIGNATURE = "SignatureInvalid"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_NOT_YET_VALID = "CertificateNotYetValid"
    CERTIFICATE_USAGE = "CertificateUsage"
    CERTIFICATE_IDENTITY = "CertificateIdentity"
    CERTIFICATE_CHAIN = "CertificateChain"
    NOTHING_SIGNED = "NothingSigned"
    FILES_DIFFER = "FilesDiffer"


_REASONS: Final = {
    Problem.UNKNOWN_KEY: Reason.SIGNATURE_UNTRUSTED,
    Problem.CERTIFICATE_CHAIN: Reason.SIGNATURE_UNTRUSTED,
    Problem.CERTIFICATE_IDENTITY: Reason.SIGNATURE_UNTRUSTED,
    Problem.CERTIFICATE_EXPIRED: Reason.KEY_NOT_VALID,
    Problem.CERTIFICATE_NOT_YET_VALID: Reason.KEY_NOT_VALID,
}
"""Where the signer is nobody to be trusted now; all else is a signature that is not right."""


class SignatureError(Exception):
    """A signature is not right; the message is a sentence whose names are printable.

    Attributes:
        reason: the problem in one word.
        findings: a sentence for each file that is not what was signed; at most 20.
    """

    def __init__(self, reason: Problem, sentence: str, findings: tuple[str, ...] = ()) -> None:
        super().__init__(sentence)
        self.reason = reason
        self.findings = findings

    def as_problem(self, source: str) -> SignatureProblem:
        """Return this as the judge of a trust policy takes it; `source` names the bundle."""
        reason = _REASONS.get(self.reason, Reason.SIGNATURE_INVALID)
        return SignatureProblem(source=source, reason=reason, message=str(self)[:_MAX_MESSAGE])

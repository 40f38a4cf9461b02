"""Making a bundle that other verifiers of OpenSSF Model Signing v1.0 accept too."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import Encoding

from lastgood.api.facts.signature import Claims
from lastgood.verify.signing.certificates import Certificate
from lastgood.verify.signing.envelope import MAX_BUNDLE, MAX_CERTIFICATES, Envelope, write_bundle
from lastgood.verify.signing.errors import Problem, SignatureError
from lastgood.verify.signing.keys import PrivateKey
from lastgood.verify.signing.statement import write_statement
from lastgood.verify.values import FileEntry


def sign(
    files: Sequence[FileEntry],
    key: PrivateKey,
    *,
    claims: Claims | None = None,
    certificates: Sequence[Certificate] = (),
    name: str = "model",
    ignored: Sequence[str] = (),
) -> bytes:
    """Return a bundle over files; every one of them is signed.

    Args:
        files: what was read, as `manifest` returns it; a checkpoint of one file is named `.`.
        key: the signer's.
        claims: what the signer says the files are.
        certificates: the signer's certificate, then those that lead to the root; none for a bare key.
        name: a name for people, such as the directory's.
        ignored: paths that a verifier shall not miss, such as the signature's own inside the checkpoint.

    Raises:
        SignatureError: if there is no file, the certificate is another key's, or the bundle would be too large.
    """
    if not files:
        raise SignatureError(Problem.NOTHING_SIGNED, "there is no file to sign")
    if certificates and certificates[0].key_id != key.public.key_id:
        raise SignatureError(Problem.CERTIFICATE_CHAIN, "the first certificate does not match the private key")
    if len(certificates) > MAX_CERTIFICATES:
        raise SignatureError(Problem.TOO_LARGE, f"there are more than {MAX_CERTIFICATES} certificates")
    payload = write_statement(files, name=name, claims=claims, ignored=ignored)
    signature = key.sign(Envelope(payload=payload, signature=b"").signed)
    chain = [item.x509.public_bytes(Encoding.DER) for item in certificates]
    bundle = write_bundle(payload, signature, hint=key.public.hint, certificates=chain)
    if len(bundle) > MAX_BUNDLE:
        raise SignatureError(Problem.TOO_LARGE, f"the bundle would be larger than {MAX_BUNDLE} bytes")
    return bundle

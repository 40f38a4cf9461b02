"""Is a file a signature bundle, and nothing else besides?

A bundle that is a file of the checkpoint need not be signed by the others. So it must not be able to be anything
else: a configuration with the fields of a bundle in it, a template in a name that nobody signs, a text before or
after. Whoever has no key can write all of that around a signature that is right.
"""

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, Final

from lastgood.verify.signing.envelope import Envelope

_SPACES: Final = 4096  # bytes; what an indented bundle with ten certificates needs is a third of that
_HINT: Final = re.compile(r"[A-Za-z0-9+/=:._-]{0,128}")
_EMPTY: Final[tuple[object, ...]] = (None, "", [], {})


def is_plain(bundle: bytes, envelope: Envelope) -> bool:
    """Tell whether a bundle that `parse_bundle` has read holds only what the format gives a meaning."""
    root: dict[str, Any] = json.loads(bundle)
    material, sealed = root["verificationMaterial"], root["dsseEnvelope"]
    signer = material.get("publicKey") or material.get("x509CertificateChain") or {}
    chain = signer.get("certificates") or []
    (signature,) = sealed["signatures"]
    texts = [sealed["payload"], signature["sig"], *(item["rawBytes"] for item in chain)]
    held = (
        _holds(root, "mediaType", "verificationMaterial", "dsseEnvelope"),
        _holds(material, "publicKey", "x509CertificateChain"),  # no log entries, which nobody here reads
        _holds(signer, "certificates" if envelope.certificates else "hint"),
        all(_holds(item, "rawBytes") for item in chain),
        _holds(sealed, "payload", "payloadType", "signatures"),
        _holds(signature, "sig", "keyid"),
        _is_name(signer.get("hint")) and _is_name(signature.get("keyid")),
        # One text for the same bytes, so that nothing can be written into the spare bits of base64.
        texts == [_encoded(data) for data in (envelope.payload, envelope.signature, *envelope.certificates)],
        len(bundle) <= sum(map(len, texts)) + _SPACES,
    )
    return all(held)


def _holds(value: Mapping[str, Any], *names: str) -> bool:
    return all(name in names for name, item in value.items() if item not in _EMPTY)


def _is_name(value: object) -> bool:
    return value in _EMPTY or (isinstance(value, str) and _HINT.fullmatch(value) is not None)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()

"""The rules of our own scan that policies treat in a way of their own: code, and what could not be judged."""

from typing import Final

from lastgood.api.names import Severity

LONGEST_RULE: Final = 24
"""Characters of a rule's name at most: an answer that has no room cuts texts to as many, and a policy goes by names."""
UNIDENTIFIED: Final = "unidentified"
"""The rule for a file that no parser accounts for."""
UNKNOWN_FORMAT: Final = "unknown"
"""The format of such a file. A policy that names it among the formats that it allows has spoken for them."""
CODE_FILE: Final = "code-file"
EXECUTABLE: Final = "executable"
CODE: Final = frozenset({CODE_FILE, EXECUTABLE})
"""The rules for code beside weights. There is one finding of each for all files, and a policy allows them together."""
UNKNOWN_CODE: Final = "unknown"
"""What stands for the digest of code where not all of it could be read: nobody can vouch for that."""

UNJUDGED: Final = frozenset(
    {
        "refused-entry",  # a link or a device is not followed
        "nothing-to-scan",
        UNIDENTIFIED,
        # Packed, nested, broken or too much, so that not all of it was looked at.
        "not-checked-compressed",
        "not-checked-config",
        "not-checked-drift",
        "archive-limits",
        "archive-depth",
        "archive-bomb",
        "archive-stream",
        "zip-broken",
        "zip-method",
        "zip-encrypted",
        "tar-broken",
        "tar-entry",
        "pickle-limits",
        "pickle-broken",
        "template-size",
        "config-unusual",
        # Bytes that belong to nothing, or to what another reader finds there.
        "polyglot",
        "zip-mismatch",
        "zip-overlap",
        "zip-hidden-data",
        "zip-trailing-data",
        "tar-trailing-data",
        "pickle-trailing-data",
        "safetensors-header",
        "gguf-header",
        "onnx-broken",
        "numpy-header",
        "numpy-size",
        "torch-storage",
        # What it means only the loading program knows.
        "pickle-extension",
        "pickle-persistent-id",
    }
)
_GRAVE: Final = frozenset({Severity.CRITICAL, Severity.HIGH})


def judged(rule: str, severity: Severity) -> bool:
    """Tell whether a finding is about something that was looked at; else nobody knows how grave it is.

    Some rules have a lighter severity where nothing can hide, such as in a table of words; those count as judged.
    """
    return rule not in UNJUDGED or severity not in _GRAVE

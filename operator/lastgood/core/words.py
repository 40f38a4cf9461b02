"""Names that several decisions share."""

from typing import Final

INTEGRITY: Final = "snapshot-integrity"
"""The trigger that needs no declaration: what serves stops being verified by a mismatch, is quarantined, or revoked."""

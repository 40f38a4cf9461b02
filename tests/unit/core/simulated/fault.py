"""What may go wrong with one action."""

from enum import Enum

from lastgood.core.actions import KeepEvidence, RunChecks, Verify


class Fault(Enum):
    """What goes wrong with one action."""

    NONE = "none"
    LOST = "decided, and killed before it was done"
    FORGOTTEN = "done, and killed before anything was made of it"
    TWICE = "done twice"
    CONFLICT = "409: somebody was faster"
    BUSY = "429 or 500: not done, and tried again later"
    UNANSWERED = "done, and its answer was lost"
    REFUSED = "403 of an admission policy, once"


ANSWERS = frozenset({Fault.CONFLICT, Fault.BUSY, Fault.UNANSWERED, Fault.REFUSED})
"""What the API server answers, or does not: what is no write to it has no such fault."""
NO_WRITES = frozenset({Verify, RunChecks, KeepEvidence})

"""What one look at a signal found: shared by those who look and those who decide."""

from dataclasses import dataclass
from enum import StrEnum

from lastgood.api.names import LookError


class Verdict(StrEnum):
    """What a signal says. Only a clear answer is a vote: Inconclusive is neither good nor bad."""

    HEALTHY = "Healthy"
    BREACHED = "Breached"
    INCONCLUSIVE = "Inconclusive"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One look at a signal.

    Attributes:
        verdict: what it says.
        value: the observed fields, at most 256 characters; empty if nothing was observed.
        error: one sentence saying why the look was inconclusive; empty otherwise.
        kind: what kind of error that is; None where there is none.
    """

    verdict: Verdict
    value: str = ""
    error: str = ""
    kind: LookError | None = None


@dataclass(frozen=True, kw_only=True)
class Unusable:
    """Why a trigger or a check can never be looked at as it is declared; the sentence names the field of the spec."""

    kind: LookError
    message: str

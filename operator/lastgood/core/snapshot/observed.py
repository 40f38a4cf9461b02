"""What a decision about a ModelSnapshot is made from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from lastgood.api.facts.evidence import Capture, Forensics
from lastgood.api.facts.external import ExternalScan
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.state import Checked, Step
from lastgood.core.trust.policy import Trust


@dataclass(frozen=True, kw_only=True)
class ObservedSnapshot:
    """Everything a decision about a ModelSnapshot may know; `interval` is between two verifications.

    `trust` are the trust policies of the namespace and of the cluster, for whichever model; `complete` is false until
    they, too, have been read whole. `refused` are the digests whose quarantine the API server did not allow, with the
    time. `captured` is what this process knows of a capture, `capturing` whether one runs, `capture_asked` whether
    a ModelDeployment asks for one, `repaired` when a repair ended last, and whether it was done. `scans` are what
    external scanners said last to this process, `scanning` whether one is looking. `forensics` is what became of the
    last copy to the evidence that this process tried.
    """

    now: datetime
    snapshot: ModelSnapshot
    interval: timedelta
    checked: Checked | None = None
    verifying: bool = False
    complete: bool = True
    quarantined: Mapping[str, str] = field(default_factory=dict)
    everywhere: frozenset[str] = frozenset()
    trust: tuple[Trust, ...] = ()
    refused: Mapping[str, datetime] = field(default_factory=dict)
    captured: Capture | None = None
    capturing: bool = False
    capture_asked: bool = False
    repaired: tuple[datetime, bool] | None = None
    scans: tuple[ExternalScan, ...] = ()
    scanning: bool = False
    forensics: Forensics | None = None


Rule = Callable[[ObservedSnapshot], Step | None]

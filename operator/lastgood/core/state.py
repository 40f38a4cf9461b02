"""What a decision is made from, and what it is."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from lastgood.api.facts.deployment_status import DeploymentStatus, Intent
from lastgood.api.facts.evidence import PassedOver, Scan
from lastgood.api.facts.external import ExternalScan
from lastgood.api.facts.remembered import Remembered
from lastgood.api.facts.signal import Unusable, Verdict
from lastgood.api.facts.signature import Examined
from lastgood.api.names import Digest, LookError, Reason, RecordName, SnapshotName
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.rollback import ModelRollback
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.workload.workload import Workload
from lastgood.core.actions import Action
from lastgood.core.snapshot.external import untold
from lastgood.core.trust.policy import Trust

_LONG_AGO = datetime.min.replace(tzinfo=UTC)
FRESH = timedelta(seconds=15)
"""How old a finished verification may be to count as made at the moment of use."""


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A verification that this process finished; `reason` is Verified, DigestMismatch or Unreadable.

    `uid` is the ModelSnapshot's: one that is created again under its name may mean other bytes. `examined` and `scan`
    are None where nobody looked. `copy` was read, such as `mirrors[0]`, and `passed_over` before it.
    """

    uid: str
    digest: Digest
    reason: Reason
    at: datetime
    message: str = ""
    actual: str = ""
    size_bytes: int = 0
    file_count: int = 0
    seconds: float = 0.0
    findings: tuple[str, ...] = ()
    examined: Examined | None = None
    scan: Scan | None = None
    blake3: str = ""
    copy: str = ""
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Tally:
    """The samples of one trigger or check since what serves changed.

    `looks` counts all of them, `streak` the last verdict in a row, and `since` is when that row began. `kind` is what
    kind of error the last one had. `settled` is when it was healthy last, or when it was asked first; `fell` is when it
    was last not healthy for as many looks as count.
    """

    verdict: Verdict
    streak: int
    at: datetime
    value: str = ""
    error: str = ""
    kind: LookError | None = None
    looks: int = 1
    since: datetime | None = None
    settled: datetime | None = None
    fell: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Drift:
    """How often in a row the workload's bound fields were written back, and when last."""

    count: int = 0
    last: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """What the API server, or a policy in it, did not allow: when last, how often in a row; it is asked for again."""

    at: datetime
    count: int = 1

    @property
    def again(self) -> datetime:
        """When it is asked for again: 1, 2, 4 … 60 seconds after it was refused."""
        return self.at + min(REFUSED, timedelta(seconds=2 ** min(self.count - 1, 6)))


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything a decision about a ModelDeployment may know.

    `complete` is false while a list that it rests on has not been read whole, the trust policies among them: a policy
    that was not read yet must not look like one that was deleted. `quarantined` maps the digests that are quarantined
    in this namespace to why; `trust` are the policies of the namespace and of the cluster, for whichever model.
    `checked` and `verifying` hold this process's verifications by snapshot; `tallies` and `checks` are by trigger and
    by check of the active rollback; `taken` are record names that somebody else's objects have; `refused` are the
    snapshots, by name, whose switch the API server did not allow, the records, by name, and the digests whose
    quarantine it did not, with the time; `switched_first` has the records for which this process has switched before it
    had the lock, and to what; `began` is when the rollback that is asked about begins, where it has no lock yet;
    `nonce` is 32 hex digits that nobody can foresee; `heard` is what external scanners told this process. `remembered`
    is what is kept of this ModelDeployment beyond its deletion, None where it could not be read yet, with a sentence
    why not; `recalled` means that its status has been completed from there. `unusable` says why triggers and checks can
    never be looked at, by `trigger/NAME` and `check/NAME`; `watched` is since when this process has looked at what
    serves, `unserved` when it last saw that not every pod serves it, and `asked` when it first saw each annotation that
    waits, by the key of its request.
    """

    now: datetime
    deployment: ModelDeployment
    workload: Workload | None = None
    complete: bool = True
    snapshots: tuple[ModelSnapshot, ...] = ()
    quarantined: Mapping[str, str] = field(default_factory=dict)
    trust: tuple[Trust, ...] = ()
    records: tuple[ModelRollback, ...] = ()
    checked: Mapping[SnapshotName, Checked] = field(default_factory=dict)
    verifying: frozenset[SnapshotName] = frozenset()
    tallies: Mapping[str, Tally] = field(default_factory=dict)
    checks: Mapping[str, Tally] = field(default_factory=dict)
    drift: Drift = field(default_factory=Drift)
    taken: frozenset[str] = frozenset()
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    switched_first: Mapping[RecordName, Intent] = field(default_factory=dict)
    began: datetime | None = None
    nonce: str = "0" * 32
    heard: Mapping[SnapshotName, tuple[ExternalScan, ...]] = field(default_factory=dict)
    remembered: Remembered | None = None
    remembered_problem: str = ""
    recalled: bool = False
    unusable: Mapping[str, Unusable] = field(default_factory=dict)
    watched: datetime | None = None
    unserved: datetime | None = None
    asked: Mapping[str, datetime] = field(default_factory=dict)

    def snapshot(self, name: str) -> ModelSnapshot | None:
        """Return a snapshot by its name."""
        return next((snapshot for snapshot in self.snapshots if snapshot.name == name), None)

    def record(self, name: str) -> ModelRollback | None:
        """Return a record by its name."""
        return next((record for record in self.records if record.name == name), None)

    @property
    def active(self) -> ModelRollback | None:
        """The record that holds this deployment, where it is there."""
        active = self.deployment.status.active
        return self.record(active.name) if active else None

    @property
    def since(self) -> datetime | None:
        """When the rollback under way took its lock, or begins; None where there is none."""
        active = self.deployment.status.active
        return (active.since or _LONG_AGO) if active else self.began

    def found(self, snapshot: ModelSnapshot) -> Checked | None:
        """Return the last verification of this very snapshot that this process finished."""
        checked = self.checked.get(snapshot.name)
        return checked if checked and (checked.uid, checked.digest) == (snapshot.meta.uid, snapshot.digest) else None

    def found_now(self, snapshot: ModelSnapshot) -> ModelSnapshot:
        """Return a snapshot whose place is the copy that this process found good just now, if it looked."""
        fresh, last = self.fresh(snapshot), snapshot.status.verification
        if fresh is None or not fresh.copy or last is None or last.copy == fresh.copy:
            return snapshot
        return replace(snapshot, status=replace(snapshot.status, verification=replace(last, copy=fresh.copy)))

    def was_refused(self, what: str) -> bool:
        """Tell whether the API server refused it within the last minute."""
        found = self.refused.get(what)
        return found is not None and self.now - found.at <= REFUSED

    def rest(self, what: str) -> float:
        """Return for how many seconds what was refused is not asked for again."""
        found = self.refused.get(what)
        return max(0.0, (found.again - self.now).total_seconds()) if found else 0.0

    def fresh(self, snapshot: ModelSnapshot) -> Checked | None:
        """Return the verification of a snapshot that was finished just now by this process.

        In a rollback, just now is after it took the lock: what was read earlier may have been changed since. What was
        left since, because no pod would load it, say, is looked at again as well.

        A refusal counts for as long as the rollback that asked for it runs: else two large snapshots that both
        cannot be read would be tried in turn for ever.
        """
        checked, since = self.found(snapshot), self.since
        if checked is None:
            return None
        during = since is None or checked.at >= since
        if checked.reason != Reason.VERIFIED and since is not None and during:
            return checked
        if not during or self._left_since(snapshot.name, checked.at):
            return None
        if self.untold(snapshot):
            return None  # the next one waits for external scanners
        return checked if self.now - checked.at <= FRESH else None

    def untold(self, snapshot: ModelSnapshot) -> bool:
        """Tell whether only the status has what an external scanner said: a verification for a switch asks first."""
        return bool(untold(self.trust, snapshot, self.heard.get(snapshot.name, ())))

    def _left_since(self, name: SnapshotName, at: datetime) -> bool:
        ends = (period.until for period in self.deployment.status.history if period.snapshot == name)
        return any(end is not None and end >= at for end in ends)


REMEMBERED = "remembered"
"""What is noted as refused where the API server does not allow to keep facts."""
REFUSED = timedelta(seconds=60)
"""The longest pause until what the API server refused is asked for again."""


class Tell(StrEnum):
    """Who hears of a step: nobody, whoever reads events, or whoever is on call."""

    NOBODY = "nobody"
    INFO = "info"
    WARNING = "warning"
    ALERT = "alert"


@dataclass(frozen=True, kw_only=True)
class Step:
    """What a rule answers: why, in words; what to do; which facts changed; and when to look again (seconds).

    A step without an action and without changed facts is a wait, and its reason is what `Ready` says. Where it warns or
    alerts, people hear of it once for each reason and what it is `about`. `then` follows once it is written.
    """

    reason: Reason
    message: str
    action: Action | None = None
    facts: DeploymentStatus | None = None
    after: float | None = None
    tell: Tell = Tell.NOBODY
    about: str = ""
    then: tuple["Step", ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A batch of actions, why, and when to look again (seconds; None: when something changes).

    They may be carried out at the same time, in any order, and in part: the next decision goes on from what was done.
    `then` follows once all of them are done, and only then. `alerts` are what is told beside it.
    """

    reason: Reason
    message: str
    actions: tuple[Action, ...] = ()
    then: tuple[Action, ...] = ()
    requeue_after: float | None = None
    tell: Tell = Tell.NOBODY
    alerts: tuple[Step, ...] = ()

    @property
    def action(self) -> Action | None:
        """The first of its actions, which most are alone."""
        return self.actions[0] if self.actions else None

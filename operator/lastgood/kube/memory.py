"""What this process knows and no object says: verifications, samples, drift. A restart forgets it, and may."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from lastgood.api.facts.deployment_status import Intent
from lastgood.api.facts.evidence import Capture, Forensics
from lastgood.api.facts.external import ExternalScan
from lastgood.api.facts.signal import Sample, Verdict
from lastgood.api.names import Reason, RecordName, SnapshotName
from lastgood.api.specs.deployment import ModelDeployment, Trigger
from lastgood.core.serving.triggers import fallen
from lastgood.core.state import REFUSED, Checked, Drift, Refusal, Tally
from lastgood.kube.cache import Key
from lastgood.kube.clock import Clock, utc_now

_Period = tuple[str, str, str, bool]


@dataclass
class Watch:
    """What was sampled for one ModelDeployment while one snapshot serves."""

    period: _Period = ("", "", "", False)
    since: datetime | None = None
    unserved: datetime | None = None
    tallies: dict[str, Tally] = field(default_factory=dict)
    checks: dict[str, Tally] = field(default_factory=dict)
    record: str = ""
    drift: Drift = field(default_factory=Drift)
    taken: set[str] = field(default_factory=set)
    refused: dict[str, Refusal] = field(default_factory=dict)
    switched_first: dict[RecordName, Intent] = field(default_factory=dict)
    asked: dict[str, datetime] = field(default_factory=dict)

    def hear(self, keys: Iterable[str], now: datetime) -> dict[str, datetime]:
        """Note which annotations wait to be acted on; return since when this process has seen each of them."""
        self.asked = {key: self.asked.get(key, now) for key in keys}
        return dict(self.asked)

    def refuse(self, what: str, now: datetime) -> Refusal:
        """Note that the API server did not allow something; after a while without, the count begins anew."""
        before = self.refused.get(what)
        count = before.count + 1 if before and now - before.again <= REFUSED else 1
        self.refused[what] = Refusal(at=now, count=count)
        return self.refused[what]

    def allow(self, what: str) -> None:
        """Note that it was allowed."""
        self.refused.pop(what, None)


class Memory:
    """All of it, by key."""

    def __init__(self, clock: Clock = utc_now) -> None:
        self.now = clock
        self.verifications: Counter[Reason] = Counter()  # those that ended here, by what they found
        self.verified_bytes = 0  # of what they found good
        self._checked: dict[Key, Checked] = {}
        self._verifying: dict[Key, set[Key]] = {}
        self._captured: dict[Key, Capture] = {}
        self._capturing: set[Key] = set()
        self._repaired: dict[Key, tuple[datetime, bool]] = {}
        self._scans: dict[Key, tuple[ExternalScan, ...]] = {}
        self._scanning: set[Key] = set()
        self._forensics: dict[Key, tuple[str, Forensics]] = {}
        self._refused: defaultdict[Key, dict[str, datetime]] = defaultdict(dict)
        self._watches: defaultdict[Key, Watch] = defaultdict(Watch)

    def watch(self, key: Key, deployment: ModelDeployment) -> Watch:
        """Return what was sampled for a deployment.

        What was sampled of another snapshot is forgotten, and so is what was sampled while pods of it still answered.
        """
        watch, status = self._watches[key], deployment.status
        since = str(status.history[-1].since) if status.history else ""
        period = (deployment.meta.uid, status.snapshot, since, status.available_at is not None)
        record = status.active.name if status.active else ""
        if watch.period != period:
            watch.period, watch.since, watch.tallies, watch.drift = period, self.now(), {}, Drift()
            watch.unserved = None
        if watch.record != record:
            watch.record, watch.checks = record, {}
        return watch

    def checked(self, key: Key) -> Checked | None:
        """Return the last verification of a snapshot that this process finished."""
        return self._checked.get(key)

    def verifying(self, key: Key) -> bool:
        """Tell whether a snapshot is being verified."""
        return key in self._verifying

    def names(self, keys: Iterable[Key]) -> tuple[dict[SnapshotName, Checked], frozenset[SnapshotName]]:
        """Return what is known of these snapshots, by their names, and which of them are being verified."""
        keys = list(keys)
        found = {SnapshotName(key.name): self._checked[key] for key in keys if key in self._checked}
        return found, frozenset(SnapshotName(key.name) for key in keys if key in self._verifying)

    def begin(self, key: Key, waiter: Key) -> bool:
        """Note that someone waits for a verification; tell whether it is theirs to start."""
        first = key not in self._verifying
        self._verifying.setdefault(key, set()).add(waiter)
        return first

    def end(self, key: Key, checked: Checked | None) -> set[Key]:
        """Note what a verification found, and return who waits for it."""
        if checked is not None:
            self._checked[key] = checked
            self._count(checked)
        return self._verifying.pop(key, set())

    def _count(self, checked: Checked) -> None:
        self.verifications[checked.reason] += 1
        if checked.reason is Reason.VERIFIED:
            self.verified_bytes += checked.size_bytes

    def captured(self, key: Key) -> Capture | None:
        """Return what this process knows of a capture."""
        return self._captured.get(key)

    def capturing(self, key: Key) -> bool:
        """Tell whether a snapshot is being copied into the store."""
        return key in self._capturing

    def begin_capture(self, key: Key) -> bool:
        """Note that a capture runs; tell whether it is the caller's to run."""
        first = key not in self._capturing
        self._capturing.add(key)
        return first

    def note_capture(self, key: Key, capture: Capture) -> None:
        """Note how far a capture is, or what came of it."""
        self._captured[key] = capture

    def end_capture(self, key: Key) -> None:
        """Note that no capture runs any more."""
        self._capturing.discard(key)

    def repaired(self, key: Key) -> tuple[datetime, bool] | None:
        """Return when a repair of a snapshot's source ended, and whether it was done."""
        return self._repaired.get(key)

    def note_repair(self, key: Key, *, done: bool) -> None:
        """Note that a repair of a snapshot's source has ended."""
        self._repaired[key] = self.now(), done

    def scans(self, key: Key) -> tuple[ExternalScan, ...]:
        """Return what external scanners said last of a snapshot, each of those that this process asked."""
        return self._scans.get(key, ())

    def heard(self, keys: Iterable[Key]) -> dict[SnapshotName, tuple[ExternalScan, ...]]:
        """Return the same of several snapshots, by their names."""
        if not self._scans:
            return {}
        return {SnapshotName(key.name): self._scans[key] for key in keys if key in self._scans}

    def scanning(self, key: Key) -> bool:
        """Tell whether an external scanner is looking at a snapshot."""
        return key in self._scanning

    def begin_scan(self, key: Key) -> bool:
        """Note that external scanners look at a snapshot; tell whether it is the caller's to ask them."""
        first = key not in self._scanning
        self._scanning.add(key)
        return first

    def end_scan(self, key: Key) -> None:
        """Note that they look no more."""
        self._scanning.discard(key)

    def note_scans(self, key: Key, scans: Iterable[ExternalScan]) -> None:
        """Note what they said; the last word of each."""
        rows = {scan.scanner: scan for scan in (*self.scans(key), *scans)}
        if rows:
            self._scans[key] = tuple(rows.values())

    def forensics(self, key: Key, uid: str) -> Forensics | None:
        """Return what became of the last copy to the evidence that this process tried of this very snapshot."""
        known = self._forensics.get(key)
        return known[1] if known and known[0] == uid else None

    def note_forensics(self, key: Key, uid: str, fact: Forensics) -> None:
        """Note what became of a copy to the evidence."""
        self._forensics[key] = uid, fact

    def refused(self, key: Key) -> dict[str, datetime]:
        """Return the digests whose quarantine the API server did not allow, for a snapshot, with the time."""
        return dict(self._refused.get(key, {}))

    def note_refusal(self, key: Key, digest: str) -> None:
        """Note that the API server did not allow the quarantine of a snapshot's digest."""
        self._refused[key] = {digest: self.now()}

    def forget(self, key: Key) -> None:
        """Forget an object that is gone."""
        self._captured.pop(key, None)
        self._scans.pop(key, None)
        self._repaired.pop(key, None)
        self._forensics.pop(key, None)
        self._refused.pop(key, None)
        self._checked.pop(key, None)
        self._watches.pop(key, None)


def tallied(before: Tally | None, sample: Sample, clock: Clock, trigger: Trigger | None = None) -> Tally:
    """Return a tally with one more sample in, of a trigger or of a check."""
    same = before if before and before.verdict == sample.verdict else None
    now = clock()
    tally = Tally(
        verdict=sample.verdict,
        streak=same.streak + 1 if same else 1,
        since=same.since if same else now,
        at=now,
        value=sample.value,
        error=sample.error,
        kind=sample.kind,
        looks=before.looks + 1 if before else 1,
        settled=before.settled if before and sample.verdict is not Verdict.HEALTHY else now,
        fell=before.fell if before else None,
    )
    return replace(tally, fell=now) if trigger and fallen(trigger, tally, now) else tally

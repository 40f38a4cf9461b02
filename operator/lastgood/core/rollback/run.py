"""A rollback under way: what was asked for, what is known so far, and how a rule answers."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from lastgood.api.facts.deployment_status import Active, Intent
from lastgood.api.names import Outcome, Reason
from lastgood.api.specs.rollback import Candidate, ModelRollback, RollbackSpec, RollbackStatus
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.actions import UpdateRecord, Verify
from lastgood.core.candidates.eligible import Question
from lastgood.core.candidates.selection import ask, select
from lastgood.core.rollback.outcomes import ended
from lastgood.core.state import Observed, Step, Tell
from lastgood.core.workload import carries, stamped_as


@dataclass(frozen=True, kw_only=True)
class Run:
    """A rollback under way, before it has its lock as well as after.

    `spec` is the one that is locked: the record's own may be taken away. Without a lock, it begins now: what was
    verified before is older than it.
    """

    observed: Observed
    spec: RollbackSpec
    record: ModelRollback
    lock: Active | None = None

    @property
    def status(self) -> RollbackStatus:
        """The facts so far."""
        return self.record.status

    @property
    def switched(self) -> bool:
        """Whether the switch is known."""
        return self.status.switched_at is not None and bool(self.status.target)

    @property
    def target(self) -> ModelSnapshot | None:
        """The chosen snapshot, if it is still there as it was chosen."""
        snapshot = self.observed.snapshot(self.status.target) if self.status.target else None
        return snapshot if snapshot and snapshot.digest == self.status.target_digest else None

    @property
    def carried(self) -> bool:
        """Whether the workload's template is the target's."""
        workload, target = self.observed.workload, self.target
        if workload is None or target is None:
            return False
        return carries(workload, self.observed.deployment.bindings, target)

    @property
    def applied(self) -> bool:
        """Whether our apply went through, whatever an admission webhook made of its values, or became of the target."""
        workload, status = self.observed.workload, self.status
        if workload is None or not (self.target or self.observed.complete):
            return False
        return self.carried or stamped_as(workload, status.target, status.target_digest)

    @property
    def question(self) -> Question:
        """What the selection is asked."""
        return ask(self.observed, self.spec)

    @cached_property
    def choice(self) -> tuple[ModelSnapshot | None, tuple[Candidate, ...]]:
        """What to switch to, if there is anything, and what was found of every snapshot of the model."""
        return (None, ()) if self.switched else select(self.observed, self.question)

    def knowing(self, intent: Intent | None) -> "Run":
        """Return it with an intent that is written down elsewhere, until the record has one of its own."""
        if intent is None or self.status.intent_at is not None:
            return self
        status = replace(
            self.status,
            target=intent.target,
            target_digest=intent.digest,
            intent_at=intent.at,
            verification=intent.verification,
            verified_at=intent.verified_at,
        )
        return replace(self, record=replace(self.record, status=status))

    def having(self, **facts: object) -> "Run":
        """Return it with facts that are about to be written."""
        return replace(self, record=replace(self.record, status=self._with(facts)))

    def verify(self, snapshot: ModelSnapshot) -> Step:
        """Answer with a verification of a snapshot, or wait for the one that is going on."""
        message = f"verifying {snapshot.name} before the switch"
        busy = snapshot.name in self.observed.verifying
        return Step(reason=Reason.WAITING, message=message, action=None if busy else Verify(snapshot=snapshot))

    def note(self, reason: Reason, message: str, *, tell: Tell = Tell.INFO, **facts: object) -> Step:
        """Answer with facts to write on the record."""
        status = self._with(facts)
        return Step(reason=reason, message=message, action=UpdateRecord(record=self.record, status=status), tell=tell)

    def end(self, outcome: Outcome, reason: Reason, message: str, *, tell: Tell = Tell.ALERT, **facts: object) -> Step:
        """Answer with the outcome."""
        status = ended(self.having(**facts).record, self.observed.now, outcome, reason, message)
        return Step(
            reason=reason,
            message=f"rollback {outcome.lower()}: {message}",
            action=UpdateRecord(record=self.record, status=status),
            tell=tell,
        )

    def _with(self, facts: Mapping[str, object]) -> RollbackStatus:
        """Return the record's facts with more, and with whose they are: that outlives the ModelDeployment's own."""
        spec, uid = self.spec, self.observed.deployment.meta.uid
        own = {"deployment_uid": uid, "source": spec.source, "source_digest": spec.source_digest}
        return replace(self.status, **(own | dict(facts)))  # type: ignore[arg-type]  # the names are its own

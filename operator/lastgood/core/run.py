"""A rollback under way: what was asked for, what is known so far, and how a rule answers."""

from dataclasses import dataclass, replace

from lastgood.api.names import Outcome, Reason
from lastgood.api.rollback import ModelRollback, RollbackSpec, RollbackStatus
from lastgood.api.snapshot import ModelSnapshot
from lastgood.core.closing import is_bad_copy
from lastgood.core.outcomes import ended
from lastgood.core.selection import Question
from lastgood.core.state import Observed, Step, Tell, UpdateRecord
from lastgood.core.workload import carries, stamped


@dataclass(frozen=True, kw_only=True)
class Run:
    """A rollback under way. `spec` is the one that was locked: the record's own may be taken away."""

    observed: Observed
    spec: RollbackSpec
    record: ModelRollback

    @property
    def status(self) -> RollbackStatus:
        """The facts so far."""
        return self.record.status

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
        """Whether our apply went through, whatever an admission webhook made of its values."""
        workload, target = self.observed.workload, self.target
        return self.carried or (workload is not None and target is not None and stamped(workload, target))

    @property
    def question(self) -> Question:
        """What the selection is asked."""
        return Question(
            leaving=self.spec.source,
            leaving_digest=self.spec.source_digest,
            to=self.spec.to,
            before=self.spec.before,
            emergency=self.spec.emergency,
            bad_copy=is_bad_copy(self.spec),
        )

    def note(self, reason: Reason, message: str, *, tell: Tell = Tell.INFO, **facts: object) -> Step:
        """Answer with facts to write on the record."""
        status = replace(self.status, **facts)  # type: ignore[arg-type]  # the names are those of RollbackStatus
        return Step(reason=reason, message=message, action=UpdateRecord(record=self.record, status=status), tell=tell)

    def end(self, outcome: Outcome, reason: Reason, message: str, *, tell: Tell = Tell.ALERT, **facts: object) -> Step:
        """Answer with the outcome."""
        status = replace(self.status, **facts)  # type: ignore[arg-type]  # the names are those of RollbackStatus
        status = ended(replace(self.record, status=status), self.observed.now, outcome, reason, message)
        return Step(
            reason=reason,
            message=f"rollback {outcome.lower()}: {message}",
            action=UpdateRecord(record=self.record, status=status),
            tell=tell,
        )

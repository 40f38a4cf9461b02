"""What the condition Scanned says: what is refused, what is allowed, and what has not been looked at."""

from dataclasses import replace

import pytest

from lastgood.api.facts.evidence import Scan
from lastgood.api.names import Reason, Severity
from lastgood.core.snapshot.decide import decide_snapshot
from lastgood.core.trust.policy import Trust
from tests.unit.core.builders import NOW, V2
from tests.unit.core.trust.scans import ACME, FOUND, GOOD, POLICY, claimed, seen, settled, why


def test_model_without_such_a_policy_is_left_alone() -> None:
    other = replace(POLICY, models=("letters",))
    of = settled(claimed(), other)
    assert "Scanned" not in of.status.conditions
    assert decide_snapshot(seen(of, other)).action is None
    assert why(claimed(), other) is None


def test_condition_of_a_policy_that_is_gone_does_not_stay() -> None:
    none = Trust(name="p")
    of = settled(settled(claimed()), none)
    assert (of.status.conditions["Scanned"].status, of.status.conditions["Ready"].status) == ("Unknown", "True")


def test_what_was_said_stays_while_the_policies_are_read() -> None:
    of = settled(claimed(replace(GOOD, verdict="Finding", findings=(FOUND,))))
    again = settled(of, Trust(name="p"), complete=False)
    assert again.status.conditions["Scanned"].reason == Reason.SCAN_FINDING


def test_our_own_finding_and_an_external_result_are_both_told() -> None:
    own = Scan(time=NOW, digest=V2.digest, verdict="NoFinding", formats=("json",))
    of = claimed(GOOD)
    of = settled(replace(of, status=replace(of.status, scan=own)))
    assert "acme 2.1" in of.status.conditions["Scanned"].message
    assert "no findings" in of.status.conditions["Scanned"].message
    bad = replace(own, verdict="Finding", findings=(replace(FOUND, rule="pickle-import"),))
    of = settled(replace(of, status=replace(of.status, scan=bad)))
    assert "pickle-import" in of.status.conditions["Scanned"].message


CODE = f"sha256:{'c' * 64}"
WITH_CODE = Scan(
    time=NOW,
    digest=V2.digest,
    verdict="Finding",
    formats=("json",),
    code=CODE,
    findings=(replace(FOUND, rule="code-file", file="model.py"),),
)
JUDGING = replace(POLICY, external=(), scanned=True, fail_on=Severity.HIGH)
ALLOWING = replace(JUDGING, code=frozenset({CODE}))


@pytest.mark.parametrize(
    ("policy", "status", "reason", "told"),
    [
        pytest.param(JUDGING, "False", Reason.SCAN_FINDING, "model.py", id="refused"),
        pytest.param(ALLOWING, "True", Reason.SCANNED, "the trust policies allow it", id="allowed"),
        pytest.param(replace(ALLOWING, external=(ACME,)), "False", Reason.NOT_SCANNED, "acme", id="hides no other"),
        pytest.param(replace(POLICY, external=(ACME,)), "False", Reason.NOT_SCANNED, "acme", id="judged by nobody"),
    ],
)
def test_finding_that_the_policies_allow_is_no_fault(policy: Trust, status: str, reason: str, told: str) -> None:
    of = settled(replace(claimed(), status=replace(claimed().status, scan=WITH_CODE)), policy)
    scanned, ready = of.status.conditions["Scanned"], of.status.conditions["Ready"]
    assert (scanned.status, scanned.reason) == (status, reason)
    assert told in scanned.message
    assert ready.status == status


def test_finding_that_nobody_judges_is_told_and_refuses_nothing() -> None:
    of = settled(replace(claimed(), status=replace(claimed().status, scan=WITH_CODE)), Trust(name="p"))
    assert (of.status.conditions["Scanned"].status, of.status.conditions["Ready"].status) == ("False", "True")
    assert "model.py" in of.status.conditions["Scanned"].message

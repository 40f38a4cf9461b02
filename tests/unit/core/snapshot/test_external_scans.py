"""External scanners that a policy names: every way of not knowing refuses, and nobody is asked twice."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from lastgood.api.facts.external import MAX_FINDINGS, MAX_SCANNERS, ExternalScan, read_external
from lastgood.api.fields import Fields
from lastgood.api.names import Outcome, Reason, Severity
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import S3Source
from lastgood.core.actions import ScanSnapshot, Switch, UpdateSnapshot, Verify
from lastgood.core.candidates.eligible import ineligible
from lastgood.core.decide import decide
from lastgood.core.snapshot.decide import decide_snapshot
from lastgood.core.snapshot.external import claim_copy, merged
from lastgood.core.state import Decision, Tell
from lastgood.core.trust.policy import Scanner
from tests.unit.core.builders import (
    NOW,
    V1,
    V2,
    checked,
    declaring,
    digest,
    having,
    name,
    swapped,
    unverified,
    world,
)
from tests.unit.core.moments import EMERGENCY, SWITCHED, after, ended, status_of
from tests.unit.core.trust.scans import (
    ACME,
    BETA,
    DAY,
    FAILED,
    FOUND,
    GOOD,
    LEAVING,
    LOW,
    ON_CLAIM,
    POLICY,
    STORE,
    claimed,
    decided,
    seen,
    settled,
    why,
)

# Deciding


@pytest.mark.parametrize(
    ("scans", "reason", "told"),
    [
        pytest.param([GOOD], None, "", id="it looked and found nothing"),
        pytest.param([], Reason.NOT_SCANNED, "has no result yet", id="no result"),
        pytest.param(
            [replace(GOOD, scanner="beta")], Reason.NOT_SCANNED, "no result yet", id="another scanner's result"
        ),
        pytest.param(
            [replace(GOOD, digest=V1.digest)], Reason.NOT_SCANNED, "no result yet", id="a result of other bytes"
        ),
        pytest.param([replace(GOOD, complete=False)], Reason.NOT_SCANNED, "skipped some files", id="incomplete"),
        pytest.param([FAILED], Reason.NOT_SCANNED, "OOMKilled", id="no result that counts"),
        pytest.param(
            [replace(GOOD, verdict="Unreadable")], Reason.NOT_SCANNED, "no usable result", id="it could not read"
        ),
        pytest.param(
            [replace(GOOD, verdict="Splendid")], Reason.NOT_SCANNED, "no usable result", id="a word nobody knows"
        ),
        pytest.param([replace(GOOD, image="acme:0")], None, "", id="an earlier image counts until this one answers"),
        pytest.param(
            [replace(GOOD, verdict="Finding", findings=(LOW, FOUND))], Reason.SCAN_FINDING, "acme/trigger", id="finding"
        ),
        pytest.param(
            [replace(GOOD, verdict="Anomaly", findings=(FOUND,))], Reason.SCAN_FINDING, "m.safetensors", id="anomaly"
        ),
        pytest.param([replace(GOOD, verdict="Finding", findings=(LOW,))], None, "", id="a finding that is not grave"),
        pytest.param(
            [replace(GOOD, verdict="Finding")], Reason.SCAN_FINDING, "lists no finding", id="without particulars"
        ),
        pytest.param(
            [replace(GOOD, verdict="Finding", findings=(FOUND,), complete=False)],
            Reason.SCAN_FINDING,
            "acme/trigger",
            id="what was found is certain, whatever was not looked at",
        ),
    ],
)
def test_result_decides(scans: list[ExternalScan], reason: Reason | None, told: str) -> None:
    for question in (LEAVING, replace(LEAVING, emergency=True, to=name(2))):
        found = why(claimed(*scans), question=question)
        assert (found[0] if found else None) == reason
        assert told in (found[1] if found else "")
    of = settled(claimed(*scans))
    assert of.status.conditions["Ready"].status == ("False" if reason else "True")
    scanned = of.status.conditions["Scanned"]
    assert (scanned.status, scanned.reason) == ("False" if reason else "True", reason or Reason.SCANNED)
    assert told in scanned.message


def test_unknown_scanner_refuses_and_says_who_can_install_it() -> None:
    unknown = replace(POLICY, external=(Scanner(name="acme"),))
    found = why(claimed(GOOD), unknown)  # an earlier result does not help: nobody vouches for that name now
    assert found is not None
    assert found[0] == Reason.SCANNER_UNKNOWN
    assert "--scanner acme=IMAGE" in found[1]
    assert decided(claimed(), unknown).action is None


def test_all_scanners_of_all_policies_must_have_looked() -> None:
    both, more = replace(POLICY, external=(ACME, BETA)), replace(POLICY, name="p", external=(BETA,))
    beta = replace(GOOD, scanner="beta", image="beta:1")
    assert why(claimed(GOOD, beta), both) is None
    for policies in ((both,), (POLICY, more)):
        found = why(claimed(GOOD), *policies)
        assert found is not None
        assert "'beta'" in found[1]


def test_each_policy_goes_by_its_own_severity() -> None:
    of = claimed(replace(GOOD, verdict="Finding", findings=(LOW,)))
    found = why(of, POLICY, replace(POLICY, name="strict", fail_on=Severity.LOW))
    assert found is not None
    assert found[0] == Reason.SCAN_FINDING


def test_finding_is_told_before_what_is_missing() -> None:
    of = claimed(replace(GOOD, verdict="Finding", findings=(FOUND,)))
    found = why(of, replace(POLICY, external=(BETA, ACME)))
    assert found is not None
    assert found[0] == Reason.SCAN_FINDING


@pytest.mark.parametrize("source", [STORE, S3Source(bucket="models", prefix="digits/2")], ids=["store", "s3"])
def test_what_no_scanner_can_look_at_is_refused_and_nothing_is_started(source: Any) -> None:
    of = replace(V2, source=source)
    found = why(of)
    assert found is not None
    assert found[0] == Reason.NOT_ON_CLAIM
    assert "PersistentVolumeClaims only" in found[1]
    assert settled(of).status.conditions["Scanned"].reason == Reason.NOT_ON_CLAIM
    assert decided(of).action is None


def test_copy_on_a_claim_is_looked_at_wherever_it_stands() -> None:
    of = replace(V2, source=STORE, mirrors=(S3Source(bucket="models", prefix="digits/2"), ON_CLAIM))
    assert claim_copy(of) == ("mirrors[1]", ON_CLAIM)
    action = decided(of).action
    assert isinstance(action, ScanSnapshot)


# Asking


def test_verified_snapshot_is_looked_at_once() -> None:
    action = decided(claimed()).action
    assert isinstance(action, ScanSnapshot)
    assert action.scanners == (ACME,)
    assert decided(claimed(), scanning=True).action is None
    assert decided(claimed(GOOD)).action is None


@pytest.mark.parametrize(
    ("of", "changes"),
    [
        pytest.param(
            replace(unverified(2, Reason.DIGEST_MISMATCH), source=ON_CLAIM),
            {},
            id="what is not its digest is not scanned",
        ),
        pytest.param(claimed(), {"verifying": True}, id="it is being read"),
        pytest.param(claimed(), {"complete": False}, id="the policies are not read yet"),
        pytest.param(claimed(meta=replace(V2.meta, deleting=True)), {}, id="it is going"),
    ],
)
def test_scanners_wait(of: ModelSnapshot, changes: dict[str, Any]) -> None:
    assert not isinstance(decide_snapshot(seen(settled(of, **changes), **changes)).action, ScanSnapshot)


def test_quarantined_digest_is_not_scanned() -> None:
    revoking = replace(POLICY, revoked_digests={V2.digest: "INC-1"})
    assert not isinstance(decided(claimed(), revoking).action, ScanSnapshot)


def test_only_those_without_a_result_are_asked() -> None:
    action = decided(claimed(GOOD), replace(POLICY, external=(ACME, BETA, Scanner(name="unknown")))).action
    assert isinstance(action, ScanSnapshot)
    assert action.scanners == (BETA,)


def test_what_only_the_status_says_is_asked_again_once_and_after_a_reading() -> None:
    assert V2.status.verification is not None
    assert V2.status.verification.time is not None
    read = checked(V2, at=V2.status.verification.time)[name(2)]
    assert decided(claimed(GOOD)).action is None, "a restart does not ask about all at once"
    assert isinstance(decided(claimed(GOOD), checked=read).action, ScanSnapshot)
    assert decided(claimed(GOOD), checked=read, scans=(GOOD,)).action is None


def test_switch_goes_by_what_this_process_was_told() -> None:
    of = claimed(GOOD)
    desired = replace(swapped(world(), of), trust=(POLICY,), checked=checked(of))
    desired = declaring(having(desired, triggers=()), snapshot=name(2))
    assert decide(desired).action == Verify(snapshot=of), "anybody may have written the status: it is looked at anew"
    assert not isinstance(decide(replace(desired, heard={name(2): (FAILED,)})).action, Switch | Verify)
    assert decide(replace(desired, heard={name(2): (GOOD,)})).action == Switch(snapshot=of)


def test_rollback_goes_by_what_this_process_was_told() -> None:
    of = claimed(GOOD)
    told = replace(swapped(world(), of), trust=(POLICY,), checked=checked(of), heard={name(2): (FAILED,)})
    found = ineligible(told, LEAVING, of)
    assert found is not None
    assert found[0] == Reason.NOT_SCANNED
    assert ineligible(replace(told, heard={name(2): (GOOD,)}), LEAVING, of) is None
    untold = replace(told, heard={})
    assert ineligible(untold, LEAVING, of) is None, "it is asked before the switch"
    assert untold.fresh(of) is None


def test_emergency_asks_scanners_after_the_switch_and_loses_no_target_for_a_restart() -> None:
    of, facts = claimed(GOOD), SWITCHED | {"verification": "Recent", "quarantined": (digest(3),)}
    observed = replace(swapped(after(facts, EMERGENCY), of), trust=(POLICY,), checked=checked(of))
    assert decide(observed).action == Verify(snapshot=of), "a routine reading has not asked the scanner"
    assert status_of(decide(replace(observed, heard={name(2): (GOOD,)}))).verification == "Fresh"
    found = replace(GOOD, verdict="Finding", findings=(FOUND,))
    assert ended(decide(replace(observed, heard={name(2): (found,)}))) == (Outcome.FAILED, Reason.TARGET_LOST)


def test_scanner_that_fails_is_asked_less_and_less() -> None:
    def after(failing_for: timedelta, tried: timedelta) -> Decision:
        of = settled(claimed(replace(FAILED, time=NOW - tried)))
        scanned = replace(of.status.conditions["Scanned"], since=NOW - failing_for)
        status = replace(of.status, conditions={**of.status.conditions, "Scanned": scanned})
        return decide_snapshot(seen(replace(of, status=status)))

    assert after(timedelta(seconds=5), timedelta(0)).requeue_after == 60.0
    assert after(timedelta(hours=1), timedelta(minutes=10)).requeue_after == 3000.0
    assert isinstance(after(timedelta(hours=1), timedelta(hours=1)).action, ScanSnapshot)
    assert isinstance(after(timedelta(days=9), timedelta(days=1)).action, ScanSnapshot)


def test_mended_image_is_asked_at_once() -> None:
    mended = replace(POLICY, external=(replace(ACME, image="acme:2"),))
    assert isinstance(decided(claimed(replace(FAILED, time=NOW)), mended).action, ScanSnapshot)


def test_forged_time_to_come_keeps_nobody_from_asking() -> None:
    forged = replace(FAILED, time=NOW + DAY)
    assert isinstance(decided(claimed(forged)).action, ScanSnapshot)


# Recording


def reported(of: ModelSnapshot, *scans: ExternalScan) -> Decision:
    return decide_snapshot(seen(settled(of), scans=scans))


def test_answer_is_written_and_told() -> None:
    decision = reported(claimed(), replace(GOOD, time=NOW))
    assert isinstance(decision.action, UpdateSnapshot)
    assert decision.action.status.external == (replace(GOOD, time=NOW),)
    assert decision.action.status.conditions["Ready"].status == "True"
    assert (decision.reason, decision.tell) == (Reason.SCANNED, Tell.INFO)
    assert "acme 2.1: NoFinding" in decision.message


def test_finding_warns() -> None:
    decision = reported(claimed(), replace(GOOD, verdict="Finding", findings=(FOUND,), time=NOW))
    assert (decision.reason, decision.tell) == (Reason.SCAN_FINDING, Tell.WARNING)


def test_same_failure_again_is_no_news() -> None:
    assert reported(claimed(), replace(FAILED, time=NOW)).tell == Tell.WARNING
    decision = reported(claimed(FAILED), replace(FAILED, time=NOW))
    assert isinstance(decision.action, UpdateSnapshot)
    assert decision.tell == Tell.NOBODY


@pytest.mark.parametrize(
    ("known", "said", "kept"),
    [
        pytest.param(GOOD, replace(FAILED, time=NOW), True, id="a failure counts: no switch would go by the result"),
        pytest.param(FAILED, replace(GOOD, time=NOW), True, id="a result replaces a failure"),
        pytest.param(GOOD, replace(GOOD, verdict="Finding", complete=False, time=NOW), True, id="a finding counts"),
        pytest.param(
            replace(GOOD, time=NOW + DAY), replace(GOOD, verdict="Finding"), True, id="a forged row is written over"
        ),
        pytest.param(GOOD, replace(GOOD, digest=V1.digest, time=NOW), False, id="nor what is about other bytes"),
    ],
)
def test_later_word_counts_where_it_is_one(known: ExternalScan, said: ExternalScan, kept: bool) -> None:  # noqa: FBT001 - a column of the table
    assert merged((known,), (said,), claimed()) == ((said,) if kept else (known,))


def test_what_was_found_stays_found_while_the_scanner_cannot_look_again() -> None:
    found = replace(GOOD, verdict="Finding", findings=(FOUND,))
    rows = merged((found,), (replace(FAILED, time=NOW),), claimed())
    said = why(claimed(*rows))
    assert said is not None
    assert said[0] == Reason.SCAN_FINDING
    assert not rows[0].counts
    assert merged(rows, (replace(FAILED, time=NOW),), claimed()) == rows, "written once"


def test_status_is_bounded_and_reads_back_as_written() -> None:
    many = tuple(replace(LOW, rule=f"acme/{number}") for number in range(30))
    full = replace(GOOD, findings=(*many, FOUND), message="m" * 9999, version="v" * 9999)
    (read,) = read_external(Fields({"externalScans": [full.as_body()]}, strict=False))
    assert read.findings[0] == FOUND, "the gravest is not cut off"
    assert (len(read.findings), len(read.message), len(read.version)) == (MAX_FINDINGS, 512, 64)
    assert read_external(Fields({"externalScans": [read.as_body()]}, strict=False)) == (read,)
    foreign = tuple(replace(GOOD, scanner=f"s{number}", time=NOW + DAY) for number in range(MAX_SCANNERS))
    rows = merged(foreign, (GOOD,), claimed())
    assert (len(rows), rows[0]) == (MAX_SCANNERS, GOOD)
    assert merged(rows, (GOOD,), claimed()) == rows


@pytest.mark.parametrize(
    "change",
    [
        {"complete": "yes"},
        {"complete": None},
        {"verdict": 1},
        {"digest": "sha256:x"},
        {"time": "soon"},
        {"scanner": ["acme"]},
        {"findings": [{"severity": "none", "rule": "x"}]},
    ],
    ids=lambda change: str(*change),
)
def test_nonsense_in_a_status_is_no_pass(change: dict[str, Any]) -> None:
    rows = read_external(Fields({"externalScans": [{**GOOD.as_body(), **change}]}, strict=False))
    assert why(claimed(*rows)) is not None

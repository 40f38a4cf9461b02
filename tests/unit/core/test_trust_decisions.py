"""What trust policies change: who is a candidate, what is deployed, what rolls back, and what is only told."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from lastgood.api.facts.evidence import Finding, Scan
from lastgood.api.facts.signal import Verdict
from lastgood.api.facts.signature import Claims, Examined, Method, SignatureFact
from lastgood.api.names import Reason, Severity
from lastgood.api.specs.scan_rules import UNJUDGED
from lastgood.api.specs.snapshot import ModelSnapshot, PathBundle
from lastgood.core.candidates.eligible import Question, ineligible
from lastgood.core.candidates.selection import select
from lastgood.core.decide import decide
from lastgood.core.state import (
    CreateRecord,
    Observed,
    Switch,
    Tell,
)
from lastgood.core.trust.policy import Floor, Trust, TrustedKey, anchors_digest
from tests.unit.core.builders import (
    NOW,
    V1,
    V2,
    ago,
    checked,
    declaring,
    digest,
    having,
    name,
    snapshot,
    swapped,
    tally,
    unverified,
    world,
)

KEY = "a" * 64
POLICY = Trust(
    name="ModelTrustPolicy release", models=("digits",), required=True, keys=(TrustedKey(name="alice", key_id=KEY),)
)
REVOKED_KEY = replace(POLICY, keys=(replace(POLICY.keys[0], revoked=ago(minutes=1)),))
LEAVING = Question(leaving=name(3), leaving_digest=digest(3))
DAY = timedelta(days=1)


def fact(of: ModelSnapshot, **claims: Any) -> SignatureFact:
    said = Claims(model=of.model, version=of.version, trained_at=of.trained_at, data_cutoff=of.data_cutoff)
    return SignatureFact(method=Method.KEY, key_id=KEY, claims=replace(said, **claims))


def examined(of: ModelSnapshot, *facts: SignatureFact) -> Examined:
    return Examined(time=ago(hours=1), digest=of.digest, anchors=anchors_digest([POLICY]), facts=facts or (fact(of),))


def signed(number: int, *facts: SignatureFact, **changes: Any) -> ModelSnapshot:
    """Return a snapshot with a signature of Alice's over its bytes."""
    good = snapshot(number, signatures=(PathBundle(path="model.sig"),), **changes)
    return replace(good, status=replace(good.status, signatures=examined(good, *facts)))


def trusting(*policies: Trust, **changes: Any) -> Observed:
    """Return the good world under policies, all its snapshots signed."""
    return replace(
        world(snapshots=tuple(signed(number) for number in range(4)), trust=policies or (POLICY,)), **changes
    )


def why(observed: Observed, number: int = 2, question: Question = LEAVING) -> Reason | None:
    of = observed.snapshot(name(number))
    assert of is not None
    found = ineligible(observed, question, of)
    return found[0] if found else None


def test_signed_snapshot_is_a_candidate() -> None:
    assert select(trusting(), LEAVING)[0] == signed(2)


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        pytest.param(trusting(REVOKED_KEY), Reason.KEY_REVOKED, id="its key was revoked"),
        pytest.param(swapped(trusting(), V2), Reason.SIGNATURE_MISSING, id="its signature was stripped"),
        pytest.param(
            swapped(trusting(), signed(2, fact(V2, model="fraud"))),
            Reason.CLAIMS_MISMATCH,
            id="claims of another model",
        ),
        pytest.param(
            swapped(
                trusting(), replace(signed(2), digest=V2.digest, status=replace(V2.status, signatures=examined(V1)))
            ),
            Reason.NOT_EXAMINED,
            id="facts about other bytes",
        ),
        pytest.param(
            trusting(POLICY, replace(REVOKED_KEY, name="second")), Reason.KEY_REVOKED, id="all policies count"
        ),
        pytest.param(
            trusting(replace(POLICY, problem="keys[0]: x")), Reason.POLICY_INVALID, id="policy made unreadable"
        ),
        pytest.param(
            trusting(replace(POLICY, required=False, revoked_digests={digest(2): "INC-1"})),
            Reason.DIGEST_REVOKED,
            id="its digest is revoked",
        ),
        pytest.param(
            trusting(replace(POLICY, models=("other",), revoked_digests={digest(2): ""})),
            Reason.DIGEST_REVOKED,
            id="its digest is revoked for another model",
        ),
        pytest.param(trusting(Trust(name="p", scanned=True)), Reason.NOT_SCANNED, id="no scan"),
        pytest.param(
            trusting(Trust(name="p", formats=frozenset({"json"}))), Reason.NOT_SCANNED, id="formats not known"
        ),
    ],
)
def test_emergency_that_names_it_does_not_get_it_either(observed: Observed, reason: Reason) -> None:
    assert why(observed) == reason
    assert why(observed, question=replace(LEAVING, emergency=True, to=name(2))) == reason


def test_policy_for_another_model_does_not_count() -> None:
    assert why(replace(world(), trust=(replace(POLICY, models=("fraud",)),))) is None


def test_policy_that_only_knows_signers_refuses_nothing() -> None:
    assert why(replace(world(), trust=(replace(POLICY, required=False),))) is None


def test_policy_that_was_deleted_and_not_read_again_lets_nothing_pass() -> None:
    observed = trusting(REVOKED_KEY, complete=False)
    fired = replace(observed, tallies={"accuracy": tally(Verdict.BREACHED)})
    assert not isinstance(decide(fired).action, CreateRecord | Switch)


# Scans and formats


def scanned(**changes: Any) -> Observed:
    scan = replace(Scan(time=NOW, digest=V2.digest, verdict="NoFinding", formats=("safetensors",)), **changes)
    policy = Trust(name="p", scanned=True, formats=frozenset({"safetensors"}), fail_on=Severity.HIGH)
    return replace(swapped(world(), replace(V2, status=replace(V2.status, scan=scan))), trust=(policy,))


FOUND = Finding(severity=Severity.HIGH, rule="pickle-import", file="a.pkl", evidence="os.system")


@pytest.mark.parametrize(
    ("observed", "reason"),
    [
        pytest.param(scanned(), None, id="clean"),
        pytest.param(scanned(verdict="Finding", findings=(FOUND,)), Reason.SCAN_FINDING, id="grave finding"),
        pytest.param(
            scanned(verdict="Finding", findings=(replace(FOUND, severity=Severity.LOW),)), None, id="small finding"
        ),
        pytest.param(scanned(verdict="Finding"), Reason.SCAN_FINDING, id="finding without particulars"),
        pytest.param(scanned(verdict="Unreadable"), Reason.NOT_SCANNED, id="could not be scanned"),
        pytest.param(scanned(verdict="all is well"), Reason.NOT_SCANNED, id="a word that nobody knows"),
        pytest.param(scanned(digest=V1.digest), Reason.NOT_SCANNED, id="scan of other bytes"),
        pytest.param(scanned(formats=("safetensors", "pickle")), Reason.FORMAT_REFUSED, id="pickle among tensors"),
        pytest.param(scanned(formats=()), Reason.FORMAT_REFUSED, id="no format known"),
    ],
)
def test_scan_decides(observed: Observed, reason: Reason | None) -> None:
    assert why(observed) == reason


UNKNOWN = replace(FOUND, rule="unidentified", file="weights.bin", evidence="no format that we know begins so")


@pytest.mark.parametrize(
    ("allowed", "findings", "reason"),
    [
        pytest.param({"safetensors"}, (UNKNOWN,), Reason.SCAN_FINDING, id="not allowed by the policy"),
        pytest.param({"safetensors", "unknown"}, (UNKNOWN,), None, id="allowed by its name"),
        pytest.param(None, (UNKNOWN,), Reason.SCAN_FINDING, id="a policy that names no format allows none of them"),
        pytest.param({"safetensors", "unknown"}, (UNKNOWN, FOUND), Reason.SCAN_FINDING, id="something else beside it"),
        pytest.param(
            {"safetensors", "unknown"},
            (replace(UNKNOWN, file="a.zip!weights.bin"),),
            Reason.SCAN_FINDING,
            id="inside an archive",
        ),
        pytest.param(
            {"safetensors", "unknown"}, (UNKNOWN,) * 20, Reason.SCAN_FINDING, id="so many that others may be cut off"
        ),
    ],
)
def test_file_that_nobody_claims_is_refused_unless_the_policy_allows_unknown(
    allowed: set[str] | None, findings: tuple[Finding, ...], reason: Reason | None
) -> None:
    observed = scanned(verdict="Finding", findings=findings)
    policy = replace(observed.trust[0], formats=None if allowed is None else frozenset(allowed))
    assert why(replace(observed, trust=(policy,))) == reason


CODE = f"sha256:{'c' * 64}"
FILES = replace(FOUND, rule="code-file", file="handler.py", evidence=f"{CODE} (1 file: handler.py)")
PROGRAM = replace(FILES, rule="executable", file="custom_op.so")
SMALL = replace(FOUND, severity=Severity.LOW, rule="not-checked-values", file="model.safetensors")


@pytest.mark.parametrize(
    ("allowed", "changes", "reason"),
    [
        pytest.param((), {}, Reason.SCAN_FINDING, id="nobody vouches for it"),
        pytest.param((CODE,), {}, None, id="vouched for"),
        pytest.param((f"sha256:{'d' * 64}",), {}, Reason.SCAN_FINDING, id="somebody vouches for other code"),
        pytest.param((CODE,), {"findings": (FILES, PROGRAM)}, None, id="programs are a part of it"),
        pytest.param((CODE,), {"findings": (FILES, FOUND)}, Reason.SCAN_FINDING, id="something else beside it"),
        pytest.param((CODE, "", "unknown"), {"code": ""}, Reason.SCAN_FINDING, id="code whose digest is not told"),
        pytest.param((CODE,), {"code": "unknown"}, Reason.SCAN_FINDING, id="code that could not all be read"),
        pytest.param((CODE,), {"left_out": 3}, Reason.SCAN_FINDING, id="something as grave may be cut off"),
        pytest.param(
            (CODE,), {"findings": (FILES, *(SMALL,) * 19), "left_out": 9}, None, id="only what is small is cut"
        ),
    ],
)
def test_code_is_refused_unless_the_policy_allows_exactly_this(
    allowed: tuple[str, ...], changes: dict[str, Any], reason: Reason | None
) -> None:
    observed = scanned(**{"verdict": "Finding", "findings": (FILES,), "code": CODE} | changes)
    policy = replace(observed.trust[0], code=frozenset(allowed) - {"", "unknown"})
    assert why(replace(observed, trust=(policy,))) == reason


def test_every_policy_has_to_allow_the_code() -> None:
    observed = scanned(verdict="Finding", findings=(FILES,), code=CODE)
    allowing = replace(observed.trust[0], code=frozenset({CODE}))
    assert why(replace(observed, trust=(allowing,))) is None
    assert why(replace(observed, trust=(allowing, observed.trust[0]))) == Reason.SCAN_FINDING


def test_refusal_of_code_names_the_file_and_how_to_allow_it() -> None:
    observed = scanned(verdict="Finding", findings=(FILES,), code=CODE)
    of = observed.snapshot(name(2))
    assert of
    found = ineligible(observed, LEAVING, of)
    assert found
    assert "code-file (high) in 'handler.py'" in found[1]
    assert f"add {CODE} to spec.scan.allowedCode of p" in found[1]


def test_refusal_of_code_that_could_not_all_be_read_promises_no_way_to_allow_it() -> None:
    observed = scanned(verdict="Finding", findings=(FILES,), code="unknown")
    of = observed.snapshot(name(2))
    assert of
    found = ineligible(observed, LEAVING, of)
    assert found
    assert "it cannot be allowed" in found[1]
    assert "allowedCode" not in found[1]


BROKEN = replace(FOUND, rule="zip-broken", file="model.mar", evidence="the archive cannot be looked into")


@pytest.mark.parametrize("rule", sorted(UNJUDGED))
def test_what_could_not_be_judged_refuses_where_only_the_critical_does(rule: str) -> None:
    observed = scanned(verdict="Anomaly", findings=(FOUND, replace(BROKEN, rule=rule)))
    policy = replace(observed.trust[0], fail_on=Severity.CRITICAL)
    assert why(replace(observed, trust=(policy,))) == Reason.SCAN_FINDING
    assert why(replace(observed, trust=(replace(policy, allow_unjudged=True),))) is None


def test_what_was_judged_counts_by_its_severity_and_so_does_what_hides_nothing() -> None:
    table = replace(BROKEN, rule="not-checked-config", severity=Severity.LOW)
    observed = scanned(verdict="Finding", findings=(FOUND, FILES, SMALL, table))
    assert why(replace(observed, trust=(replace(observed.trust[0], fail_on=Severity.CRITICAL),))) is None


def test_allowed_format_unknown_speaks_for_files_that_nobody_claims_where_only_the_critical_refuses() -> None:
    observed = scanned(verdict="Finding", findings=(UNKNOWN,))
    policy = replace(observed.trust[0], fail_on=Severity.CRITICAL, formats=frozenset({"safetensors", "unknown"}))
    assert why(replace(observed, trust=(policy,))) is None


def test_refusal_of_what_could_not_be_judged_says_how_to_allow_it() -> None:
    observed = scanned(verdict="Finding", findings=(BROKEN,))
    of = observed.snapshot(name(2))
    assert of
    found = ineligible(replace(observed, trust=(replace(observed.trust[0], fail_on=Severity.CRITICAL),)), LEAVING, of)
    assert found
    assert "could not be judged, which refuses at any failOn unless p sets spec.scan.allowUnjudged" in found[1]


# Dates


OLD, CUT = ago(days=300), ago(days=100)
BEFORE = replace(LEAVING, before=CUT)


def test_back_dated_manifest_is_no_candidate_where_signatures_are_required() -> None:
    dated = replace(V2, data_cutoff=OLD)
    assert why(swapped(world(), dated), question=BEFORE) is None
    unsigned_date = signed(2, fact(V2), data_cutoff=OLD)
    assert why(swapped(trusting(), unsigned_date), question=BEFORE) == Reason.DATE_NOT_SIGNED
    assert why(swapped(trusting(), signed(2, fact(dated), data_cutoff=OLD)), question=BEFORE) is None
    lying = signed(2, fact(V2, data_cutoff=ago(days=1)), data_cutoff=OLD)
    assert why(swapped(trusting(), lying), question=BEFORE) == Reason.CLAIMS_MISMATCH


@pytest.mark.parametrize(
    ("date", "reason"), [(OLD, Reason.BELOW_FLOOR), (CUT, None), (ago(days=1), None), (None, Reason.BELOW_FLOOR)]
)
def test_nothing_below_the_floor_is_gone_back_to(date: datetime | None, reason: Reason | None) -> None:
    policy = Trust(name="p", floor=Floor(data_cutoff=CUT))
    observed = replace(swapped(world(), replace(V2, data_cutoff=date, trained_at=NOW)), trust=(policy,))
    assert why(observed) == reason
    assert why(observed, question=replace(LEAVING, emergency=True)) == reason


def test_unsigned_date_does_not_lift_above_the_floor() -> None:
    policy = replace(POLICY, floor=Floor(trained_at=CUT))
    observed = swapped(trusting(policy), signed(2, replace(fact(V2), claims=None), trained_at=ago(days=1)))
    assert why(observed) == Reason.BELOW_FLOOR


# What serves


def test_revoked_key_on_what_serves_is_told_and_does_not_roll_back() -> None:
    decision = decide(trusting(REVOKED_KEY))
    assert (decision.reason, decision.tell) == (Reason.KEY_REVOKED, Tell.WARNING)
    assert not isinstance(decision.action, CreateRecord | Switch)


@pytest.mark.parametrize("suspend", [False, True])
def test_revoked_digest_that_serves_rolls_back(suspend: bool) -> None:  # noqa: FBT001 - a column of the table
    observed = declaring(trusting(replace(POLICY, revoked_digests={digest(3): "INC-1"})), suspend=suspend)
    action = decide(observed).action
    assert isinstance(action, CreateRecord)
    assert action.spec.trigger is not None
    assert action.spec.trigger.condition == Reason.DIGEST_REVOKED


def forward_of(observed: Observed) -> Observed:
    """Return a world in which v2 is desired and verified just now."""
    now = {name(2): replace(checked(V2)[name(2)], examined=examined(V2))}
    return replace(declaring(having(observed, triggers=()), snapshot=name(2)), checked=now)


def test_signed_snapshot_is_deployed() -> None:
    assert decide(forward_of(trusting())).action == Switch(snapshot=signed(2))


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(trusting(REVOKED_KEY), id="key revoked"),
        pytest.param(trusting(replace(POLICY, revoked_digests={digest(2): ""})), id="digest revoked"),
        pytest.param(trusting(replace(POLICY, floor=Floor(trained_at=NOW))), id="reverted in Git to below the floor"),
        pytest.param(swapped(trusting(), V2), id="unsigned"),
    ],
)
def test_what_is_not_trusted_is_not_deployed(observed: Observed) -> None:
    assert not isinstance(decide(forward_of(observed)).action, Switch)


def test_signature_taken_away_just_now_outranks_the_status() -> None:
    observed = trusting(checked=checked(V2))  # verified at this moment, and nobody found a signature
    assert why(observed) == Reason.NOT_EXAMINED
    assert not isinstance(decide(replace(forward_of(trusting()), checked=checked(V2))).action, Switch)


# Emergencies and reading


def unread(at: datetime | None) -> ModelSnapshot:
    of = unverified(2, Reason.UNREADABLE, "the Job did not start")
    assert of.status.verification is not None
    return replace(of, status=replace(of.status, verification=replace(of.status.verification, verified_at=at)))


def changed(at: datetime | None) -> ModelSnapshot:
    """Return what was found changed, and of which somebody wrote that it had been good."""
    of = unverified(2, Reason.DIGEST_MISMATCH, "1.bin is changed")
    assert of.status.verification is not None
    return replace(of, status=replace(of.status, verification=replace(of.status.verification, verified_at=at)))


EMERGENCY = replace(LEAVING, emergency=True)


@pytest.mark.parametrize(
    ("of", "question", "reason"),
    [
        pytest.param(unread(ago(hours=1)), EMERGENCY, None, id="verified an hour ago, and the Job does not start"),
        pytest.param(unread(ago(hours=1)), LEAVING, Reason.UNREADABLE, id="but only in an emergency"),
        pytest.param(unread(ago(hours=25)), EMERGENCY, Reason.UNREADABLE, id="not if that is long ago"),
        pytest.param(unread(NOW + DAY), EMERGENCY, Reason.UNREADABLE, id="not if the time lies ahead"),
        pytest.param(unread(None), EMERGENCY, Reason.UNREADABLE, id="not if it never was"),
        pytest.param(
            unverified(2, Reason.DIGEST_MISMATCH), EMERGENCY, Reason.DIGEST_MISMATCH, id="never after a mismatch"
        ),
        pytest.param(changed(ago(hours=1)), EMERGENCY, Reason.DIGEST_MISMATCH, id="whatever else the status says"),
    ],
)
def test_emergency_takes_what_was_good_recently(of: ModelSnapshot, question: Question, reason: Reason | None) -> None:
    assert why(swapped(world(), of), question=question) == reason


def test_mismatch_that_the_status_does_not_know_yet_counts() -> None:
    stale = checked(V2, Reason.DIGEST_MISMATCH, ago(minutes=5))
    assert why(replace(swapped(world(), unread(ago(hours=1))), checked=stale), question=EMERGENCY) == Reason.UNREADABLE

"""What the scans that trust policies ask for change: findings, formats and code that nobody vouched for."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.facts.evidence import Finding, Scan
from lastgood.api.names import Reason, Severity
from lastgood.api.specs.scan_rules import UNJUDGED
from lastgood.core.candidates.eligible import ineligible
from lastgood.core.state import Observed
from lastgood.core.trust.policy import Trust
from tests.unit.core.builders import (
    NOW,
    V1,
    V2,
    name,
    swapped,
    world,
)
from tests.unit.core.trust.signed import LEAVING, why


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


UNKNOWN = replace(FOUND, rule="unidentified", file="weights.bin", evidence="unknown file signature")


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
    assert "to accept it, set spec.scan.allowUnjudged in p" in found[1]

"""What a status cannot hold, and what is written into it: neither makes a snapshot look better than it was found."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.facts.evidence import Finding, Scan, read_scan
from lastgood.api.facts.external import ExternalScan, read_external
from lastgood.api.fields import Fields
from lastgood.api.names import Digest, Reason, Severity, SnapshotName
from lastgood.api.specs.rollback import Candidate, RollbackStatus
from lastgood.core.snapshot.external import merged
from lastgood.core.trust.policy import Scanner, Trust
from lastgood.core.trust.trusted import Evidence, distrust
from tests.unit.core.builders import NOW, snapshot

V2 = snapshot(2)
SCANNED = Trust(name="ModelTrustPolicy scanned", scanned=True)
ASKED = Trust(name="ModelTrustPolicy asked", external=(Scanner(name="acme", image="acme:1"),))
LOW = Finding(severity=Severity.LOW, rule="low", file="a")
WORST = Finding(severity=Severity.CRITICAL, rule="worst", file="z")


def scan(*findings: Finding, **changes: Any) -> Scan:
    return replace(Scan(time=NOW, digest=V2.digest, verdict="Anomaly", findings=findings), **changes)


def external(*findings: Finding, **changes: Any) -> ExternalScan:
    made = ExternalScan(
        scanner="acme", image="acme:1", time=NOW, digest=V2.digest, verdict="Anomaly", complete=True, findings=findings
    )
    return replace(made, **changes)


def kept(of: Scan | dict[str, Any]) -> Scan:
    body = of.as_body() if isinstance(of, Scan) else of
    read = read_scan(Fields(body, strict=False))
    assert read
    return read


def heard(row: dict[str, Any]) -> tuple[ExternalScan, ...]:
    return read_external(Fields({"externalScans": [row]}, strict=False))


def why(scan: Scan | None = None, *rows: ExternalScan) -> tuple[Reason, str] | None:
    policies = (SCANNED,) if scan else (ASKED,)
    return distrust(policies, V2, Evidence(examined=None, scan=scan, external=rows), NOW)


def refuses(found: tuple[Reason, str] | None, words: str) -> None:
    assert found
    assert found[0] == Reason.SCAN_FINDING
    assert words in found[1]


def test_what_could_not_be_judged_is_kept_where_others_are_as_grave() -> None:
    """Twenty files with a known risk would else hide the archive that nobody looked into."""
    known = Finding(severity=Severity.HIGH, rule="config-code", file="a.json")
    unseen = Finding(severity=Severity.HIGH, rule="not-checked-compressed", file="z.7z")
    lenient = replace(SCANNED, fail_on=Severity.CRITICAL)
    for written in (kept(scan(*[known] * 30, unseen)), scan(*[known] * 30, unseen).fewer(1, 24)):
        found = distrust((lenient,), V2, Evidence(examined=None, scan=written), NOW)
        refuses(found, "not-checked-compressed (high)")
    assert distrust((lenient,), V2, Evidence(examined=None, scan=kept(scan(*[known] * 30))), NOW) is None


@pytest.mark.parametrize("code", [7, ["sha256:a"], "sha256:" + "c" * 65, None])
def test_nonsense_in_the_place_of_the_digest_of_code_allows_nothing(code: Any) -> None:
    found = Finding(severity=Severity.HIGH, rule="code-file", file="handler.py")
    body = scan(found, verdict="Finding").as_body() | {"code": code}
    allowing = replace(SCANNED, code=frozenset({"sha256:" + "c" * 64}))
    refuses(distrust((allowing,), V2, Evidence(examined=None, scan=kept(body)), NOW), "code-file (high)")


def test_digest_of_code_is_kept_however_little_room_there_is() -> None:
    digest = "sha256:" + "c" * 64
    assert kept(scan(LOW, code=digest).fewer(1, 24)).code == digest


def test_worst_of_many_findings_is_still_in_the_status() -> None:
    written = kept(scan(*[LOW] * 200, WORST))
    assert (len(written.findings), written.left_out) == (20, 181)
    refuses(why(written), "worst (critical) in 'z':  (181 more are not listed)")
    assert kept(written).left_out == 181, "written once more, it says the same"


def test_worst_of_many_external_findings_is_still_in_the_status() -> None:
    (row,) = heard(external(*[LOW] * 200, WORST).as_body())
    assert (len(row.findings), row.left_out) == (8, 193)
    refuses(why(None, row), "worst (critical)")


@pytest.mark.parametrize(
    "findings",
    [
        pytest.param([LOW.as_body()] * 21, id="more than are written"),
        pytest.param("none", id="no list"),
        pytest.param([LOW.as_body(), "nonsense"], id="a row that is none"),
        pytest.param({"severity": "low"}, id="an object"),
    ],
)
def test_list_of_findings_that_makes_no_sense_holds_the_gravest(findings: object) -> None:
    refuses(why(kept({**scan().as_body(), "findings": findings})), "evidence-unreadable (critical)")
    refuses(why(None, *heard({**external().as_body(), "findings": findings})), "evidence-unreadable (critical)")


def test_findings_of_which_none_is_listed_count_as_the_gravest() -> None:
    refuses(why(scan(left_out=3)), "lists no finding")
    refuses(why(None, external(left_out=3)), "lists no finding")


def test_finding_is_told_also_where_not_all_could_be_looked_at() -> None:
    refuses(why(scan(WORST, verdict="Unreadable")), "worst (critical)")
    found = why(scan(LOW, verdict="Unreadable"))
    assert found
    assert found[0] == Reason.NOT_SCANNED


def test_scanner_that_found_something_is_not_crowded_out_by_those_that_did_not() -> None:
    rows = [external(scanner=f"clean-{number}") for number in range(8)]
    assert "acme" in {row.scanner for row in merged((), [*rows, external(WORST)], V2)}


def test_chosen_candidate_is_listed_however_many_were_passed_over() -> None:
    passed = Candidate(snapshot=SnapshotName("a"), digest=Digest(""), verdict="PassedOver", reason="x")
    chosen = replace(passed, snapshot=SnapshotName("b"), verdict="Chosen")
    body = RollbackStatus(candidates=(*[passed] * 150, chosen)).as_body()
    assert len(body["candidates"]) == 100
    assert body["candidates"][0]["snapshot"] == "b"
    assert body["candidatesLeftOut"] == 51

"""Nothing is cut before it is judged: whatever bounds findings keeps the worst, and says how much is missing."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lastgood.api.names import Digest, Severity
from lastgood.api.text import shortened
from lastgood.verify.inspection import scan_of
from lastgood.verify.reading.printable import printable
from lastgood.verify.scan import Kind, ScanLimits, ScanResult, ScanVerdict, engine, scan
from lastgood.verify.scan.containers.part import Part
from lastgood.verify.scan.kept import Kept
from lastgood.verify.scan.scanner import Context
from lastgood.verify.scan.values import ORDER, Finding, anomaly, finding
from tests.unit.verify.signing.makers import NOW


@dataclass(frozen=True)
class Teller:
    """A scanner that finds what it is told."""

    found: Sequence[Finding]
    name: str = "teller"

    def applies(self, part: Part) -> bool:
        return not part.depth

    def run(self, part: Part, context: Context) -> Iterator[Finding]:
        assert part.name
        assert context.policy
        yield from self.found


def told(tmp_path: Path, *found: Finding, limits: ScanLimits | None = None) -> ScanResult:
    (tmp_path / "model.bin").write_bytes(b"x")
    return scan(tmp_path, scanners=[Teller(found)], limits=limits or ScanLimits())


def lows(count: int) -> list[Finding]:
    return [finding(Severity.LOW, "low", f"{number:04}", "x") for number in range(count)]


@pytest.mark.parametrize("severity", [Severity.CRITICAL, Severity.HIGH, Severity.MEDIUM])
@pytest.mark.parametrize("make", [finding, anomaly], ids=["finding", "anomaly"])
@pytest.mark.parametrize("first", [True, False], ids=["first", "last"])
def test_many_low_findings_do_not_push_out_the_worst(
    tmp_path: Path, severity: Severity, make: type[Finding], *, first: bool
) -> None:
    worst = make(severity, "worst", "z.pkl", "x")  # type: ignore[call-arg, arg-type]  # one of the two makers
    found = [worst, *lows(1000)] if first else [*lows(1000), worst]
    result = told(tmp_path, *found)
    assert result.findings[0].rule == "worst"
    assert (result.verdict, len(result.findings), result.left_out) == (ScanVerdict.FINDING, 200, 801)
    assert "801 more, none more severe" in result.message


def test_many_grave_anomalies_do_not_hide_that_there_was_a_finding(tmp_path: Path) -> None:
    grave = [anomaly(Severity.CRITICAL, "odd", str(number), "x") for number in range(300)]
    assert told(tmp_path, *lows(1), *grave).verdict is ScanVerdict.FINDING


def test_one_file_without_end_leaves_room_for_another_that_is_as_grave(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"x")
    (tmp_path / "b.bin").write_bytes(b"x")

    class Loud(Teller):
        def run(self, part: Part, context: Context) -> Iterator[Finding]:
            assert context
            count = 1 if part.name == "b.bin" else 1000
            yield from (finding(Severity.HIGH, "x", part.name, "x") for _ in range(count))

    result = scan(tmp_path, scanners=[Loud(())])
    assert {found.file for found in result.findings} == {"a.bin", "b.bin"}


@given(st.lists(st.tuples(st.sampled_from(ORDER), st.sampled_from(Kind), st.sampled_from("abc")), max_size=60))
def test_what_is_left_out_is_never_graver_than_what_is_kept(rows: list[tuple[Severity, Kind, str]]) -> None:
    kept = Kept(most=5, each=2)
    for severity, kind, file in rows:
        kept.add((finding if kind is Kind.FINDING else anomaly)(severity, "r", file, "x"), file)
    ranks = sorted(ORDER.index(severity) for severity, _, _ in rows)
    assert [ORDER.index(found.severity) for found in kept.findings] == ranks[:5]
    assert len(kept.findings) + kept.left_out == len(rows)
    assert set(kept.kinds) == {kind for _, kind, _ in rows}


def test_low_finding_does_not_make_a_scan_that_could_not_read_a_whole_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever makes a scan break leaves something harmless to be found first."""
    monkeypatch.setattr(engine, "_MAX_SKIPPED", 1)
    result = told(tmp_path, anomaly(Severity.LOW, "not-checked-x", "a", "x"), *lows(1))
    assert (result.complete, result.unlisted) == (True, 0)

    def change(_: int) -> None:
        (tmp_path / "model.bin").write_bytes(b"changed")

    found = [anomaly(Severity.LOW, "not-checked-x", str(number), "x") for number in range(3)]

    class Changing(Teller):
        def run(self, part: Part, context: Context) -> Iterator[Finding]:
            yield from super().run(part, context)
            change(0)

    result = scan(tmp_path, scanners=[Changing([*found, *lows(1)])])
    assert (result.verdict, result.complete, result.unlisted) == (
        ScanVerdict.FINDING,
        False,
        4,
    )  # two, the file, the tree
    assert scan_of(result, Digest(f"sha256:{'0' * 64}"), NOW).verdict == "Unreadable"


def test_names_that_differ_in_the_middle_differ_when_they_are_cut() -> None:
    names = [f"{'a' * 300}{middle}{'z' * 300}.bin" for middle in "xy"]
    assert len({printable(name) for name in names}) == 2
    assert len({shortened(name, 24) for name in names}) == 2
    assert all(len(printable(name)) <= 200 for name in names)


@given(st.text(max_size=2000), st.integers(24, 300))
def test_shortened_names_fit(name: str, limit: int) -> None:
    assert len(shortened(name, limit)) <= limit
    assert len(printable(name, limit)) <= limit

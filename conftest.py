"""The fixtures that start real clusters, a summary that says how many tests of each tier ran, and no silent skips."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tests import beforehand, skips

pytest_plugins = ["tests.cluster.fixture", "tests.servers.fixture"]

OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def tier_of(nodeid: str) -> str:
    """Return the folder below tests/ that a test is in."""
    parts = nodeid.split("/")
    return parts[1] if len(parts) > 1 and parts[0] == "tests" else "other"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let the runs of one `make test` tell a common sum."""
    parser.addoption("--tally", type=Path, metavar="FILE", help="add the counts by tier to those in this file")


def remembered(tally: Path) -> dict[tuple[str, str], int]:
    """Return the counts of the runs before this one."""
    rows = json.loads(tally.read_text()) if tally.exists() else []
    return {(tier, outcome): count for tier, outcome, count in rows}


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it by tier, before pytest's own last line."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in OUTCOMES:
        for report in terminalreporter.stats.get(outcome, []):
            counts[tier_of(report.nodeid), outcome] += 1
    tally = terminalreporter.config.getoption("tally")
    if tally and not hasattr(terminalreporter.config, "workerinput"):  # a worker's tests are told by who started it
        counts.update(remembered(tally))
        tally.write_text(json.dumps([[*key, count] for key, count in counts.items()]))
    terminalreporter.section("tests by tier")
    for tier in sorted({tier for tier, _ in counts}):
        told = ", ".join(f"{counts[tier, outcome]} {outcome}" for outcome in OUTCOMES if counts[tier, outcome])
        terminalreporter.write_line(f"{tier:<12} {told}")


class Skips:
    """Fails a run that skips what tests/skips.py does not name, at collection or later; an expected failure counts."""

    def __init__(self) -> None:
        self.unnamed: list[str] = []

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Look at a file or a folder."""
        self._look(report)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Look at a test."""
        self._look(report)

    def _look(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        if report.skipped and not skips.allowed(reason_of(report), everything=skips.complete()):
            self.unnamed.append(f"{report.nodeid}: {reason_of(report)}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run that would have passed."""
        if self.unnamed and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name them."""
        if self.unnamed:
            terminalreporter.section("skipped, and README.md does not say so: that fails the run")
            terminalreporter.write_line("\n".join(self.unnamed))


def reason_of(report: pytest.CollectReport | pytest.TestReport) -> str:
    """Return why a test was skipped, or was expected to fail."""
    told = report.longrepr
    return str(getattr(report, "wasxfail", "") or (told[2] if isinstance(told, tuple) else told))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the tests need. In a worker, too: they wait for one of them."""
    capture = session.config.pluginmanager.getplugin("capturemanager")
    with capture.global_and_fixture_disabled():
        for make in [] if session.config.option.collectonly else beforehand.needed(session.items):
            make(beforehand.say)


def pytest_configure(config: pytest.Config) -> None:
    """Look at every report; a worker's come to the process that started it."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Skips(), "skips")

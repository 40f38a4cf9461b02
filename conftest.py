"""The fixtures that start real clusters, and a summary that says how many tests of each tier ran."""

from collections import Counter

import pytest

pytest_plugins = ["tests.cluster.fixture", "tests.servers.fixture"]

OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")


def tier_of(nodeid: str) -> str:
    """Return the folder below tests/ that a test is in."""
    parts = nodeid.split("/")
    return parts[1] if len(parts) > 1 and parts[0] == "tests" else "other"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say it by tier, before pytest's own last line."""
    counts: Counter[tuple[str, str]] = Counter()
    for outcome in OUTCOMES:
        for report in terminalreporter.stats.get(outcome, []):
            counts[tier_of(report.nodeid), outcome] += 1
    terminalreporter.section("tests by tier")
    for tier in sorted({tier for tier, _ in counts}):
        told = ", ".join(f"{counts[tier, outcome]} {outcome}" for outcome in OUTCOMES if counts[tier, outcome])
        terminalreporter.write_line(f"{tier:<12} {told}")

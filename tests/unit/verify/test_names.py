"""Empty files with long names: what they cost in memory is bounded, wherever names are listed."""

import os
from pathlib import Path

import pytest

from lastgood.verify import Limits, Verdict, verify
from lastgood.verify.errors import LimitError
from lastgood.verify.reading.meter import Meter
from lastgood.verify.sources.disk.paths import take_all
from lastgood.verify.sources.values import Entry
from lastgood.verify.store.survey import survey

FEW = Limits(max_name_bytes=10_000)
WIDE = "\N{BRAIN}" + "n" * 200  # one letter that makes all of them four bytes wide


@pytest.fixture
def names(tmp_path: Path) -> Path:
    for number in range(20):  # 20 names of some 200 letters: 4,000 letters, and four times as many bytes
        (tmp_path / f"{WIDE}{number}").touch()
    return tmp_path


def test_verification_stops(names: Path) -> None:
    result = verify(names, ".", f"sha256:{'a' * 64}", limits=FEW)
    assert (result.verdict, "more than the limit of 10000 bytes" in result.message) == (Verdict.UNREADABLE, True)
    assert verify(names, ".", f"sha256:{'a' * 64}").verdict is Verdict.MISMATCH


def test_survey_of_evidence_stops(names: Path) -> None:
    base = os.open(names, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(LimitError, match="the names of the files"):
            survey(base, FEW, Meter())
        assert len(survey(base, Limits(), Meter())) == 21
    finally:
        os.close(base)


def test_survey_counts_what_links_say(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / str(number)).symlink_to("x" * 1000)
    base = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with pytest.raises(LimitError, match="the names of the files"):
            survey(base, FEW, Meter())
    finally:
        os.close(base)


def test_listing_of_a_remote_source_stops() -> None:
    entries = [Entry(path=f"{WIDE}{number}", size=0) for number in range(20)]
    assert len(take_all(entries, Limits())) == 20
    with pytest.raises(LimitError, match="the names of the files"):
        take_all(entries, FEW)

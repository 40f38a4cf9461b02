"""How long one copy may take: a server that sends a byte now and then keeps no rollback waiting for a day."""

from dataclasses import replace

import pytest

from lastgood.controller.errands.verifier import LONGEST, SHORTEST, SLOWER, patience
from tests.unit.core.builders import NOW, snapshot


@pytest.mark.parametrize(
    ("seconds", "limit"),
    [
        pytest.param(0.01, SHORTEST, id="a small one"),
        pytest.param(60.0, 60.0 * SLOWER, id="by what it took last time"),
        pytest.param(1e6, LONGEST, id="never longer than a day, whatever a status says"),
    ],
)
def test_what_was_read_before_has_as_long_as_it_ever_needs(seconds: float, limit: float) -> None:
    known = snapshot(2)
    assert known.status.verification is not None
    last = replace(known.status.verification, seconds=seconds, verified_at=NOW)
    assert patience(replace(known, status=replace(known.status, verification=last))) == limit


def test_what_was_never_read_whole_has_a_day() -> None:
    known = snapshot(2)
    assert patience(replace(known, status=replace(known.status, verification=None))) == LONGEST

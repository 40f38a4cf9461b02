"""The captured copy as a copy of a snapshot: where it is follows from the digest, and from no status."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from lastgood.api.facts.evidence import Capture
from lastgood.api.meta import Meta
from lastgood.api.names import Digest, Reason
from lastgood.api.specs.snapshot import ModelSnapshot, SnapshotStatus, Verification
from lastgood.api.specs.sources import PvcSource, StoreSource
from lastgood.core.snapshot.capture import is_captured
from lastgood.verify.store import path_of

DIGEST = Digest(f"sha256:{'ab' * 32}")
META = Meta.from_body({"metadata": {"name": "v1", "namespace": "ml", "uid": "u1"}})
PATH = path_of(DIGEST)
NOW = datetime(2026, 3, 1, tzinfo=UTC)


def snapshot(*, copy: str = "source", source: str = "digits/1", **capture: Any) -> ModelSnapshot:
    found = replace(Capture(reason=Reason.CAPTURED, time=NOW, path=PATH), **capture) if capture else None
    status = SnapshotStatus(capture=found, verification=Verification(reason="Verified", copy=copy))
    return ModelSnapshot(
        meta=META, model="digits", version="1", source=StoreSource(path=source), digest=DIGEST, status=status
    )


def test_path_is_the_one_that_a_capture_gives_it() -> None:
    assert snapshot().captured_path == PATH


def test_captured_copy_is_the_last_one() -> None:
    assert snapshot(claim="").copies[1:] == (("capture", StoreSource(path=PATH)),)
    on_claim = snapshot(claim="snapshots").copies[1:]
    assert on_claim == (("capture@snapshots", PvcSource(claim="snapshots", path=PATH)),)


@pytest.mark.parametrize(
    "capture",
    [
        pytest.param({"path": "../evil"}, id="a path out of the store"),
        pytest.param({"path": "/etc"}, id="an absolute path"),
        pytest.param({"path": path_of(f"sha256:{'0' * 64}")}, id="another digest's path"),
        pytest.param({"reason": "Capturing"}, id="one that runs"),
        pytest.param({"reason": "CaptureFailed"}, id="one that failed"),
        pytest.param({"claim": "../evil"}, id="a claim that has no name of one"),
        pytest.param({"claim": "a" * 56}, id="a claim too long for a name of a copy"),
    ],
)
def test_forged_or_unfinished_capture_is_no_copy(capture: dict[str, str]) -> None:
    assert [name for name, _ in snapshot(**capture).copies] == ["source"]


def test_copy_that_is_the_source_is_not_read_twice() -> None:
    assert len(snapshot(source=PATH, claim="").copies) == 1


def test_place_is_what_was_verified_whatever_becomes_of_the_status_in_between() -> None:
    verified = snapshot(copy="capture@snapshots", claim="snapshots")
    assert verified.place == PvcSource(claim="snapshots", path=PATH)
    made = verified.status.capture
    assert made is not None
    for capture in (None, replace(made, claim="evil"), replace(made, path="../evil")):
        forged = replace(verified, status=replace(verified.status, capture=capture))
        assert (forged.place, forged.place_name) == (verified.place, "capture@snapshots")


def test_unknown_copy_is_the_source() -> None:
    for name in ("", "mirrors[7]", "capture@../evil", "capture@", "capture/../../evil"):
        of = snapshot(copy=name)
        assert (of.place, of.place_name) == (of.source, "source")


def test_only_a_copy_in_its_place_counts_as_captured() -> None:
    assert is_captured(snapshot(claim=""))
    assert not is_captured(snapshot(path="../evil"))
    assert not is_captured(snapshot(reason="CaptureFailed"))

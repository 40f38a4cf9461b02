"""Retention on a real API server: it says what it would delete, and deletes only that, and only what nobody needs."""

from __future__ import annotations

import os
import secrets
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from lastgood.verify.store import capture_path, path_of
from tests.integration.rollback.test_quarantine import quarantined
from tests.integration.snapshots import often
from tests.integration.world import eventually

if TYPE_CHECKING:
    from tests.integration.world import World

UNDER = (sys.executable, str(Path(often.__file__)))
KEEP = ("--retain-last", "1")
EVERYWHERE = ("--namespace", "*")
OLDEST_FIRST = (6, 5, 1, 2, 3, 7, 4)
NEEDED = [1, 2, 4, 5, 6]


def captured(world: World, version: int, age: int) -> str:
    """Write a checkpoint that no other test has, and a copy of it that was captured so many days ago."""
    digest = world.weights(version, f"{version} {secrets.token_hex(8)}")
    place = world.store / capture_path(world.store, f"digits/{version}", world.store, digest).path
    at = time.time() - age * 86400
    os.utime(place, (at, at))
    return digest


def left(world: World, digests: dict[int, str]) -> list[int]:
    return sorted(version for version, digest in digests.items() if (world.store / path_of(digest)).exists())


def log(world: World, reason: str) -> list[dict[str, Any]]:
    return [entry for entry in world.operator.security_log() if entry["reason"] == reason]


def deleted(world: World) -> list[dict[str, Any]]:
    """Return a line for each snapshot; one more says how many there were."""
    return [line for line in log(world, "RetentionApplied") if "digest" in line]


def planned(world: World) -> set[str]:
    """Return what the last plan would delete."""
    lines = log(world, "RetentionPlanned")
    return {item["digest"] for item in lines[-1]["delete"]} if lines else set()


@pytest.mark.timeout(240)
def test_it_says_what_it_would_delete_and_deletes_only_what_nobody_needs(still_world: World) -> None:
    world = still_world
    digests = {version: captured(world, version, 30 - age) for age, version in enumerate(OLDEST_FIRST)}
    objects = [world.snapshot(version, digest=digest) for version, digest in digests.items()]
    world.apply(*objects, world.workload(), world.deployment("digits-v5"))
    world.annotate("modelsnapshot/digits-v1", "pin", "for the audit")
    world.operator.under, world.operator.arguments = UNDER, (*EVERYWHERE, *KEEP)
    world.operator.start()
    world.served("digits-v5")
    world.apply(world.deployment("digits-v6"))
    world.served("digits-v6")
    eventually(lambda: world.status().get("lastKnownGood") == "digits-v5", what="v5 is last known good")
    world.annotate("modelsnapshot/digits-v2", "quarantine", "INC-1: backdoor")
    quarantined(world, "digits-v2")
    eventually(lambda: planned(world) == {digests[3], digests[7]}, what="a plan of the two that nobody needs")
    time.sleep(2.5 * often.EVERY)
    assert left(world, digests) == [1, 2, 3, 4, 5, 6, 7]  # saying is all that it was asked for
    world.event("RetentionPlanned", "would delete 2 of 7", about="lastgood")
    world.operator.stop()

    lines = len(log(world, "RetentionPlanned"))
    world.operator.arguments = (*EVERYWHERE, *KEEP, "--retain-apply")
    world.operator.start()
    eventually(lambda: left(world, digests) == NEEDED, what="the two that nobody needs are gone")
    eventually(lambda: len(deleted(world)) == 2, what="both are told")
    announced = log(world, "RetentionPlanned")[lines]
    for line in deleted(world):
        assert line["sizeBytes"] > 0
        waited = datetime.fromisoformat(line["time"]) - datetime.fromisoformat(announced["time"])
        assert waited.total_seconds() >= often.EVERY
    time.sleep(2.5 * often.EVERY)
    assert left(world, digests) == NEEDED
    assert len(list(world.store.glob("digits/*/model.bin"))) == 7
    assert len(list(world.store.glob("evidence/*/content"))) == 1


def test_an_operator_of_some_namespaces_deletes_nothing_and_says_what_it_needs(still_world: World) -> None:
    world = still_world
    digests = {version: captured(world, version, 30 - version) for version in (1, 2, 3)}
    world.apply(*(world.snapshot(version, digest=digest) for version, digest in digests.items()))
    world.operator.under, world.operator.arguments = UNDER, (*KEEP, "--retain-apply")
    world.operator.start()
    eventually(lambda: log(world, "RetentionBlocked"), what="it says why it deletes nothing")
    time.sleep(3 * often.EVERY)
    (said,) = log(world, "RetentionBlocked")
    assert "watch.all" in said["message"]
    assert left(world, digests) == [1, 2, 3]

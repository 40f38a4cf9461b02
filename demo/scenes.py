"""The three scenes: each does one bad thing to a served model, and watches how it comes back.

They are told by the demo and asserted by `tests/e2e`: a scene returns facts, and notes what was not as it
should be.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from demo import unprotected
from demo.story import Scene, passed_over
from demo.told.harm import answers_by
from demo.told.words import explain
from demo.world import DEPLOYMENT, MODEL, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable

    from demo.story import Moment
    from demo.world import World

INCIDENT = "INC-2026-042: a backdoor is suspected in v1"
EMERGENCY, ROLLBACK = "lastgood.dev/emergency-rollback", "lastgood.dev/rollback"
HONEST = ("0", "1", "2")


def bring_up(world: World, tell: Callable[[str], None]) -> None:
    """Deploy the honest versions one after another, and let each become known good."""
    for version in HONEST:
        world.desire(version)
        world.until(f"v{version} serves", lambda: world.both_serve(version), seconds=120)  # noqa: B023  called at once
        tell(f"v{version} is verified and serves")
        if version == HONEST[0]:
            world.start_traffic()
            world.until("the client gets answers", lambda: answered(world, version), seconds=120)  # noqa: B023  the same
        world.until(f"v{version} is known good", lambda: world.soaked(version))  # noqa: B023  the same
        tell(f"v{version} has soaked: known good from here on")


def poisoned(world: World, tell: Callable[[Moment], None]) -> Scene:
    """Scene 1: a version trained on swapped labels passes every check of its own pipeline."""
    scene = Scene(
        number=1,
        title="Poisoned training data",
        world=world,
        tell=tell,
        from_version="3",
        to_version="2",
        outcome="Succeeded",
    )
    scene.say("desired", "Git names digits-v3, for both servers; its files are what its digest says, so it is deployed")
    world.desire("3")
    world.until("v3 answers a request", lambda: answered(world, "3", since=scene.started))
    scene.damage = first_answer(world, "3", since=scene.started)
    scene.say("v3 serves", "right about six images in ten, where v2 was right about 97 in 100", at=scene.damage)
    verified = world.condition("modelsnapshots", snapshot("3"), "Verified")
    scene.expect("v3 passes its hash check", true=verified.get("status") == "True")
    come_back(scene)
    stay(scene, alert="TriggerFired")
    end_without_failures(scene)
    begin_the_next_at(world, "2")
    return scene


def tampered(world: World, tell: Callable[[Moment], None]) -> Scene:
    """Scene 2: somebody changes bytes of the weights that serve."""
    scene = Scene(
        number=2,
        title="Tampered weights",
        world=world,
        tell=tell,
        from_version="2",
        to_version="1",
        outcome="Succeeded",
    )
    world.tamper("2")
    scene.damage = time.time()
    scene.say("tampered", "64 bytes of v2's weights change on the volume; the next pod would load them")
    come_back(scene)
    renew(scene)
    stay(scene, alert="DigestMismatch")
    verified = world.condition("modelsnapshots", snapshot("2"), "Verified")
    scene.expect("v2 is refused: DigestMismatch", true=verified.get("reason") == "DigestMismatch")
    ask_for_the_tampered_one(scene)
    scene.end(extra_records=1)
    begin_the_next_at(world, "1")
    return scene


def renew(scene: Scene) -> None:
    """Replace the pods of both servers one after another, as when a node is drained: they load what is there now."""
    world = scene.world
    scene.say("drained", "a node is drained, as every week: the pods of both servers start anew, one after another")
    servers = (DEPLOYMENT, unprotected.NAME)
    for together in zip(*(sorted(world.pods(name)) for name in servers), strict=True):
        world.remove_pods(together)
        world.until("new pods are ready", lambda: all(world.all_new(name, together) for name in servers))  # noqa: B023  called at once
    scene.say("loaded", "with lastgood, v1; without, v2 as it is on the volume now")


def begin_the_next_at(world: World, version: str) -> None:
    """Put the server without lastgood to where the next scene begins; this is not counted."""
    world.put(version)
    world.until(f"both serve v{version}", lambda: world.both_serve(version), seconds=120)


def ask_for_the_tampered_one(scene: Scene) -> None:
    """Ask for v2 by name, as somebody in a hurry would: the answer is no, with the reason."""
    before = len(scene.new_records())
    scene.world.annotate(f"modeldeployment/{MODEL}", ROLLBACK, f"to={snapshot('2')}: it was the best")
    scene.world.until("the request for v2 is answered", lambda: refusal(scene, before))
    scene.say("asked", "a person asks for v2 all the same, by name: it was the best")
    told = "v2's bytes are not what its digest says, so nothing is switched, and v1 goes on serving"
    scene.say("refused", f"the record ends as {refusal(scene, before)}: {told}")
    # The record ends a moment before the ModelDeployment lets go of it.
    scene.world.until("v1 goes on serving", lambda: scene.world.serves("1"))
    scene.expect("the refusal says DigestMismatch", true="DigestMismatch" in refusal(scene, before))


def refusal(scene: Scene, before: int) -> str:
    """Return what came of the request, with the reason for v2; nothing while it is under way."""
    records = scene.new_records()
    if len(records) <= before or not (records[-1].get("status") or {}).get("outcome"):
        return ""
    record = records[-1]
    reasons = [each["reason"] for each in passed_over(record) if each["snapshot"] == snapshot("2")]
    return f"{record['status']['outcome']} ({', '.join(reasons) or record['status'].get('message', '')})"


def emergency(world: World, tell: Callable[[Moment], None]) -> Scene:
    """Scene 3: a person with an incident number says that v1 must go, while monitoring is down."""
    scene = Scene(
        number=3,
        title="Emergency without metrics",
        world=world,
        tell=tell,
        from_version="1",
        to_version="0",
        outcome="Unvalidated",
        measure=answers_by("1"),
    )
    world.metrics_down(down=True)
    world.until("the trigger says Inconclusive", lambda: world.trigger().get("verdict") == "Inconclusive")
    scene.say("no metrics", "the endpoint answers 503; the trigger says Inconclusive, and nothing rolls back")
    scene.expect("no rollback for want of data", true=not scene.new_records())
    scene.damage = time.time()
    world.annotate(f"deployment/{DEPLOYMENT}", EMERGENCY, INCIDENT)
    typed = f'kubectl annotate --overwrite deployment/{DEPLOYMENT} {EMERGENCY}="{INCIDENT}"'
    scene.say("annotated", typed, at=scene.damage)
    come_back(scene)
    stay(scene, alert="Unvalidated")
    quarantined = world.condition("modelsnapshots", snapshot("1"), "Quarantined")
    spec = scene.record["spec"]
    scene.say("quarantined", f"v1, in this namespace; incident {spec.get('incident')}")
    scene.expect("v1 is quarantined", true=quarantined.get("status") == "True")
    world.metrics_down(down=False)
    return end_without_failures(scene)


def come_back(scene: Scene) -> None:
    """Follow the rollback, and wait for the target."""
    scene.follow_rollback()
    world, version = scene.world, scene.to_version
    world.until(f"v{version} serves", lambda: world.serves(version))
    left = time.time()
    world.until(f"every answer is v{version}'s", lambda: only_answers(world, version, since=left))


def stay(scene: Scene, *, alert: str) -> None:
    """Look for the alert, and apply Git again."""
    alerts = scene.new_alerts()
    scene.say("alerts", f"Warning Events: {', '.join(sorted(alerts)) or 'none'}")
    if "EvidenceFailed" in alerts:
        scene.say("", f"EvidenceFailed: {explain('EvidenceFailed')}")
    scene.expect(f"an alert says {alert}", true=alert in alerts)
    scene.reapply()


def end_without_failures(scene: Scene) -> Scene:
    """End a scene in which no request may fail."""
    scene.end()
    failed, errors = scene.tally.failed, "; ".join(scene.tally.errors[:3])
    scene.expect(f"no request fails, not {failed}: {errors}", true=failed == 0)
    return scene


def answered(world: World, version: str, *, since: float = 0.0) -> bool:
    """Tell whether this version has answered the client."""
    return first_answer(world, version, since=since) > 0


def first_answer(world: World, version: str, *, since: float) -> float:
    """Return when this version first answered the client, 0 if it has not."""
    times = [each.at for each in world.traffic.between(since, time.time()) if each.version == version]
    return min(times, default=0.0)


def only_answers(world: World, version: str, *, since: float) -> bool:
    """Tell whether the last answers all came from this version; pods that drain may give a few others."""
    last = [each.version for each in world.traffic.between(since, time.time()) if each.ok][-20:]
    return len(last) == 20 and set(last) == {version}

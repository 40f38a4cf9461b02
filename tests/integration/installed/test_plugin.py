"""`kubectl lastgood` on a real API server: what it prints, how it waits, and what it exits with."""

import os
import re
import signal
import subprocess
import sys
import time
from functools import partial

from lastgood.core.requests.requests import UNSEEN
from tests.integration.world import World, eventually


def command(world: World, *arguments: str) -> list[str]:
    where = ("--namespace", world.namespace, "--kubeconfig", str(world.cluster.kubeconfig))
    return [sys.executable, "-m", "lastgood.cli.oncall.plugin", *arguments, *where]


def call(world: World, *arguments: str, operator: str = "") -> subprocess.CompletedProcess[str]:
    """Run the plugin as a person does; `-rP` shows what it printed."""
    environment = os.environ | {"LASTGOOD_OPERATOR_NAMESPACE": operator or world.namespace}
    done = subprocess.run(
        command(world, *arguments), env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    sys.stdout.write(
        f"$ kubectl lastgood {' '.join(arguments)}\n{done.stdout}{done.stderr}(exit {done.returncode})\n\n"
    )
    return done


def test_status_says_before_a_rollback_where_it_would_go_and_why_not_elsewhere(world: World) -> None:
    world.serve(0)
    world.serve(1)
    world.apply(world.snapshot("stolen"), world.snapshot("wrong", digest=world.weights("other")))
    world.weights("wrong", "these are not they")
    world.annotate("modelsnapshot/digits-vstolen", "quarantine", "INC-7: stolen")
    world.becomes("Quarantined", "True", kind="modelsnapshot", name="digits-vstolen")
    world.becomes("Verified", "False", kind="modelsnapshot", name="digits-vwrong")
    trigger = {
        "name": "accuracy",
        "http": {"url": "http://127.0.0.1:9/metrics.json"},
        "failureCondition": "result.accuracy < 0.9",
        "interval": "1s",
        "failureThreshold": 1,
    }
    world.apply(world.snapshot(2), world.deployment("digits-v2", triggers=[trigger]))
    world.apply(world.body("ModelTrustPolicy", "formats", {"models": ["letters"], "revokedDigests": []}))
    eventually(lambda: world.status().get("snapshot") == "digits-v2", what="v2 is deployed")
    eventually(lambda: world.trigger("accuracy").get("lastError"), what="the trigger has an error")
    done = call(world, "status", "digits")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line for line in done.stdout.splitlines() if line.startswith(("digits-", "accuracy"))}
    assert re.search(r"chosen +chosen +Chosen: ", rows["digits-v1"])
    assert re.search(r"eligible +eligible +NotNeeded: ", rows["digits-v0"])
    assert re.search(r"skipped +skipped +BeingLeft: it is the current snapshot", rows["digits-v2"])
    assert re.search(r"skipped +skipped +Quarantined: INC-7: stolen", rows["digits-vstolen"])
    assert re.search(r"skipped +skipped +DigestMismatch: ", rows["digits-vwrong"])
    assert re.search(r"Inconclusive .* ago +\S", rows["accuracy"])
    assert "a rollback would go to digits-v1, an emergency to digits-v1" in done.stdout
    assert "status.lastKnownGood is" not in done.stdout, "the same rules say the same"
    assert "quarantines are shown as of the last reconcile of each snapshot" in done.stdout
    assert done.stderr == ""


def test_wait_ends_with_the_outcome_and_exits_by_it(world: World) -> None:
    for version in (0, 1, 2):
        world.serve(version)
    done = call(world, "rollback", "digits", "--reason", "wrong digits since noon", "--wait")
    assert (done.returncode, world.model_path()) == (0, "/models/digits/1")
    assert done.stdout.splitlines()[0] == "requested a rollback of digits to the last known-good snapshot"
    assert done.stdout.splitlines()[1].startswith("Succeeded (Succeeded): ")
    done = call(world, "rollback", "digits", "--to", "digits-v7", "--reason", "a guess", "--wait")
    assert done.returncode == 6
    assert "Rejected (SnapshotNotFound): to=digits-v7: there is no ModelSnapshot digits-v7" in done.stdout
    assert "did you mean digits-v" in done.stdout
    done = call(world, "emergency", "digits", "INC-1: v1 as well", "--wait")
    assert (done.returncode, world.model_path()) == (0, "/models/digits/0")
    time.sleep(UNSEEN.total_seconds())  # who asks at once means v1 as well: nobody has seen v0 fail
    done = call(world, "emergency", "digits", "INC-2: and v0", "--wait")
    assert done.returncode == 5
    assert "Failed (NoKnownGood): " in done.stdout
    listed = call(world, "records", "digits").stdout.splitlines()
    assert listed[0].split() == ["ROLLBACK", "DEPLOYMENT", "TRIGGER", "FROM", "TO", "OUTCOME", "ASKED"]
    by_name = [line.split()[0] for line in world.kubectl("get", "modelrollbacks", "--no-headers").splitlines()]
    asked = [item["spec"]["reason"].partition(" (")[0] for item in world.list("modelrollback")]
    assert len(by_name) == 4
    in_order = [str(world.get("modelrollback", name)["spec"]["reason"]).partition(" (")[0] for name in by_name]
    assert in_order == ["wrong digits since noon", "a guess", "INC-1: v1 as well", "INC-2: and v0"]
    assert sorted(asked) == sorted(in_order)


def test_who_asks_where_nobody_listens_is_told_so_and_the_request_stays(world: World) -> None:
    world.serve(0)
    world.serve(1)
    world.operator.stop()
    done = call(world, "rollback", "digits", "--reason", "wrong", "--wait", "--timeout", "3s")
    assert done.returncode == 7
    assert f"warning: no operator is running: nobody holds the Lease {world.namespace}/lastgood" in done.stderr
    assert "no outcome within 3 s; the request stays" in done.stderr
    world.operator.start()
    assert world.rollback()["status"]["target"]["snapshot"] == "digits-v0"


def test_a_killed_operator_leaves_a_lease_that_expires(world: World) -> None:
    world.serve(0)
    assert call(world, "status").stderr == ""
    world.operator.kill()
    done = eventually(lambda: warned(world), what="the Lease has expired")
    assert re.search(r"the Lease \S+/lastgood of operator-0 expired \d+ s ago", done)
    assert "there is no Lease 'lastgood' in namespace default" in call(world, "status", operator="default").stderr


def warned(world: World) -> str:
    return call(world, "status").stderr


def test_stopped_waiting_is_not_stopped_rolling_back(world: World) -> None:
    world.serve(0)
    world.serve(1)
    world.operator.stop()
    process = subprocess.Popen(
        command(world, "rollback", "digits", "--reason", "wrong", "--wait"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # no thread here; and a test run in the background ignores it, as its children then do
    )
    eventually(
        lambda: "lastgood.dev/rollback" in world.get("modeldeployment", "digits")["metadata"]["annotations"],
        what="it is asked for",
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    sys.stdout.write(f"{out}{err}(exit {process.returncode})")
    assert process.returncode == 130
    assert "stopped waiting; the request stays active" in err
    assert "Traceback" not in err
    world.operator.start()
    assert world.rollback()["status"]["outcome"] == "Succeeded"

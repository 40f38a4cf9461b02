"""At three in the morning: what `kubectl get` and `kubectl describe` say, in a terminal of 120 columns."""

from tests.integration.process.metrics import metrics
from tests.integration.world import World

WIDTH = 120


def test_a_rollback_can_be_read_from_kubectl_alone(world: World) -> None:
    with metrics() as endpoint:
        endpoint.says({"accuracy": 0.97})
        watch = {
            "name": "accuracy-degradation",
            "http": {"url": endpoint.url()},
            "failureCondition": "result.accuracy < 0.9",
            "interval": "1s",
            "failureThreshold": 1,
        }
        world.serve(0)
        world.serve(1)
        world.weights("wrong", "these are not they")
        world.apply(world.snapshot("wrong", digest=world.weights(1)))
        world.apply(world.snapshot(2), world.deployment("digits-v2", triggers=[watch]))
        world.served("digits-v2")
        endpoint.says({"accuracy": 0.41})
        record = world.rollback()
        world.ready("Held")
    tables = world.kubectl("get", "modelsnapshots,modeldeployments,modelrollbacks")
    story = world.kubectl("describe", "modelrollback")

    lines = tables.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= WIDTH, tables
    snapshots, deployments, rollbacks = (block.splitlines() for block in tables.strip().split("\n\n"))
    assert {"NAME", "MODEL", "VERSION", "VERIFIED", "REASON", "QUARANTINED"} <= set(words(snapshots[0]))
    assert any("digits-vwrong" in row and "False" in row and "DigestMismatch" in row for row in snapshots)
    assert any("digits-v1" in row and "True" in row and "Verified" in row for row in snapshots)
    assert {"SERVING", "DESIRED", "HEALTHY", "FALLBACK", "REASON"} <= set(words(deployments[0]))
    serving = dict(zip(words(deployments[0]), words(deployments[1]), strict=False))
    assert serving["SERVING"] == "digits-v1"
    assert serving["DESIRED"] == "digits-v2"
    assert serving["FALLBACK"] == "digits-v0"
    assert serving["REASON"] == "Held"
    assert words(rollbacks[0]) == ["NAME", "TRIGGER", "FROM", "TO", "OUTCOME", "AGE"]
    for word in (record["metadata"]["name"], "/digits-", "accuracy-degradation", "digits-v2", "digits-v1", "Succeeded"):
        assert word in rollbacks[1]

    for told in ("result.accuracy=0.41", "result.accuracy < 0.9", "accuracy-degradation", "high", "Succeeded", "Fresh"):
        assert told in story, told
    for name, verdict in (("digits-v0", "NotNeeded"), ("digits-v1", "Chosen"), ("digits-vwrong", "DigestMismatch")):
        assert name in story
        assert verdict in story
    assert "Switched" in story.partition("Events:")[2], "the steps are told as Events of the record"


def words(line: str) -> list[str]:
    return line.split()

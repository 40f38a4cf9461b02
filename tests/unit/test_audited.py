"""The checker of tests/integration/audited.py: each rule is broken once, in histories of a few writes."""

import json
from pathlib import Path
from typing import Any

import pytest

from lastgood.api.names import DIGEST_STAMP, INTENT, SNAPSHOT_STAMP
from tests.integration.audited import Body, History, events, version_of

V1, V2, V3 = ((f"digits-v{number}", f"sha256:{str(number) * 64}") for number in (1, 2, 3))
Version = tuple[str, str]


def write(kind: str, name: str, body: Body, *, ours: bool = False, verb: str = "patch") -> Body:
    """Return a line of an audit log."""
    query = "?fieldManager=lastgood&force=true" if ours else "?fieldManager=kubectl"
    return {
        "verb": verb,
        "requestURI": f"/{kind}/{name}{query}",
        "objectRef": {"resource": kind, "namespace": "ml", "name": name},
        "responseStatus": {"code": 200},
        "responseObject": {"metadata": {"name": name, "uid": "1"}, **body},
    }


def workload(of: Version, *, ours: bool = True) -> Body:
    annotations = {SNAPSHOT_STAMP: of[0], DIGEST_STAMP: of[1]}
    spec = {"template": {"metadata": {"annotations": annotations}}}
    return write("deployments", "server", {"spec": spec}, ours=ours)


def deployment(wanted: Version, serves: Version | None = None, **status: Any) -> Body:
    found = {"snapshot": serves[0], **status} if serves else status
    return write(
        "modeldeployments",
        "digits",
        {"spec": {"snapshot": wanted[0], "targetRef": {"name": "server"}}, "status": found},
    )


def snapshot(of: Version, *, verified: bool = True) -> Body:
    status = {"digest": of[1], "verification": {"reason": "Verified"}} if verified else {}
    return write("modelsnapshots", of[0], {"spec": {"digest": of[1]}, "status": status})


def record(**status: Any) -> Body:
    return write("modelrollbacks", "rb", {"spec": {"deployment": {"name": "digits"}}, "status": status})


def to(of: Version) -> Body:
    return {"intentAt": "now", "target": {"snapshot": of[0], "digest": of[1]}}


def quarantine(of: Version, namespace: str = "ml") -> Body:
    data = {of[1].replace("sha256:", f"{namespace}.sha256-"): "INC-1"}
    return write("configmaps", "lastgood-quarantine", {"data": data})


BEGUN = [snapshot(V1), snapshot(V2), deployment(V2), workload(V2), deployment(V2, V2)]
SWITCHED = [*BEGUN, record(**to(V1)), workload(V1), deployment(V2, V1)]
EMERGENCY = write(
    "modelrollbacks",
    "rb",
    {
        "metadata": {
            "name": "rb",
            "uid": "1",
            "annotations": {INTENT: json.dumps({"snapshot": V1[0], "digest": V1[1]})},
        },
        "spec": {"deployment": {"name": "digits"}},
    },
)


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(BEGUN, id="forward"),
        pytest.param([*SWITCHED, record(**to(V1), outcome="Succeeded")], id="rollback"),
        pytest.param([*BEGUN, EMERGENCY, workload(V1)], id="an emergency's intent"),
        pytest.param(
            [
                *BEGUN,
                record(),
                deployment(V2, V2, activeRollback={"name": "rb", "intent": to(V1)["target"]}),
                workload(V1),
            ],
            id="a lock's intent",
        ),
        pytest.param([*BEGUN, workload(V1, ours=False), workload(V2)], id="drift"),
        pytest.param([*SWITCHED[:-1], workload(V2, ours=False), workload(V1)], id="somebody wrote in between"),
        pytest.param([*BEGUN, quarantine(V1), workload(V1, ours=False)], id="somebody else may"),
        pytest.param(
            [*BEGUN, quarantine(V1, "other"), record(**to(V1)), workload(V1)], id="quarantined in another namespace"
        ),
        pytest.param([*BEGUN, write("modelrollbacks", "", {}, verb="deletecollection")], id="all of a kind deleted"),
    ],
)
def test_history_that_is_right(history: list[Body]) -> None:
    assert History().read(history) == []


@pytest.mark.parametrize(
    ("history", "wrong"),
    [
        pytest.param([*BEGUN, workload(V1)], "nobody intended that", id="no intent"),
        pytest.param([*BEGUN, record(**to(V3)), workload(V1)], "nobody intended that", id="another intent"),
        pytest.param(
            [*BEGUN, record(**to(V1), outcome="Failed"), workload(V1)], "nobody intended that", id="after the outcome"
        ),
        pytest.param(
            [*SWITCHED[:-1], workload(V2), workload(V1)], "2 template changes for one record", id="switched twice"
        ),
        pytest.param([*BEGUN, quarantine(V1), record(**to(V1)), workload(V1)], "is quarantined", id="quarantined"),
        pytest.param([snapshot(V2, verified=False), *BEGUN[2:]], "was never verified", id="not verified"),
        pytest.param(
            [*SWITCHED, record(**to(V1), outcome="Failed"), record(**to(V1), outcome="Succeeded")],
            "Failed became Succeeded",
            id="an outcome that changed",
        ),
        pytest.param(
            [*SWITCHED, workload(V2, ours=False), record(**to(V1), outcome="Succeeded")],
            "Succeeded, and digits-v2 is bound",
            id="succeeded with something else",
        ),
    ],
)
def test_history_that_is_wrong(history: list[Body], wrong: str) -> None:
    found = History().read(history)
    assert len(found) == 1
    assert wrong in found[0]


def test_log_is_read_from_a_place_on_and_without_what_failed_or_is_not_whole(tmp_path: Path) -> None:
    log = tmp_path / "audit.log"
    refused = {**workload(V1), "responseStatus": {"code": 403}}
    lines = [json.dumps(item, separators=(",", ":")) for item in (workload(V2), refused, workload(V1))]
    log.write_text("\n".join(lines) + "\n" + lines[0][:50])
    assert [event["responseObject"] for event in events(log, len(lines[0]) + 1)] == [workload(V1)["responseObject"]]


def test_writes_are_in_the_order_in_which_they_were_made(tmp_path: Path) -> None:
    """The line of a write may come after that of another one, which follows from it."""
    log = tmp_path / "audit.log"
    made = [workload(V2), workload(V1), write("modelrollbacks", "rb", {}, verb="delete")]
    for version, event in zip((7, 6), made, strict=False):
        event["responseObject"]["metadata"]["resourceVersion"] = str(version)
    log.write_text("".join(json.dumps(item, separators=(",", ":")) + "\n" for item in made))
    assert [event["verb"] for event in events(log, 0)] == ["patch", "delete", "patch"]
    assert [version_of(event) for event in events(log, 0)] == [6, 0, 7]

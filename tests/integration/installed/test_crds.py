"""What the API server accepts, what it refuses and with which sentence, and what `kubectl` shows of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import yaml

from deploy.sync import ROOT
from tests.integration.manifests import DIGEST, ENV, RECORD, Body, deployment, put, rollback, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cluster import Cluster

NAMESPACE = "crds"
COLUMNS = 120


@pytest.fixture(scope="module")
def cluster(api: Cluster) -> Iterator[Cluster]:
    """A cluster with the definitions, and a namespace that is gone afterwards."""
    api.kubectl("create", "namespace", NAMESPACE)
    yield api
    api.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


IMAGE = {"image": {"container": "server"}, "value": "$(image)"}
NOTE = {"annotation": {"name": "example.com/model"}, "value": "$(name) $(version) $(digest) $(uri)"}
HTTP = {"name": "accuracy", "http": {"url": "http://server.ml.svc/m.json"}, "failureCondition": "result.x > 1"}
WORKLOAD: Body = {"name": "runs", "workload": {}}
CHECK = {"name": "accuracy", "http": {"url": "http://server.ml.svc/m.json"}, "successCondition": "result.x < 1"}


def refusal(cluster: Cluster, manifest: Body) -> str:
    """Return the words with which `kubectl apply` refuses a manifest, empty if it does not."""
    text = yaml.safe_dump(manifest)
    done = cluster.kubectl("-n", NAMESPACE, "apply", "--dry-run=server", "-f", "-", stdin=text, check=False)
    return done.stderr if done.returncode else ""


def at_path(path: str) -> Body:
    return snapshot(source={"store": {"path": path}})


def bound(*bindings: Body) -> Body:
    return deployment(bindings=list(bindings))


def triggered(*triggers: Body) -> Body:
    return deployment(triggers=list(triggers))


REFUSED = [
    (snapshot(digest="sha256:abc"), "spec.digest", "paste what `lastgood digest PATH` prints"),
    (snapshot(digest=DIGEST + "0"), "spec.digest", "64 lowercase hexadecimal digits"),
    (snapshot(digest=f"sha256:{'A' * 64}"), "spec.digest", "64 lowercase hexadecimal digits"),
    (snapshot(digest=f"md5:{'0' * 64}"), "spec.digest", "must be 'sha256:'"),
    (at_path("digits/../../etc/shadow"), "spec.source.store.path", "must not contain '.' or '..' segments"),
    (at_path(".."), "spec.source.store.path", "must not contain '.' or '..' segments"),
    (at_path("./digits"), "spec.source.store.path", "must not contain '.' or '..' segments"),
    (at_path("/etc/shadow"), "spec.source.store.path", "remove the leading '/'"),
    (at_path("digits//1"), "spec.source.store.path", "remove the doubled or trailing '/'"),
    (at_path("digits/"), "spec.source.store.path", "remove the doubled or trailing '/'"),
    (at_path("digits\\1"), "spec.source.store.path", "separate the segments with '/'"),
    (at_path("digits/\n1"), "spec.source.store.path", "control or invisible characters"),
    (at_path("digits/\u202e1"), "spec.source.store.path", "control or invisible characters"),
    (at_path(""), "spec.source.store.path", "at least 1 chars long"),
    (at_path("x" * 1025), "spec.source.store.path", "may not be more than 1024"),
    (snapshot(source={"pvc": {"claimName": "models", "path": "../1"}}), "spec.source.pvc.path", "'.' or '..' segments"),
    (snapshot(source={"pvc": {"claimName": "models", "path": "/1"}}), "spec.source.pvc.path", "the leading '/'"),
    (snapshot(source={"pvc": {"claimName": "Models", "path": "1"}}), "spec.source.pvc.claimName", "lowercase letters"),
    (
        snapshot(source={"store": {"path": "a"}, "pvc": {"claimName": "models", "path": "a"}}),
        "spec.source",
        "source must name exactly one place",
    ),
    (snapshot(source={}), "spec.source", "give one of `store` (the operator's own volume), `pvc`"),
    (snapshot(source={"ftp": {"host": "b"}}), "spec.source.ftp", "unknown field"),
    (snapshot(model="Digits 1"), "spec.model", "must be a DNS label"),
    (snapshot(runtime={"image": "a b"}), "spec.runtime.image", "must not contain white space"),
    (snapshot(trainedAt="yesterday"), "spec.trainedAt", "date-time"),
    (bound(ENV, ENV), "spec.bindings", "two bindings write the same environment variable"),
    (bound(IMAGE, IMAGE), "spec.bindings", "two bindings write the image of one container"),
    (bound(NOTE, {**NOTE, "value": "x"}), "spec.bindings", "two bindings write the same annotation"),
    (bound(), "spec.bindings", "at least 1 items"),
    (bound({"value": "x"}), "spec.bindings[0]", "give one of"),
    (bound({**ENV, **IMAGE}), "spec.bindings[0]", "must name exactly one field"),
    (bound({"argPattern": {"container": "server"}, "value": "x"}), "spec.bindings[0].argPattern", "unknown field"),
    (bound({**ENV, "value": "$(model)"}), "spec.bindings[0].value", "asks for something unknown in '$(...)'"),
    (bound({**ENV, "value": "/lib/evil.so"}), "spec.bindings[0]", "must contain a placeholder"),
    (bound({**NOTE, "value": "enabled"}), "spec.bindings[0]", "must contain a placeholder"),
    (bound({**IMAGE, "value": "evil.example/x:1"}), "spec.bindings[0]", "$(image) and nothing else"),
    (bound({**IMAGE, "value": "$(image)-evil"}), "spec.bindings[0]", "$(image) and nothing else"),
    (bound({**ENV, "value": "$(path)$(HOME)"}), "spec.bindings[0].value", "or holds another '$'"),
    (bound({**ENV, "value": "$$(path)"}), "spec.bindings[0].value", "or holds another '$'"),
    (bound({**ENV, "value": "$(path)\n"}), "spec.bindings[0].value", "control or invisible characters"),
    (bound({**ENV, "value": "$(path)\u202e"}), "spec.bindings[0].value", "control or invisible characters"),
    (bound({**ENV, "value": "$(path)/../x"}), "spec.bindings[0].value", "'..' between slashes"),
    (bound({**ENV, "value": "..\\$(path)"}), "spec.bindings[0].value", "'..' between slashes"),
    (bound({**NOTE, "annotation": {"name": "x.kubernetes.io/y"}}), "annotation.name", "Kubernetes' own"),
    (snapshot(runtime={"image": "a$(b)"}), "spec.runtime.image", "must not contain '$'"),
    (bound({**ENV, "value": "$(path"}), "spec.bindings[0].value", "use $(path), $(uri), $(image)"),
    (bound({**ENV, "value": "$($(path)HOME)"}), "spec.bindings[0].value", "use $(path), $(uri), $(image)"),
    (bound({"env": {"container": "c", "name": "1X"}, "value": "x"}), "spec.bindings[0].env.name", "a digit"),
    (bound({"annotation": {"name": "lastgood.dev/digest"}, "value": "x"}), "annotation.name", "choose another name"),
    (bound({"annotation": {"name": "a b"}, "value": "x"}), "annotation.name", "a qualified name"),
    (deployment(targetRef={"name": "x", "kind": "DaemonSet"}), "spec.targetRef.kind", '"Deployment"'),
    (deployment(snapshot="digits v1"), "spec.snapshot", "must be the name of a ModelSnapshot"),
    (deployment(name="d" * 64), "metadata.name", "choose a shorter name"),
    (triggered(HTTP, HTTP), "spec.triggers[1]", "Duplicate value"),
    (triggered({"name": "a"}), "spec.triggers[0]", "must have exactly one source: give one of"),
    (triggered({**HTTP, **WORKLOAD}), "spec.triggers[0]", "must have exactly one source"),
    (triggered({**HTTP, "failureCondition": None}), "spec.triggers[0]", "needs a failureCondition"),
    (triggered({**WORKLOAD, "failureCondition": "true"}), "spec.triggers[0]", "has no failureCondition"),
    (triggered({"name": "a", "workload": {"on": ["Ugly"]}}), "workload.on[0]", '"CrashLoop"'),
    (triggered({**HTTP, "http": {"url": "file:///etc/shadow"}}), "http.url", "begins with http:// or https://"),
    (triggered({**HTTP, "http": {"url": "http://me:secret@server/"}}), "http.url", "user name or password"),
    (triggered({**HTTP, "interval": "10 seconds"}), "spec.triggers[0].interval", "from 1s to 1h"),
    (triggered({**HTTP, "interval": "500ms"}), "spec.triggers[0].interval", "from 1s to 1h"),
    (triggered({**HTTP, "timeout": "31s"}), "spec.triggers[0].timeout", "from 100ms to 30s"),
    (triggered({**HTTP, "failureThreshold": 0}), "spec.triggers[0].failureThreshold", "greater than or equal to 1"),
    (deployment(rollback={"automatic": ["low"]}), "spec.rollback.automatic[0]", '"critical", "high"'),
    (deployment(rollback={"progressDeadline": "1s"}), "spec.rollback.progressDeadline", "from 5s to 24h"),
    (deployment(rollback={"maxPerHour": 61}), "spec.rollback.maxPerHour", "less than or equal to 60"),
    (deployment(rollback={"knownGood": {"soak": "1 day"}}), "spec.rollback.knownGood.soak", "from 0s to 720h"),
    (deployment(validation={"checks": [{"name": "a"}]}), "spec.validation.checks[0].successCondition", "Required"),
    (rollback(reason=""), "spec.reason", "at least 1 chars long"),
    (rollback(to="Digits V1"), "spec.to", "must be the name of a ModelSnapshot"),
    (rollback(deployment={}), "spec.deployment.name", "Required"),
]


@pytest.mark.parametrize(("manifest", "field", "words"), REFUSED)
def test_mistake_is_refused_with_a_sentence(cluster: Cluster, manifest: Body, field: str, words: str) -> None:
    said = refusal(cluster, manifest)
    assert field in said
    assert words in said


@pytest.mark.parametrize(
    "manifest",
    [
        snapshot(),
        snapshot(
            source={"pvc": {"claimName": "models", "path": "größe 1/..hidden.."}}, runtime={"image": "a/b@sha256:1"}
        ),
        deployment(bindings=[ENV, IMAGE, NOTE]),
        deployment(triggers=[HTTP, WORKLOAD], validation={"checks": [CHECK]}),
        deployment(rollback={"automatic": [], "knownGood": {"require": "Soaked", "soak": "0s"}}),
        triggered({**HTTP, "http": {"url": "https://[::1]:8443/a@b?c=d"}, "interval": "1m30s", "timeout": "100ms"}),
        rollback(before="2026-03-01T00:00:00Z", to="digits-v0", emergency=True),
    ],
)
def test_good_manifest_is_accepted(cluster: Cluster, manifest: Body) -> None:
    assert refusal(cluster, manifest) == ""


def test_client_that_drops_unknown_fields_is_told_what_is_missing(cluster: Cluster) -> None:
    manifest = bound({"argPattern": {"container": "server"}, "value": "x"})
    text = yaml.safe_dump(manifest)
    done = cluster.kubectl(
        "-n", NAMESPACE, "apply", "--dry-run=server", "--validate=ignore", "-f", "-", stdin=text, check=False
    )
    assert "the binding must name exactly one field: give one of" in done.stderr


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (snapshot("fixed"), snapshot("fixed", digest=f"sha256:{'1' * 64}")),
        (snapshot("fixed"), snapshot("fixed", version="2")),
        (rollback("fixed"), rollback("fixed", reason="another one")),
    ],
)
def test_spec_that_is_immutable_cannot_change(cluster: Cluster, before: Body, after: Body) -> None:
    cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=yaml.safe_dump(before))
    said = refusal(cluster, after)
    assert f"spec is immutable: create another {before['kind']}" in said


def test_another_snapshot_may_be_desired_at_any_time(cluster: Cluster) -> None:
    cluster.kubectl("-n", NAMESPACE, "apply", "-f", "-", stdin=yaml.safe_dump(deployment("moves")))
    assert refusal(cluster, deployment("moves", snapshot="digits-v2")) == ""


# Tables ------------------------------------------------------------------------------------------------------------


def condition(type_: str, status: str, reason: str) -> Body:
    return {"type": type_, "status": status, "reason": reason, "lastTransitionTime": "2026-01-01T00:00:00Z"}


def shown_snapshot(name: str, model: str) -> tuple[Body, Body]:
    conditions = [condition("Verified", "False", "DigestMismatch"), condition("Quarantined", "False", "NotQuarantined")]
    verification = {"lastTime": "2026-01-01T00:00:00Z", "reason": "DigestMismatch"}
    return snapshot(name, model=model), {
        "conditions": conditions,
        "verification": verification,
        "sizeBytes": 14 * 10**9,
    }


def shown_deployment(name: str, serving: str, desired: str) -> tuple[Body, Body]:
    conditions = [condition("Healthy", "Unknown", "NoData"), condition("Ready", "False", "RollbackAccepted")]
    status = {"conditions": conditions, "snapshot": serving, "lastKnownGood": serving, "fallback": serving}
    return deployment(name, snapshot=desired), status


def shown_rollback(name: str, source: str, target: str) -> tuple[Body, Body]:
    spec = {"from": {"snapshot": source}, "trigger": {"name": "accuracy-degradation"}, "reason": "it got worse " * 9}
    return rollback(name, **spec), {"target": {"snapshot": target}, "outcome": "Unvalidated"}


def table(cluster: Cluster, *arguments: str) -> list[str]:
    return cluster.kubectl("-n", NAMESPACE, "get", *arguments).stdout.splitlines()


@pytest.fixture(scope="module")
def shown(cluster: Cluster) -> Cluster:
    """Objects such as the first example has, and a family with long names."""
    put(cluster, NAMESPACE, *shown_snapshot("digits-v3", "digits"))
    put(cluster, NAMESPACE, *shown_deployment("digits", "digits-v2", "digits-v3"))
    put(cluster, NAMESPACE, *shown_rollback(f"digits-{RECORD}", "digits-v3", "digits-v2"))
    return cluster


def test_all_three_tables_at_once_fit_into_a_terminal(shown: Cluster) -> None:
    lines = table(shown, "modelsnapshots,modeldeployments,modelrollbacks")
    assert max(map(len, lines)) <= COLUMNS, "\n".join(lines)


@pytest.mark.parametrize(
    ("short", "show"),
    [
        ("msnap", lambda: shown_snapshot("fraud-detector-v12", "fraud-detector")),
        ("mdep", lambda: shown_deployment("fraud-detector", "fraud-detector-v11", "fraud-detector-v12")),
        ("mroll", lambda: shown_rollback(f"fraud-detector-{RECORD}", "fraud-detector-v12", "fraud-detector-v11")),
    ],
)
def test_table_with_long_names_fits_into_a_terminal(
    cluster: Cluster, short: str, show: Callable[[], tuple[Body, Body]]
) -> None:
    put(cluster, NAMESPACE, *show())
    lines = table(cluster, short)
    assert max(map(len, lines)) <= COLUMNS, "\n".join(lines)


def test_table_says_what_serves_and_what_we_would_go_back_to(shown: Cluster) -> None:
    header, row = table(shown, "mdep", "digits")
    assert header.split() == ["NAME", "SERVING", "DESIRED", "HEALTHY", "FALLBACK", "REASON", "AGE"]
    assert row.split()[:6] == ["digits", "digits-v2", "digits-v3", "Unknown", "digits-v2", "RollbackAccepted"]


def test_category_names_all_kinds(shown: Cluster) -> None:
    names = table(shown, "lastgood", "-o", "name")
    assert {name.split(".")[0] for name in names} == {"modelsnapshot", "modeldeployment", "modelrollback"}


# What kubectl explain teaches --------------------------------------------------------------------------------------


def undescribed(node: Body, path: str) -> Iterator[str]:
    for name, child in node.get("properties", {}).items():
        if not child.get("description"):
            yield f"{path}.{name}"
        yield from undescribed(child.get("items", child), f"{path}.{name}")


def test_every_field_is_explained(cluster: Cluster) -> None:
    served = json.loads(cluster.kubectl("get", "--raw", "/openapi/v3/apis/lastgood.dev/v1alpha1").stdout)
    schemas = served["components"]["schemas"]
    for kind in ("ModelSnapshot", "ModelDeployment", "ModelRollback"):
        (found,) = (schema for name, schema in schemas.items() if name.endswith(f".{kind}"))
        described = found["properties"]
        assert {"spec", "status"} <= described.keys()
        assert not list(undescribed({"properties": {key: described[key] for key in ("spec", "status")}}, kind))


def test_explain_teaches_a_newcomer(cluster: Cluster) -> None:
    said = " ".join(cluster.kubectl("explain", "modeldeployment.spec.rollback.knownGood.require").stdout.split())
    assert "an automatic rollback goes only to snapshots that completed their soak here" in said


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "examples").glob("*.yaml")))
def test_example_is_accepted(cluster: Cluster, name: str) -> None:
    cluster.kubectl(
        "apply", "-f", "-", stdin='{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"lastgood-example"}}'
    )
    done = cluster.kubectl("create", "--dry-run=server", "-f", str(ROOT / "examples" / name), check=False)
    assert [line for line in done.stderr.splitlines() if "AlreadyExists" not in line] == []

"""What the Helm chart renders, and that an API server takes it."""

from typing import Any

import pytest
import yaml

from deploy import sync
from tests.cluster import Cluster

NAMESPACE = "lastgood-system"
MODELS = ("modelsnapshots", "modeldeployments", "modelrollbacks")
Body = dict[str, Any]
Rule = tuple[str, str, str]  # group, resource, verb


@pytest.fixture(scope="module")
def cluster(api: Cluster) -> Cluster:
    """The cluster of all: nothing is installed here."""
    return api


def render(cluster: Cluster, *values: str) -> list[Body]:
    argv = ["template", "lastgood", str(sync.CHART), "--namespace", NAMESPACE]
    done = cluster.helm(*argv, *(part for value in values for part in ("--set", value)))
    return [body for body in yaml.safe_load_all(done.stdout) if body]


def of_kind(bodies: list[Body], kind: str) -> list[Body]:
    return [body for body in bodies if body["kind"] == kind]


def operator(bodies: list[Body]) -> Body:
    """Return the pod of the operator's Deployment."""
    (found,) = of_kind(bodies, "Deployment")
    pod: Body = found["spec"]["template"]
    return pod


def environment(bodies: list[Body]) -> dict[str, Any]:
    return {item["name"]: item.get("value") for item in operator(bodies)["spec"]["containers"][0]["env"]}


def rights(roles: list[Body]) -> set[Rule]:
    return {
        (group, resource, verb)
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def some(group: str, resources: tuple[str, ...], *verbs: str) -> set[Rule]:
    return {(group, resource, verb) for resource in resources for verb in verbs}


WATCH = (
    some("lastgood.dev", MODELS, "get", "list", "watch")
    | some("lastgood.dev", tuple(f"{kind}/status" for kind in MODELS), "patch")
    | some("lastgood.dev", ("modelrollbacks",), "create", "delete")
    | some("apps", ("deployments",), "get", "list", "watch", "patch")
    | some("batch", ("jobs",), "create", "get", "list", "watch", "delete")
    | some("", ("pods",), "get", "list")
    | some("", ("events",), "create", "patch")
    | some("lastgood.dev", ("modeltrustpolicies",), "get", "list", "watch")
    | some("", ("configmaps",), "get")  # signature bundles
)
TRUST = some("lastgood.dev", ("clustermodeltrustpolicies",), "get", "list", "watch")
OWN = some("", ("configmaps",), "get", "list", "watch", "patch", "create") | some(
    "coordination.k8s.io", ("leases",), "get", "patch", "create"
)


PEER = "networkPolicy.metricsFrom[0].namespaceSelector.matchLabels.team=monitoring"


def test_derived_manifests_equal_their_source(cluster: Cluster) -> None:
    helm = str(cluster.programs / "helm") if cluster.programs else "helm"
    stale = [str(path.relative_to(sync.ROOT)) for path in sync.differences(helm)]
    assert not stale, f"run `python deploy/sync.py`: {stale}"


def test_operator_may_do_what_it_does_and_nothing_else(cluster: Cluster) -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(render(cluster), "Role")}
    assert rights([roles["lastgood-watch"]]) == WATCH
    assert rights([roles["lastgood-operator"]]) == OWN


def test_only_creating_is_not_limited_to_the_names_that_the_operator_uses(cluster: Cluster) -> None:
    (role,) = [role for role in of_kind(render(cluster), "Role") if role["metadata"]["name"] == "lastgood-operator"]
    unnamed = [rule["verbs"] for rule in role["rules"] if not rule.get("resourceNames")]
    assert unnamed == [["create"], ["create"]]


def test_one_namespace_is_watched_by_default(cluster: Cluster) -> None:
    bodies = render(cluster, "rbac.userRoles=false")
    assert "LASTGOOD_NAMESPACES" not in environment(bodies)
    assert rights(of_kind(bodies, "ClusterRole")) == TRUST
    assert {role["metadata"]["namespace"] for role in of_kind(bodies, "Role")} == {NAMESPACE}


def test_only_named_secrets_may_be_read(cluster: Cluster) -> None:
    roles = of_kind(render(cluster, "sources.secrets={models-s3}"), "Role")
    rules = [rule for role in roles for rule in role["rules"] if "secrets" in rule["resources"]]
    assert [(rule["resourceNames"], rule["verbs"]) for rule in rules] == [(["models-s3"], ["get"])]
    assert rights([role for role in roles if role["metadata"]["name"] == "lastgood-watch"]) == WATCH | some(
        "", ("secrets",), "get"
    )


def test_each_watched_namespace_gets_a_role(cluster: Cluster) -> None:
    bodies = render(cluster, "watch.namespaces={ml,vision}")
    assert environment(bodies)["LASTGOOD_NAMESPACES"] == "ml,vision"
    watchers = [role for role in of_kind(bodies, "RoleBinding") if role["metadata"]["name"] == "lastgood-watch"]
    assert {role["metadata"]["namespace"] for role in watchers} == {"ml", "vision"}
    assert {role["subjects"][0]["namespace"] for role in watchers} == {NAMESPACE}


def test_all_namespaces_need_a_cluster_role(cluster: Cluster) -> None:
    bodies = render(cluster, "watch.all=true", "rbac.userRoles=false")
    assert environment(bodies)["LASTGOOD_NAMESPACES"] == "*"
    assert rights(of_kind(bodies, "ClusterRole")) == WATCH | TRUST
    roles = {role["metadata"]["name"]: role for role in of_kind(bodies, "Role")}
    assert set(roles) == {"lastgood-operator", "lastgood-remembered"}
    assert {role["metadata"]["namespace"] for role in roles.values()} == {NAMESPACE}
    assert rights([roles["lastgood-remembered"]]) == some("", ("configmaps",), "get", "patch")


def test_responder_may_quarantine_and_annotate_but_not_write_workloads(cluster: Cluster) -> None:
    (role,) = [
        body for body in of_kind(render(cluster), "ClusterRole") if body["metadata"]["name"].endswith("responder")
    ]
    may = rights([role])
    assert ("", "configmaps", "patch") in may
    assert ("lastgood.dev", "modeldeployments", "patch") in may
    assert ("apps", "deployments", "patch") not in may
    assert all(
        rule.get("resourceNames") == ["lastgood-quarantine"]
        for rule in role["rules"]
        if "configmaps" in rule["resources"]
    )


@pytest.mark.parametrize("kind", ["claim", "emptyDir"])
def test_pod_passes_the_restricted_standard(cluster: Cluster, kind: str) -> None:
    name = f"strict-{kind.lower()}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted", "pod-security.kubernetes.io/warn": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "lastgood", "namespace": name}}
    cluster.kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all([namespace, account]))
    template = operator(render(cluster, f"store.kind={kind}"))
    pod = {**template, "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "operator", "namespace": name}}
    done = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump(pod))
    assert "Warning" not in done.stderr


@pytest.mark.parametrize(
    ("values", "claim"),
    [
        pytest.param((), "", id="a cluster without a default StorageClass is enough"),
        pytest.param(("store.kind=claim",), "lastgood-store", id="one is made where it is asked for"),
        pytest.param(("store.claim.storageClassName=fast",), "lastgood-store", id="of a class that is named"),
        pytest.param(("store.claim.existing=models",), "models", id="one that is named is mounted"),
        pytest.param(("store.capture=true",), "lastgood-store", id="what is captured must stay"),
    ],
)
def test_the_operator_waits_for_no_claim_that_nobody_asked_for(
    cluster: Cluster, values: tuple[str, ...], claim: str
) -> None:
    bodies = render(cluster, *values)
    volume = next(item for item in operator(bodies)["spec"]["volumes"] if item["name"] == "store")
    assert volume.get("persistentVolumeClaim", {}).get("claimName", "") == claim
    assert bool(of_kind(bodies, "PersistentVolumeClaim")) == (claim == "lastgood-store")


def test_root_and_store_are_read_only(cluster: Cluster) -> None:
    (container,) = operator(render(cluster))["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    mounts = {mount["name"]: mount.get("readOnly") for mount in container["volumeMounts"]}
    assert mounts == {"store": True, "tmp": None, "scratch": None}


def test_operator_may_write_to_the_store_only_where_it_may_capture(cluster: Cluster) -> None:
    bodies = render(cluster, "store.capture=true", "store.captureClaim=snapshots")
    (container,) = operator(bodies)["spec"]["containers"]
    assert next(mount for mount in container["volumeMounts"] if mount["name"] == "store") == {
        "name": "store",
        "mountPath": "/store",
    }
    assert environment(bodies)["LASTGOOD_CAPTURE_CLAIM"] == "snapshots"
    assert "LASTGOOD_CAPTURE_CLAIM" not in environment(render(cluster))


def test_hosts_of_triggers_are_given_with_commas_and_none_by_default(cluster: Cluster) -> None:
    values = ("triggers.hosts[0]=prometheus.monitoring.svc:9090", "triggers.hosts[1]=10.0.0.0/8")
    given = environment(render(cluster, *values, "clusterDomain=corp.internal"))
    assert given["LASTGOOD_TRIGGER_HOSTS"] == "prometheus.monitoring.svc:9090,10.0.0.0/8"
    assert given["LASTGOOD_CLUSTER_DOMAIN"] == "corp.internal"
    assert "LASTGOOD_TRIGGER_HOSTS" not in environment(render(cluster))


def test_scanners_are_given_by_name_and_image_and_none_by_default(cluster: Cluster) -> None:
    values = ("scanners[0].name=acme", "scanners[0].image=registry.example:5000/acme:2", "scanners[1].name=beta")
    bodies = render(cluster, *values, "scanners[1].image=beta")
    assert environment(bodies)["LASTGOOD_SCANNERS"] == "acme=registry.example:5000/acme:2,beta=beta"
    assert "LASTGOOD_SCANNERS" not in environment(render(cluster))


def test_retention_is_off_and_its_limits_are_passed_on(cluster: Cluster) -> None:
    assert not [name for name in environment(render(cluster)) if "RETAIN" in name]
    retention = ["store.retention.keepLast=5", "store.retention.maxBytes=500Gi", "store.retention.apply=true"]
    given = environment(render(cluster, "store.capture=true", "watch.all=true", *retention))
    assert {name: value for name, value in given.items() if "RETAIN" in name} == {
        "LASTGOOD_RETAIN_LAST": "5",
        "LASTGOOD_RETAIN_BYTES": "500Gi",
        "LASTGOOD_RETAIN_APPLY": "true",
    }
    number = environment(render(cluster, "store.retention.maxBytes=536870912000"))
    assert number["LASTGOOD_RETAIN_BYTES"] == "536870912000"


def test_operator_counts_what_it_copies_against_the_size_of_its_volume(cluster: Cluster) -> None:
    bodies = render(cluster, "scratch.sizeLimit=3Gi", "verifyRate=64Mi")
    (volume,) = [item for item in operator(bodies)["spec"]["volumes"] if item["name"] == "scratch"]
    assert volume["emptyDir"]["sizeLimit"] == environment(bodies)["LASTGOOD_SCRATCH_BYTES"] == "3Gi"
    assert environment(bodies)["LASTGOOD_SCRATCH"] == "/scratch"
    assert environment(bodies)["LASTGOOD_VERIFY_BYTES_PER_SECOND"] == "64Mi"


def test_a_large_number_stays_a_number(cluster: Cluster) -> None:
    done = cluster.helm("template", "lastgood", str(sync.CHART), "--set-json", "verifyRate=268435456")
    bodies = [body for body in yaml.safe_load_all(done.stdout) if body]
    assert environment(bodies)["LASTGOOD_VERIFY_BYTES_PER_SECOND"] == "268435456"


def test_verification_jobs_get_the_same_image(cluster: Cluster) -> None:
    bodies = render(
        cluster, "image.repository=registry.example/lastgood", "image.tag=v1", f"image.digest=sha256:{'a' * 64}"
    )
    assert operator(bodies)["spec"]["containers"][0]["image"] == f"registry.example/lastgood:v1@sha256:{'a' * 64}"
    assert environment(bodies)["LASTGOOD_IMAGE"] == f"registry.example/lastgood:v1@sha256:{'a' * 64}"


def test_every_option_renders_what_the_api_server_accepts(cluster: Cluster) -> None:
    options = [
        "replicas=2",
        "podDisruptionBudget.enabled=true",
        "networkPolicy.enabled=true",
        PEER,
        "store.supplementalGroups={7}",
    ]
    more = [
        "store.kind=hostPath",
        "store.hostPath=/srv",
        "priorityClassName=",
        "nodeSelector.a=b",
        "imagePullSecrets[0].name=x",
    ]
    bodies = render(cluster, *options, *more, "crds.install=false")
    cluster.kubectl("create", "namespace", NAMESPACE, check=False)
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "-f", "-", stdin=yaml.safe_dump_all(bodies))
    assert of_kind(bodies, "PodDisruptionBudget")
    assert of_kind(bodies, "NetworkPolicy")
    assert not of_kind(bodies, "PersistentVolumeClaim")


def test_metrics_are_where_the_service_looks_for_them(cluster: Cluster) -> None:
    bodies = render(cluster)
    (service,) = of_kind(bodies, "Service")
    (port,) = [port for port in operator(bodies)["spec"]["containers"][0]["ports"] if port["name"] == "metrics"]
    assert environment(bodies)["LASTGOOD_METRICS"] == f"0.0.0.0:{port['containerPort']}"
    assert service["spec"]["ports"] == [{"name": "metrics", "port": port["containerPort"], "targetPort": "metrics"}]
    assert service["spec"]["selector"].items() <= operator(bodies)["metadata"]["labels"].items()
    assert service["spec"]["clusterIP"] == "None"  # each replica has its own
    assert not of_kind(bodies, "ServiceMonitor")


def test_without_metrics_nothing_listens(cluster: Cluster) -> None:
    bodies = render(cluster, "metrics.enabled=false", "networkPolicy.enabled=true", PEER)
    assert "LASTGOOD_METRICS" not in environment(bodies)
    assert [port["name"] for port in operator(bodies)["spec"]["containers"][0]["ports"]] == ["health"]
    assert not of_kind(bodies, "Service")
    (policy,) = of_kind(bodies, "NetworkPolicy")
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "health"}]}]


def test_service_monitor_finds_the_service(cluster: Cluster) -> None:
    monitor = "metrics.serviceMonitor"
    bodies = render(cluster, f"{monitor}.enabled=true", f"{monitor}.interval=30s", f"{monitor}.labels.release=prom")
    (service,), (found,) = of_kind(bodies, "Service"), of_kind(bodies, "ServiceMonitor")
    assert found["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert found["spec"]["endpoints"] == [{"port": "metrics", "honorLabels": True, "interval": "30s"}]
    assert found["metadata"]["labels"]["release"] == "prom"


def test_who_may_scrape_is_named_where_connections_are_restricted(cluster: Cluster) -> None:
    (closed,) = of_kind(render(cluster, "networkPolicy.enabled=true"), "NetworkPolicy")
    (policy,) = of_kind(render(cluster, "networkPolicy.enabled=true", PEER), "NetworkPolicy")
    probes = {"ports": [{"port": "health"}]}
    peer = {"namespaceSelector": {"matchLabels": {"team": "monitoring"}}}
    assert closed["spec"]["ingress"] == [probes]
    assert policy["spec"]["ingress"] == [probes, {"ports": [{"port": "metrics"}], "from": [peer]}]


@pytest.mark.parametrize("folder", ["base", "all-namespaces"])
def test_kustomize_base_is_accepted(cluster: Cluster, folder: str) -> None:
    cluster.kubectl("create", "namespace", NAMESPACE, check=False)
    cluster.kubectl("apply", "--server-side", "--dry-run=server", "-k", str(sync.ROOT / "deploy" / folder))


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("replica=2", "replica"),
        ("replicas=-1", "replicas"),
        ("watch.namespace=ml", "namespace"),
        ("watch.namespaces={Ml}", "namespaces"),
        ("image.digest=sha256:abc", "digest"),
        ("image.pullPolicy=Sometimes", "pullPolicy"),
        ("reverifyInterval=1 hour", "reverifyInterval"),
        ("verifyRate=fast", "verifyRate"),
        ("scratch.sizeLimit=0", "sizeLimit"),
        ("scratch.sizeLimit=1T", "sizeLimit"),
        ("store.kind=hostPath", "hostPath"),
        ("store.kind=nfs", "kind"),
        ("store.claim.size=much", "size"),
        ("store.claim.accessModes={}", "accessModes"),
        ("store.capture=yes", "capture"),
        ("store.captureClaim=No_Claim", "captureClaim"),
        ("triggers.hosts[0]=http://a b", "hosts"),
        ("triggers.host=a.example", "host"),
        ("clusterDomain=Cluster", "clusterDomain"),
        ("scanners[0].name=acme", "image"),
        ("scanners[0].name=Acme,scanners[0].image=acme", "name"),
        ("scanners[0].name=acme,scanners[0].image=an image", "image"),
        ("store.retention.keepLast=-1", "keepLast"),
        ("store.retention.maxBytes=much", "maxBytes"),
        ("store.retention.apply=true", "store"),
        ("resources.limit.memory=1Gi", "limit"),
        ("metrics.port=1", "port"),
        ("metrics.serviceMonitor.interval=often", "interval"),
        ("networkPolicy.metricsFrom=everybody", "metricsFrom"),
    ],
)
def test_bad_value_is_refused_by_name(cluster: Cluster, value: str, field: str) -> None:
    done = cluster.helm("template", "lastgood", str(sync.CHART), "--set", value, check=False)
    assert done.returncode
    assert field in done.stderr


def test_all_namespaces_and_a_list_of_them_contradict_each_other(cluster: Cluster) -> None:
    values = ["--set", "watch.all=true", "--set", "watch.namespaces={ml}"]
    done = cluster.helm("template", "lastgood", str(sync.CHART), *values, check=False)
    assert "watch" in done.stderr


def test_nothing_can_be_monitored_where_nothing_is_served(cluster: Cluster) -> None:
    values = ["--set", "metrics.enabled=false", "--set", "metrics.serviceMonitor.enabled=true"]
    done = cluster.helm("template", "lastgood", str(sync.CHART), *values, check=False)
    assert "metrics" in done.stderr

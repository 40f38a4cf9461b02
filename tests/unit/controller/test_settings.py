"""Settings: a bad one is refused with a sentence that names its variable."""

from pathlib import Path

import pytest

from lastgood.cli import run
from lastgood.controller.serving.health import Health
from lastgood.errors import TerminalError
from lastgood.settings import NAMES, SettingsError, from_environment, parsed


def test_without_anything_one_namespace_is_looked_after() -> None:
    found = from_environment({}, default_namespace="ml")
    assert (found.namespaces, found.operator_namespace) == (("ml",), "ml")
    assert (found.liveness, found.allow_loopback, found.lease_seconds) == (("0.0.0.0", 8080), False, 6.0)  # noqa: S104
    assert found.identity
    assert found.metrics is None


def test_what_a_chart_sets() -> None:
    environment = {
        "LASTGOOD_NAMESPACES": "ml, prod,ml",
        "LASTGOOD_OPERATOR_NAMESPACE": "ops",
        "POD_NAME": "lastgood-7d-x",
        "LASTGOOD_STORE": "/store",
        "LASTGOOD_IMAGE": "registry/lastgood:1",
        "LASTGOOD_PULL_POLICY": "Never",
        "LASTGOOD_REVERIFY_INTERVAL": "1h30m",
        "LASTGOOD_LIVENESS": "[::]:9000",
        "LASTGOOD_METRICS": "0.0.0.0:9090",
        "LASTGOOD_ALLOW_LOOPBACK": "true",
        "LASTGOOD_LEASE_SECONDS": "15",
        "LASTGOOD_CAPTURE_CLAIM": "snapshots",
        "LASTGOOD_SCANNERS": "acme=registry.example:5000/acme:2@sha256:1, beta=beta",
        "LASTGOOD_VERIFY_BYTES_PER_SECOND": "256Mi",
        "LASTGOOD_SCRATCH": "/scratch",
        "LASTGOOD_SCRATCH_BYTES": "10Gi",
    }
    found = from_environment(environment)
    assert found.namespaces == ("ml", "prod")
    assert (found.operator_namespace, found.identity) == ("ops", "lastgood-7d-x")
    assert (found.store, found.image, found.pull_policy) == (Path("/store"), "registry/lastgood:1", "Never")
    assert (found.reverify_interval, found.lease_seconds) == (5400.0, 15.0)
    assert (found.liveness, found.allow_loopback) == (("::", 9000), True)
    assert found.metrics == ("0.0.0.0", 9090)  # noqa: S104  # Prometheus asks from outside the pod
    assert found.capture_claim == "snapshots"
    assert found.scanners == {"acme": "registry.example:5000/acme:2@sha256:1", "beta": "beta"}
    assert (found.verify_rate, found.scratch, found.scratch_bytes) == (2**28, Path("/scratch"), 10 * 2**30)
    assert found.watches("ml")
    assert not found.watches("other")


def test_retention_is_off_and_deletes_only_what_is_beyond_a_limit() -> None:
    assert not from_environment({}).retain_apply
    found = from_environment({"LASTGOOD_RETAIN_LAST": "5", "LASTGOOD_RETAIN_APPLY": "true"})
    assert (found.retain_last, found.retain_bytes, found.retain_apply) == (5, 0, True)
    assert from_environment({"LASTGOOD_RETAIN_BYTES": "500Gi"}).retain_bytes == 500 * 2**30
    for wrong in ({"LASTGOOD_RETAIN_APPLY": "true"}, {"LASTGOOD_RETAIN_LAST": "-1"}, {"LASTGOOD_RETAIN_LAST": "many"}):
        with pytest.raises(SettingsError, match=next(iter(wrong))):
            from_environment(wrong)


def test_all_namespaces() -> None:
    found = from_environment({"LASTGOOD_NAMESPACES": "*"})
    assert found.namespaces is None
    assert found.watches("anything")


def test_a_flag_outranks_the_environment() -> None:
    found = from_environment(
        {"LASTGOOD_NAMESPACES": "ml", "LASTGOOD_STORE": "/a"}, flags={"namespaces": "x", "store": None}
    )
    assert (found.namespaces, found.store) == (("x",), Path("/a"))


def test_an_empty_variable_is_an_unset_one() -> None:
    found = from_environment(dict.fromkeys(NAMES.values(), ""))
    assert (found.namespaces, found.image, found.store) == (("default",), None, None)
    assert found.liveness is None  # here, empty means nowhere
    assert found.metrics is None


def test_scanners_are_given_one_flag_each() -> None:
    arguments = run.parser().parse_args(["--scanner", "acme=acme:2", "--scanner", "beta=beta:1"])
    found = from_environment({"LASTGOOD_SCANNERS": "gamma=gamma:1"}, flags=run.flags(arguments))
    assert found.scanners == {"acme": "acme:2", "beta": "beta:1"}
    assert from_environment({}, flags=run.flags(run.parser().parse_args([]))).scanners == {}


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("LASTGOOD_NAMESPACES", "Upper"),
        ("LASTGOOD_NAMESPACES", "a b"),
        ("LASTGOOD_NAMESPACES", ","),
        ("LASTGOOD_OPERATOR_NAMESPACE", "a/b"),
        ("LASTGOOD_STORE", "relative/path"),
        ("LASTGOOD_IMAGE", "an image"),
        ("LASTGOOD_PULL_POLICY", "Sometimes"),
        ("LASTGOOD_REVERIFY_INTERVAL", "6"),
        ("LASTGOOD_REVERIFY_INTERVAL", "0s"),
        ("LASTGOOD_REVERIFY_INTERVAL", "99999h"),
        ("LASTGOOD_LIVENESS", "8080"),
        ("LASTGOOD_LIVENESS", "host:99999"),
        ("LASTGOOD_METRICS", "9090"),
        ("LASTGOOD_METRICS", "host:0"),
        ("LASTGOOD_ALLOW_LOOPBACK", "maybe"),
        ("LASTGOOD_VERIFY_BYTES_PER_SECOND", "-1"),
        ("LASTGOOD_VERIFY_BYTES_PER_SECOND", "fast"),
        ("LASTGOOD_SCRATCH", "scratch"),
        ("LASTGOOD_SCRATCH_BYTES", "10Ti"),
        ("LASTGOOD_LEASE_SECONDS", "soon"),
        ("LASTGOOD_LEASE_SECONDS", "1"),
        ("LASTGOOD_LEASE_SECONDS", "nan"),
        ("LASTGOOD_CAPTURE_CLAIM", "No_Claim"),
        ("LASTGOOD_CAPTURE_CLAIM", "c" * 56),
        ("LASTGOOD_SCANNERS", "acme"),
        ("LASTGOOD_SCANNERS", "acme="),
        ("LASTGOOD_SCANNERS", "=acme:1"),
        ("LASTGOOD_SCANNERS", "Acme=acme:1"),
        ("LASTGOOD_SCANNERS", f"{'a' * 64}=acme:1"),
        ("LASTGOOD_SCANNERS", "acme=an image"),
        ("LASTGOOD_SCANNERS", "acme=$(IMAGE)"),
        ("LASTGOOD_SCANNERS", f"acme={'a' * 513}"),
        ("LASTGOOD_SCANNERS", "acme=a:1,acme=a:2"),
        ("LASTGOOD_SCANNERS", ",".join(f"s{number}=i" for number in range(9))),
        ("POD_NAME", "a\x1bb"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(variable: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"^{variable}: must "):
        from_environment({variable: value})


def test_an_abbreviated_option_is_no_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run.parser().parse_args(["--retain-a"])
    assert end.value.code == 2
    assert "--retain-a" in capsys.readouterr().err


async def test_an_address_where_nobody_can_listen_is_a_sentence() -> None:
    with pytest.raises(TerminalError, match=r"LASTGOOD_LIVENESS: cannot listen at 999\.1\.1\.1:18080"):
        await Health(alive=lambda: True, ready=lambda: True).start("999.1.1.1", 18080)


def test_hosts_of_triggers_are_given_one_flag_each() -> None:
    arguments = run.parser().parse_args(["--trigger-host", "a.example:81", "--trigger-host", "*.b.example"])
    found = from_environment({}, flags=run.flags(arguments))
    assert found.trigger_hosts == ("a.example:81", "*.b.example")
    assert from_environment({"LASTGOOD_TRIGGER_HOSTS": "10.0.0.0/8, a.example"}).trigger_hosts == (
        "10.0.0.0/8",
        "a.example",
    )
    assert from_environment({}).trigger_hosts == ()


@pytest.mark.parametrize("text", ["*", "prometheus", "http://a.example", "a.example:0", ",".join(["a.example"] * 65)])
def test_a_host_of_triggers_that_is_none_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match=r"^LASTGOOD_TRIGGER_HOSTS: must name at most|^LASTGOOD_TRIGGER_HOSTS: '"):
        run.checked(parsed({"LASTGOOD_TRIGGER_HOSTS": text}))


@pytest.mark.parametrize("text", ["Cluster.Local", "cluster.local.", ".local", "a..b", "x" * 300])
def test_a_domain_that_is_none_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(SettingsError, match="LASTGOOD_CLUSTER_DOMAIN"):
        from_environment({"LASTGOOD_CLUSTER_DOMAIN": text})

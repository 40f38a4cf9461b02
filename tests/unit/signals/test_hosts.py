"""Whoever may write a ModelDeployment asks Services of its own namespace, and nobody else's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from lastgood.signals.errors import UnusableUrlError
from lastgood.signals.hosts import MOST_HOSTS, HostPolicy, parse_rule, parse_rules

OWN = HostPolicy()
SERVICE = "metrics.ml.svc.cluster.local."


@pytest.mark.parametrize(
    ("url", "absolute", "host", "port"),
    [
        ("http://metrics/x", SERVICE, "metrics", 80),
        ("http://metrics.ml/x", SERVICE, "metrics.ml", 80),
        ("http://metrics.ml.svc/x", SERVICE, "metrics.ml.svc", 80),
        ("http://metrics.ml.svc.cluster.local/x", SERVICE, "metrics.ml.svc.cluster.local", 80),
        ("http://metrics.ml.svc.cluster.local./x", SERVICE, "metrics.ml.svc.cluster.local", 80),
        ("http://metrics./x", SERVICE, "metrics", 80),
        ("http://METRICS.Ml.Svc:9090/x", SERVICE, "metrics.ml.svc", 9090),
        ("https://metrics.ml.svc/x", SERVICE, "metrics.ml.svc", 443),
        ("http://metrics?a=b", SERVICE, "metrics", 80),
        ("http://metrics", SERVICE, "metrics", 80),
        ("http://svc/x", "svc.ml.svc.cluster.local.", "svc", 80),
    ],
)
def test_a_service_of_the_own_namespace_is_asked_by_its_whole_name(
    url: str, absolute: str, host: str, port: int
) -> None:
    target = OWN.target(url, "ml")
    assert (target.url.raw_host, target.host, target.port, target.url.port) == (absolute, host, port, port)


FOREIGN = [
    "http://metrics.other/x",
    "http://metrics.other.svc/x",
    "http://metrics.ml.svc.cluster.local.evil.example/x",
    "http://metrics.ml.svc.evil.example/x",
    "http://metrics.ml.evil/x",
    "http://kubernetes.default.svc/api",
    "http://a.metrics.ml.svc/x",
    "http://10-0-0-1.ml.pod.cluster.local/x",
    "http://prometheus.example/x",
    "http://example.com/x",
    "http://10.0.0.1/x",
    "http://192.168.1.1/x",
    "http://8.8.8.8/x",
    "http://169.254.169.254/latest/meta-data",
    "http://127.0.0.1/x",
    "http://localhost/x",
    "http://localhost.localdomain/x",
    "http://[::1]/x",
    "http://[fd00::1]/x",
    "http://[::ffff:10.0.0.1]/x",
    "http://2130706433/x",
    "http://0x7f000001/x",
    "http://0177.0.0.1/x",
    "http://127.1/x",
    "http://0/x",
    "http://1.ml/x",
    "http://metrics.ml..svc/x",
    "http://metrics../x",
    "http://.metrics/x",
    "http://-metrics/x",
    "http://metrics-/x",
    "http://" + "m" * 64 + "/x",
]
MALFORMED = [
    "http://user@metrics/x",
    "http://user:secret@metrics/x",
    "http://metrics@169.254.169.254/x",
    "http://metrics%2eml/x",
    "http://%6detrics/x",
    "http://metrics%00.evil.example/x",
    "http://metrics\\@evil.example/x",
    "http:\\\\metrics\\x",
    "http://metrics\t.ml/x",
    "http://metrics\n/x",
    "http://metrics /x",
    "http://①.example/x",
    "http://metrics\u3002ml/x",
    "http://mëtrics/x",
    "http://xn--mtrics-4ya:x/x",
    "http://metrics:0/x",
    "http://metrics:65536/x",
    "http://metrics:80:90/x",
    "http://metrics:/x",
    "http://[fe80::1%25eth0]/x",
    "http://[metrics]/x",
    "http://[::1/x",
    "http:///x",
    "http://",
    "http:metrics",
    "//metrics/x",
    "HTTP://metrics/x",
    "ftp://metrics/x",
    "file:///etc/passwd",
    "gopher://metrics/x",
    "",
]


@pytest.mark.parametrize("url", FOREIGN + MALFORMED)
def test_reading_back_another_host_is_refused(url: str) -> None:
    with pytest.raises(UnusableUrlError) as raised:
        OWN.target(url, "ml")
    assert len(str(raised.value)) <= 512
    assert str(raised.value).isprintable()
    assert "secret" not in str(raised.value)


def test_the_refusal_says_what_to_write_and_what_an_administrator_can_do() -> None:
    with pytest.raises(UnusableUrlError) as raised:
        OWN.target("http://prometheus.monitoring.svc:9090/api", "ml")
    assert str(raised.value) == (
        "host prometheus.monitoring.svc is not called: it is not a Service of this namespace (NAME, NAME.ml or "
        "NAME.ml.svc); an administrator can allow it with --trigger-host prometheus.monitoring.svc:9090 "
        "(chart: triggers.hosts)"
    )


LISTED = HostPolicy(
    rules=parse_rules(
        [
            "prometheus.monitoring.svc:9090",
            "*.metrics.example",
            "grafana.example",
            "10.1.0.0/16",
            "192.0.2.7:8080",
            "[2001:db8::7]:8080",
            "fd00:1::/32",
            "*.shared.svc",
        ]
    )
)


@pytest.mark.parametrize(
    ("url", "absolute"),
    [
        ("http://prometheus.monitoring.svc:9090/x", "prometheus.monitoring.svc.cluster.local."),
        ("http://prometheus.monitoring.svc.cluster.local:9090/x", "prometheus.monitoring.svc.cluster.local."),
        ("http://a.metrics.example/x", "a.metrics.example."),
        ("https://a.b.Metrics.Example.:8443/x", "a.b.metrics.example."),
        ("http://grafana.example:3000/x", "grafana.example."),
        ("http://10.1.2.3:9/x", "10.1.2.3"),
        ("http://192.0.2.7:8080/x", "192.0.2.7"),
        ("http://[2001:db8::7]:8080/x", "2001:db8::7"),
        ("http://[fd00:1::5]/x", "fd00:1::5"),
        ("http://anything.shared.svc/x", "anything.shared.svc.cluster.local."),
        ("http://metrics/x", SERVICE),
    ],
)
def test_what_an_administrator_lists_is_asked(url: str, absolute: str) -> None:
    assert LISTED.target(url, "ml").url.raw_host == absolute


@pytest.mark.parametrize(
    "url",
    [
        "http://prometheus.monitoring.svc/x",  # another port
        "http://prometheus.monitoring:9090/x",  # it may as well be a host of the domain `monitoring`
        "http://metrics.example/x",
        "http://evilmetrics.example/x",
        "http://a.metrics.example.evil/x",
        "http://x.grafana.example/x",
        "http://10.2.0.1/x",
        "http://192.0.2.7/x",
        "http://0300.0.2.7:8080/x",
        "http://[::ffff:10.1.2.3]/x",
        "http://127.0.0.1/x",
        "http://shared.svc/x",
    ],
)
def test_what_is_beside_the_list_is_refused(url: str) -> None:
    with pytest.raises(UnusableUrlError):
        LISTED.target(url, "ml")


WRONG = "|*|*.|prometheus|*.1|127.1|0x7f.1|http://a.example|a.example/path|a b.example|a.example:0|a.example:99999"
WRONG += "|a.example:http|10.0.0.1/8|10.0.0.0/33|::1|[10.0.0.1]|*.10.0.0.1|a..example|*.*.example|a.*.example"
WRONG += "|user@a.example|é.example|.example|-a.example|" + "a" * 64 + ".example"


@pytest.mark.parametrize("text", WRONG.split("|"))
def test_an_entry_of_the_list_that_is_none_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match="must "):
        parse_rules([text])


def test_the_list_has_an_end() -> None:
    assert len(parse_rules(["a.example"] * MOST_HOSTS)) == MOST_HOSTS
    with pytest.raises(ValueError, match="at most 64"):
        parse_rules(["a.example"] * (MOST_HOSTS + 1))


def test_an_entry_says_what_it_admits() -> None:
    rule = parse_rule("*.monitoring.svc:9090", "corp.internal")
    assert rule.admits("a.monitoring.svc.corp.internal", 9090)
    assert not rule.admits("a.monitoring.svc.cluster.local", 9090)


def test_another_domain_of_the_cluster() -> None:
    policy = HostPolicy(domain="corp.internal")
    assert policy.target("http://metrics.ml.svc.corp.internal/", "ml").url.raw_host == "metrics.ml.svc.corp.internal."
    with pytest.raises(UnusableUrlError):
        policy.target("http://metrics.ml.svc.cluster.local/", "ml")


def test_without_a_namespace_nothing_is_an_own_service() -> None:
    with pytest.raises(UnusableUrlError):
        OWN.target("http://metrics/", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1:8/x", "http://127.8.8.8/x", "http://[::1]/x", "http://localhost/x"])
def test_loopback_is_asked_where_it_is_allowed(url: str) -> None:
    assert HostPolicy(allow_loopback=True).target(url, "ml").url.port in (8, 80)
    with pytest.raises(UnusableUrlError):
        OWN.target(url, "ml")


CHARACTERS = st.text(st.sampled_from("metrics.mlsvcuo:/@[]?#%\\ 0127x-é。\t"), max_size=40)


@given(rest=CHARACTERS)
def test_whatever_is_written_leads_to_the_own_namespace_or_nowhere(rest: str) -> None:
    try:
        target = OWN.target(f"http://{rest}", "ml")
    except UnusableUrlError:
        return
    assert str(target.url.raw_host).endswith(".ml.svc.cluster.local.")
    assert str(target.url.raw_host).count(".") == 5
    assert URL(str(target.url)).raw_host == target.url.raw_host  # whoever reads it again, reads the same

"""What Prometheus is told of objects as the API server has them; read back with the library's own parsers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from prometheus_client import exposition as text
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

import lastgood
from lastgood.api.fields import format_time
from lastgood.api.names import MetricName, Reason
from lastgood.controller.runtime import Parts, Runtime
from lastgood.controller.serving.metrics import HELP, Rows, Scrape, Seen
from lastgood.kube.access import Access
from lastgood.kube.cache import Cache, Key, Kind
from lastgood.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Body = dict[str, Any]
Labels = frozenset[tuple[str, str]]
NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
DIGEST = f"sha256:{'a' * 64}"
OTHER = f"sha256:{'b' * 64}"
OBJECTS = set(MetricName) - {
    MetricName.BUILD_INFO,
    MetricName.LEADER,
    MetricName.SYNCED,
    MetricName.VERIFICATIONS,
    MetricName.VERIFIED_BYTES,
}


def ago(**time: float) -> datetime:
    return NOW - timedelta(**time)


def conditions(**statuses: str) -> list[Body]:
    return [{"type": type_, "status": status, "reason": "R"} for type_, status in statuses.items()]


def meta(name: str, **more: Any) -> Body:
    return {"namespace": "ml", "name": name, "creationTimestamp": "2026-02-01T00:00:00Z"} | more


def snapshot(name: str = "digits-v1", *, spec: Body | None = None, **status: Any) -> Body:
    """Return a ModelSnapshot that was verified an hour ago."""
    found = {
        "reason": "Verified",
        "lastTime": format_time(ago(hours=1)),
        "verifiedAt": format_time(ago(hours=1)),
        "nextTime": format_time(NOW),
    }
    good = conditions(Verified="True", Ready="True", Restorable="True", Quarantined="False")
    fields = {"model": "digits", "version": "1", "source": {"store": {"path": "1"}}, "digest": DIGEST}
    return {
        "metadata": meta(name),
        "spec": fields | (spec or {}),
        "status": {"digest": DIGEST, "verification": found, "conditions": good} | status,
    }


def deployment(name: str = "digits", **status: Any) -> Body:
    return {"metadata": meta(name), "spec": {"model": "digits"}, "status": status}


def rollback(name: str, outcome: str | None = None, *, namespace: str = "ml") -> Body:
    status = {"outcome": outcome} if outcome else {}
    return {"metadata": meta(name, namespace=namespace), "spec": {}, "status": status}


def seen(
    snapshots: Iterable[Body] = (),
    deployments: Iterable[Body] = (),
    rollbacks: Iterable[Body] = (),
    **more: Any,
) -> Seen:
    cache = Cache()
    for kind, bodies in {
        Kind.SNAPSHOT: snapshots,
        Kind.DEPLOYMENT: deployments,
        Kind.ROLLBACK: rollbacks,
    }.items():
        for body in bodies:
            cache.put(kind, body)
    given: Body = {"now": NOW, "leader": True, "bodies": cache.copy()}
    return Seen(**(given | more))


def told(world: Seen, rows: Rows | None = None) -> dict[str, dict[Labels, float]]:
    """Return what is told, by metric and labels; both formats must say the same."""
    rows = rows or Rows()
    one = _samples(parse_text(text.generate_latest(Scrape(world, rows)).decode()))
    strict = openmetrics.generate_latest(Scrape(world, rows)).decode()  # type: ignore[no-untyped-call]  # theirs
    other = _samples(parse_openmetrics(strict))  # type: ignore[no-untyped-call]  # theirs
    assert one == other
    return one


def _samples(families: Iterable[Any]) -> dict[str, dict[Labels, float]]:
    found: dict[str, dict[Labels, float]] = {}
    for family in families:
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            key = labels(**sample.labels)
            assert key not in values, f"{sample.name} {sample.labels} is told twice"
            values[key] = sample.value
    return found


def labels(**given: str) -> Labels:
    return frozenset(given.items())


DIGITS = labels(namespace="ml", snapshot="digits-v1", model="digits")


def condition_values(found: Mapping[str, Mapping[Labels, float]], name: MetricName) -> dict[str, float]:
    return {dict(key)["condition"]: value for key, value in found.get(name, {}).items()}


# Snapshots ---------------------------------------------------------------------------------------------------------


def test_times_of_a_snapshot_are_those_of_its_status() -> None:
    found = told(seen([snapshot()]))
    assert found[MetricName.SNAPSHOT_VERIFIED] == {DIGITS: ago(hours=1).timestamp()}
    assert found[MetricName.SNAPSHOT_NEXT] == {DIGITS: NOW.timestamp()}
    assert found[MetricName.SNAPSHOT_CREATED] == {DIGITS: datetime(2026, 2, 1, tzinfo=UTC).timestamp()}


def test_snapshot_that_was_never_verified_has_a_time_of_creation_and_no_other() -> None:
    found = told(seen([snapshot(verification=None, digest=None, conditions=conditions(Verified="Unknown"))]))
    assert MetricName.SNAPSHOT_VERIFIED not in found
    assert MetricName.SNAPSHOT_NEXT not in found
    assert list(found[MetricName.SNAPSHOT_CREATED]) == [DIGITS]


def test_what_cannot_be_read_now_keeps_the_time_when_it_was_good() -> None:
    verification = {
        "reason": "Unreadable",
        "lastTime": format_time(NOW),
        "verifiedAt": format_time(ago(days=3)),
        "nextTime": format_time(NOW),
    }
    flags = conditions(Verified="Unknown", Restorable="False", Ready="Unknown", Quarantined="False")
    found = told(seen([snapshot(verification=verification, conditions=flags)]))
    assert found[MetricName.SNAPSHOT_VERIFIED] == {DIGITS: ago(days=3).timestamp()}
    assert condition_values(found, MetricName.SNAPSHOT_CONDITION) == {"Restorable": 0.0, "Quarantined": 0.0}


def test_mismatch_ends_the_time_of_verification() -> None:
    verification = {"reason": "DigestMismatch", "lastTime": format_time(NOW), "nextTime": format_time(NOW)}
    flags = conditions(Verified="False", Restorable="False", Ready="False", Quarantined="False")
    found = told(seen([snapshot(verification=verification, digest=OTHER, conditions=flags)]))
    assert MetricName.SNAPSHOT_VERIFIED not in found
    assert condition_values(found, MetricName.SNAPSHOT_CONDITION)["Verified"] == 0.0


def test_verification_of_another_digest_is_none_of_this_snapshot() -> None:
    assert MetricName.SNAPSHOT_VERIFIED not in told(seen([snapshot(digest=OTHER)]))


@pytest.mark.parametrize(("ahead", "believed"), [(timedelta(seconds=5), True), (timedelta(hours=1), False)])
def test_time_of_verification_that_is_to_come_was_forged(ahead: timedelta, *, believed: bool) -> None:
    later = format_time(NOW + ahead)
    verification = {"reason": "Verified", "lastTime": later, "verifiedAt": later, "nextTime": later}
    world = seen([snapshot(verification=verification)], [deployment(lastKnownGood="digits-v1")])
    found = told(world)
    assert (MetricName.SNAPSHOT_VERIFIED in found) == believed
    assert (MetricName.KNOWN_GOOD_VERIFIED in found) == believed


def test_conditions_are_1_0_or_absent() -> None:
    flags = conditions(Verified="True", Ready="False", Restorable="Unknown", Signed="True")
    found = told(seen([snapshot(conditions=flags)]))
    assert condition_values(found, MetricName.SNAPSHOT_CONDITION) == {"Verified": 1.0, "Ready": 0.0}


def test_snapshot_that_cannot_be_understood_is_there_all_the_same() -> None:
    flags = conditions(Ready="False")
    found = told(seen([snapshot(spec={"digest": "sha256:short"}, conditions=flags), snapshot("digits-v2")]))
    odd = labels(namespace="ml", snapshot="digits-v1", model="")
    assert odd in found[MetricName.SNAPSHOT_CREATED]
    assert odd not in found[MetricName.SNAPSHOT_VERIFIED]
    assert len(found[MetricName.SNAPSHOT_VERIFIED]) == 1
    assert labels(namespace="ml", snapshot="digits-v1", condition="Ready") in found[MetricName.SNAPSHOT_CONDITION]


# Deployments and records -------------------------------------------------------------------------------------------


def test_known_good_of_a_deployment_has_its_age() -> None:
    world = seen(
        [snapshot()], [deployment(lastKnownGood="digits-v1", conditions=conditions(KnownGoodAvailable="True"))]
    )
    found = told(world)
    key = labels(namespace="ml", deployment="digits", snapshot="digits-v1")
    assert found[MetricName.KNOWN_GOOD_VERIFIED] == {key: ago(hours=1).timestamp()}
    assert condition_values(found, MetricName.DEPLOYMENT_CONDITION) == {"KnownGoodAvailable": 1.0}


@pytest.mark.parametrize("known_good", ["", "digits-v0", None], ids=["none", "one that is gone", "no status"])
def test_deployment_without_a_known_good_has_no_age_of_one(known_good: str | None) -> None:
    world = seen(
        [snapshot()], [deployment(lastKnownGood=known_good, conditions=conditions(KnownGoodAvailable="False"))]
    )
    found = told(world)
    assert MetricName.KNOWN_GOOD_VERIFIED not in found
    assert condition_values(found, MetricName.DEPLOYMENT_CONDITION) == {"KnownGoodAvailable": 0.0}


def test_known_good_is_looked_for_in_the_same_namespace() -> None:
    elsewhere = snapshot()
    elsewhere["metadata"]["namespace"] = "other"
    assert MetricName.KNOWN_GOOD_VERIFIED not in told(seen([elsewhere], [deployment(lastKnownGood="digits-v1")]))


def test_records_are_counted_by_outcome_and_namespace() -> None:
    records = [
        rollback("a", "Succeeded"),
        rollback("b", "Succeeded"),
        rollback("c", "Failed"),
        rollback("d"),
        rollback("e", "Nonsense"),
        rollback("f", "Failed", namespace="other"),
    ]
    assert told(seen(rollbacks=records))[MetricName.ROLLBACKS] == {
        labels(namespace="ml", outcome="Succeeded"): 2.0,
        labels(namespace="ml", outcome="Failed"): 1.0,
        labels(namespace="ml", outcome="InProgress"): 2.0,
        labels(namespace="other", outcome="Failed"): 1.0,
    }


# The process -------------------------------------------------------------------------------------------------------


def test_before_the_first_lists_are_in_nothing_is_told_of_objects() -> None:
    found = told(seen(bodies=None, leader=False))
    assert found[MetricName.SYNCED] == {labels(): 0.0}
    assert found[MetricName.LEADER] == {labels(): 0.0}
    assert not OBJECTS & found.keys()


def test_standby_tells_of_objects_too() -> None:
    found = told(seen([snapshot()], leader=False))
    assert found[MetricName.LEADER] == {labels(): 0.0}
    assert found[MetricName.SYNCED] == {labels(): 1.0}
    assert DIGITS in found[MetricName.SNAPSHOT_VERIFIED]


def test_verifications_are_counted_from_0() -> None:
    found = told(seen(verifications={Reason.UNREADABLE: 3}, verified_bytes=2**62))
    assert found[MetricName.VERIFICATIONS] == {
        labels(reason="Verified"): 0.0,
        labels(reason="DigestMismatch"): 0.0,
        labels(reason="Unreadable"): 3.0,
    }
    assert found[MetricName.VERIFIED_BYTES] == {labels(): float(2**62)}
    assert found[MetricName.BUILD_INFO] == {labels(version=lastgood.__version__): 1.0}


# The text ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "model",
    [
        'a",injected="1',
        'a"} 1\nlastgood_leader 1\n#',
        "a\\",
        "a\nb",
        "a\rb",
        "# HELP x y",
        "\u2028\x00\x1b[31m",
        "{},= ",
        "\ud800",
        "🦀",
    ],
)
def test_label_that_attacks_the_format_is_a_label(model: str) -> None:
    found = told(seen([snapshot(spec={"model": model})], leader=False))
    sent = model.replace("\ud800", "?")
    assert list(found[MetricName.SNAPSHOT_VERIFIED]) == [labels(namespace="ml", snapshot="digits-v1", model=sent)]
    assert found[MetricName.LEADER] == {labels(): 0.0}


def test_nonsense_in_a_status_of_one_keeps_nothing_of_the_others_back() -> None:
    odd: list[Body] = [
        snapshot("odd-1", verification={"lastTime": 5, "nextTime": "soon", "verifiedAt": {}}, conditions="none"),
        snapshot("odd-2", verification=[1], conditions=[{"type": ["Ready"], "status": 1}, "x"], digest={}),
        {"metadata": meta("odd-3")},
    ]
    deployments = [deployment("odd", lastKnownGood=["digits-v1"], conditions={"a": 1}), {"metadata": meta("bare")}]
    found = told(seen([*odd, snapshot()], deployments, [{"metadata": meta("r"), "status": {"outcome": 7}}]))
    assert list(found[MetricName.SNAPSHOT_VERIFIED]) == [DIGITS]
    assert len(found[MetricName.SNAPSHOT_CREATED]) == 4


def families() -> list[Any]:
    world = seen(
        [snapshot()],
        [deployment(lastKnownGood="digits-v1", conditions=conditions(Ready="True"))],
        [rollback("a", "Failed")],
    )
    return list(parse_text(text.generate_latest(Scrape(world, Rows())).decode()))


def test_every_metric_has_help_and_a_type() -> None:
    found = families()
    assert {family.name for family in found} == {name.removesuffix("_total") for name in MetricName}
    assert {family.documentation for family in found} == set(HELP.values())
    assert {family.type for family in found} == {"gauge", "counter"}


@pytest.mark.parametrize("name", list(MetricName))
def test_names_follow_the_conventions_of_prometheus(name: MetricName) -> None:
    (family,) = [family for family in families() if family.name == name.removesuffix("_total")]
    assert name.startswith("lastgood_")
    assert (family.type == "counter") == name.endswith("_total")
    assert HELP[name].endswith(".")
    assert all(set(sample.labels) <= LABELS for sample in family.samples)


LABELS = {"namespace", "snapshot", "model", "deployment", "condition", "outcome", "reason", "version"}


# What a scrape costs -----------------------------------------------------------------------------------------------


def test_only_what_has_changed_is_parsed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from lastgood.controller.serving import metrics  # noqa: PLC0415  # its own names are wrapped below

    parsed: list[str] = []
    reader = metrics._READERS[Kind.SNAPSHOT]  # noqa: SLF001  # what is counted

    def counting(body: Body) -> Any:
        parsed.append(body["metadata"]["name"])
        return reader(body)

    monkeypatch.setattr(metrics, "_READERS", {Kind.SNAPSHOT: counting})
    cache, rows = Cache(), Rows()
    for name in ("a", "b"):
        cache.put(Kind.SNAPSHOT, versioned(snapshot(name), 1))
    assert set(rows.read(cache.copy())) == {Key(Kind.SNAPSHOT, "ml", "a"), Key(Kind.SNAPSHOT, "ml", "b")}
    cache.put(Kind.SNAPSHOT, versioned(snapshot("b"), 2))
    rows.read(cache.copy())
    assert parsed == ["a", "b", "b"]


def test_what_is_gone_is_told_no_more() -> None:
    cache, rows = Cache(), Rows()
    cache.put(Kind.SNAPSHOT, versioned(snapshot(), 1))
    assert DIGITS in told(Seen(now=NOW, leader=True, bodies=cache.copy()), rows)[MetricName.SNAPSHOT_VERIFIED]
    cache.drop(Key(Kind.SNAPSHOT, "ml", "digits-v1"))
    assert not OBJECTS & told(Seen(now=NOW, leader=True, bodies=cache.copy()), rows).keys()


def test_scrape_does_not_see_what_changes_meanwhile() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, versioned(snapshot(), 1))
    taken = Seen(now=NOW, leader=True, bodies=cache.copy())
    cache.put(Kind.SNAPSHOT, versioned(snapshot("digits-v2"), 1))
    cache.put(Kind.SNAPSHOT, versioned(snapshot(verification=None), 2))
    assert told(taken)[MetricName.SNAPSHOT_VERIFIED] == {DIGITS: ago(hours=1).timestamp()}


def versioned(body: Body, version: int) -> Body:
    return {**body, "metadata": {**body["metadata"], "resourceVersion": str(version)}}


def test_runtime_tells_of_objects_only_once_it_has_listed_all_of_them() -> None:
    unused: Any = SimpleNamespace()
    parts: list[Parts] = []

    def make(given: Parts) -> Any:
        parts.append(given)

    settings = Settings(namespaces=("ml",), operator_namespace="ml", identity="operator-0")
    unused.access = Access()
    runtime = Runtime(unused, settings, make)
    cache = parts[0].cache
    cache.put(Kind.SNAPSHOT, snapshot())
    assert runtime.seen().bodies is None
    cache.complete = True
    assert list(runtime.seen().bodies or ()) == [Key(Kind.SNAPSHOT, "ml", "digits-v1")]

"""Is an operator there? The Lease decides, by the API server's clock, and a second look outranks every clock."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from lastgood.cli.oncall.cluster import Cluster, ClusterError, MissingError
from lastgood.cli.oncall.presence import presence

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def lease(holder: str = "pod-0", renewed: float = 1.0, version: int = 1, namespace: str = "ops") -> dict[str, Any]:
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": 6,
        "renewTime": (NOW - timedelta(seconds=renewed)).isoformat(),
    }
    meta = {"namespace": namespace, "name": "lastgood", "uid": f"u-{namespace}", "resourceVersion": str(version)}
    return {"metadata": meta, "spec": spec}


class World(Cluster):
    """Answers with one list of Leases after another; `hidden` are the namespaces that may not be read, "" is all."""

    def __init__(self, *looks: list[dict[str, Any]], hidden: tuple[str, ...] = ()) -> None:
        self.namespace = "ml"
        self._looks = list(looks)
        self._hidden = hidden
        self.slept: list[float] = []

    def _next(self, namespace: str) -> list[dict[str, Any]]:
        if namespace in self._hidden:
            raise ClusterError(f"you may not read leases in {namespace or 'all namespaces'}")
        return self._looks.pop(0) if len(self._looks) > 1 else self._looks[0]

    def leases(self, name: str) -> tuple[list[Mapping[str, Any]], datetime]:
        assert name == "lastgood"
        return [*self._next("")], NOW

    def get_from(self, plural: object, name: str, namespace: str) -> tuple[Mapping[str, Any], datetime]:
        found = [item for item in self._next(namespace) if item["metadata"]["namespace"] == namespace]
        if not found:
            raise MissingError(f"{plural}/{name} is not there", NOW)
        return found[0], NOW

    def ask(self, namespace: str | None = None) -> tuple[bool | None, str]:
        found = presence(self, namespace, sleep=self.slept.append)
        return found.there, found.warning


def test_lease_that_is_renewed_is_an_operator() -> None:
    world = World([lease()])
    assert world.ask() == (True, "")
    assert world.slept == []


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ([], "there is no Lease 'lastgood' in any namespace"),
        ([lease(holder="")], "nobody holds the Lease ops/lastgood"),
        ([lease(renewed=60)], "the Lease ops/lastgood of pod-0 expired 54 s ago"),
        ([{"metadata": {"namespace": "ops", "name": "lastgood"}, "spec": {"holderIdentity": "x"}}], "never renewed"),
    ],
    ids=["no Lease", "released", "expired", "nonsense"],
)
def test_lease_that_nobody_keeps_is_warned_of(found: list[dict[str, Any]], words: str) -> None:
    there, warning = World(found).ask()
    assert there is False
    assert words in warning
    assert warning.startswith("warning: no operator is running")
    assert warning.endswith("requests wait until one is")


@pytest.mark.parametrize("renewed", [600, -600])
def test_a_wrong_clock_is_no_alarm(renewed: float) -> None:
    world = World([lease(renewed=renewed)], [lease(renewed=renewed, version=2)])
    assert world.ask() == (True, "")


def test_one_of_two_operators_is_enough() -> None:
    assert World([lease(renewed=60, namespace="old"), lease()]).ask()[0] is True


def test_what_may_not_be_read_is_said_and_not_guessed() -> None:
    there, warning = World([], hidden=("", "lastgood-system", "ml")).ask()
    assert there is None
    assert warning.startswith("warning: cannot check for a running operator: you may not read leases")
    assert "--operator-namespace" in warning


def test_without_the_right_to_look_everywhere_the_usual_namespace_is_looked_at() -> None:
    assert World([lease(namespace="lastgood-system")], hidden=("",)).ask() == (True, "")


def test_an_operator_beside_the_models_is_found_where_the_usual_namespace_is_hidden() -> None:
    assert World([lease(namespace="ml")], hidden=("", "lastgood-system")).ask() == (True, "")


def test_a_place_that_is_hidden_may_hold_the_operator() -> None:
    assert World([], hidden=("", "lastgood-system")).ask()[0] is None


def test_a_named_namespace_is_the_only_one() -> None:
    there, warning = World([lease()]).ask("elsewhere")
    assert there is False
    assert "there is no Lease 'lastgood' in namespace elsewhere" in warning

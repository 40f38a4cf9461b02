"""What is observed is what the cache has now, whatever was parsed before."""

from datetime import timedelta
from typing import Any

from lastgood.api.specs.deployment import ModelDeployment
from lastgood.kube.cache import Cache, Key, Kind
from lastgood.kube.memory import Memory
from lastgood.kube.observe import Invalid, Observer

KEY = Key(Kind.WORKLOAD, "ml", "server")


def body(version: int) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "ml", "name": "server", "uid": "1", "resourceVersion": str(version)},
        "spec": {"replicas": version},
    }


def observer(cache: Cache) -> Observer:
    nothing: Any = None
    return Observer(
        client=nothing,
        cache=cache,
        companions=nothing,
        quarantine=nothing,
        trust=nothing,
        memory=Memory(),
        remembered=nothing,
        reverify=timedelta(hours=1),
        judge=lambda _: {},
    )


def test_body_that_takes_the_place_of_one_that_is_gone_is_parsed() -> None:
    """Python gives the id of an object that is gone to another one: what was parsed of the first was taken for it.

    So a workload whose pods were there was `starting` until it changed again, and an emergency was not seen.
    """
    cache = Cache()
    observed, stale, given_again = observer(cache), 0, 0
    beside = body(1)
    beside["metadata"]["name"] = "another"
    cache.put(Kind.WORKLOAD, beside)
    bodies = [body(version) for version in range(1, 3003)]
    for version in range(0, 3000, 3):
        cache.put(Kind.WORKLOAD, bodies[version])
        observed._parse(KEY)  # noqa: SLF001  # it is what every pass asks
        first = id(cache.get(KEY))
        cache.put(Kind.WORKLOAD, bodies[version + 1])  # nobody looks at this one
        others: list[dict[str, str]] = [{} for _ in range(version % 5)]  # what else is made meanwhile
        cache.put(Kind.WORKLOAD, bodies[version + 2])
        given_again += id(cache.get(KEY)) == first
        found = observed._parse(KEY)  # noqa: SLF001  # the same
        stale += found.meta.resource_version != str(version + 3)
        others.clear()
    assert stale == 0
    assert given_again == 0, "the body that was parsed is kept, and so is its id"


def test_body_is_parsed_once() -> None:
    cache = Cache()
    observed = observer(cache)
    cache.put(Kind.WORKLOAD, body(1))
    assert observed._parse(KEY) is observed._parse(KEY)  # noqa: SLF001  # it is what every pass asks
    assert not isinstance(observed._parse(KEY), ModelDeployment)  # noqa: SLF001  # the same


def deployment(version: int, *, uid: str = "1", model: str = "digits", **status: Any) -> dict[str, Any]:
    spec = {
        "model": model,
        "snapshot": "digits-v1",
        "targetRef": {"name": "server"},
        "bindings": [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "/models/$(path)"}],
    }
    metadata = {"namespace": "ml", "name": "digits", "uid": uid, "resourceVersion": str(version)}
    metadata["annotations"] = {"lastgood.dev/rollback": str(version)}  # type: ignore[assignment]  # JSON
    return {"metadata": metadata, "spec": spec, "status": status}


def test_deployment_is_what_its_last_body_says_also_where_its_spec_is_not_read_again() -> None:
    cache, key = Cache(), Key(Kind.DEPLOYMENT, "ml", "digits")
    observed = observer(cache)
    for body_ in (
        deployment(1),
        deployment(2, uid="1", snapshot="digits-v1", digest="sha256:" + "a" * 64),
        deployment(3, uid="1", snapshot="digits-v2"),
        deployment(4, uid="2", snapshot="digits-v2"),  # made anew
        deployment(5, uid="2", model="letters"),
        deployment(6, uid="2", model=""),
        deployment(7, uid="2", model="letters", snapshot="digits-v3"),
    ):
        cache.put(Kind.DEPLOYMENT, body_)
        found = observed._parse(key)  # noqa: SLF001  # it is what every pass asks
        if body_["spec"]["model"]:
            assert found == ModelDeployment.from_body(body_)
        else:
            assert isinstance(found, Invalid)

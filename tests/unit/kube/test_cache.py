"""The cache: the newest body of each object, found by the questions that are asked."""

from typing import Any

from lastgood.api.names import OPT_IN_LABEL
from lastgood.kube.cache import LAST_APPLIED, Cache, Key, Kind

Body = dict[str, Any]


def body(name: str = "a", *, version: int | str = 1, uid: str = "u1", **more: Any) -> Body:
    metadata = {"name": name, "namespace": "ml", "uid": uid, "resourceVersion": str(version)}
    return {"metadata": metadata | more.pop("metadata", {}), **more}


KEY = Key(Kind.SNAPSHOT, "ml", "a")


def test_an_older_body_does_not_replace_a_newer_one() -> None:
    cache = Cache()
    assert cache.put(Kind.SNAPSHOT, body(version=10, spec={"model": "new"}))
    assert not cache.put(Kind.SNAPSHOT, body(version=9, spec={"model": "old"}))
    assert not cache.put(Kind.SNAPSHOT, body(version=10))
    assert (cache.get(KEY) or {})["spec"] == {"model": "new"}


def test_versions_are_compared_as_numbers() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, body(version=9))
    assert cache.put(Kind.SNAPSHOT, body(version=10))


def test_versions_that_are_no_numbers_only_tell_that_something_changed() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, body(version="b"))
    assert not cache.put(Kind.SNAPSHOT, body(version="b"))
    assert cache.put(Kind.SNAPSHOT, body(version="a"))


def test_a_late_delete_does_not_drop_the_successor() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, body(version=1, uid="old"))
    cache.put(Kind.SNAPSHOT, body(version=2, uid="new"))
    assert not cache.drop(KEY, uid="old")
    assert cache.get(KEY) is not None
    assert cache.drop(KEY, uid="new")
    assert cache.get(KEY) is None


def test_snapshots_are_found_by_model_and_follow_it() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, body("a", spec={"model": "digits"}))
    cache.put(Kind.SNAPSHOT, body("b", spec={"model": "faces"}))
    assert [found["metadata"]["name"] for found in cache.related(Kind.SNAPSHOT, "ml", "digits")] == ["a"]
    cache.put(Kind.SNAPSHOT, body("a", version=2, spec={"model": "faces"}))
    assert cache.related(Kind.SNAPSHOT, "ml", "digits") == []
    assert len(cache.related(Kind.SNAPSHOT, "ml", "faces")) == 2


def test_whatever_bears_a_digest_is_found_by_it_and_follows_it() -> None:
    cache, served = Cache(), Key(Kind.DEPLOYMENT, "ml", "d")
    cache.put(Kind.SNAPSHOT, body(spec={"digest": "sha256:a"}))
    cache.put(Kind.DEPLOYMENT, body("d", spec={"digest": "sha256:b"}, status={"digest": "sha256:a"}))
    assert cache.bearing("sha256:a") == (KEY, served)
    assert cache.bearing("sha256:b") == ()
    cache.put(Kind.DEPLOYMENT, body("d", version=2, status={"digest": "sha256:c"}))
    cache.drop(KEY)
    assert (cache.bearing("sha256:a"), cache.bearing("sha256:c")) == ((), (served,))
    assert cache.bearing("") == ()


def test_rollbacks_and_workloads_are_found_by_their_deployment() -> None:
    cache = Cache()
    cache.put(Kind.ROLLBACK, body("r", spec={"deployment": {"name": "digits"}}))
    cache.put(Kind.WORKLOAD, body("w", metadata={"labels": {OPT_IN_LABEL: "digits"}}))
    for kind in (Kind.ROLLBACK, Kind.WORKLOAD):
        assert len(cache.related(kind, "ml", "digits")) == 1
        assert cache.related(kind, "other", "digits") == []


def test_a_spec_that_is_not_what_the_schema_says_breaks_nothing() -> None:
    cache = Cache()
    specs: tuple[Any, ...] = (None, "text", [], {"deployment": "x"}, {"model": 5})
    for spec in specs:
        cache.put(Kind.ROLLBACK, body("r", spec=spec))
        cache.put(Kind.SNAPSHOT, body("s", spec=spec))
    assert len(cache.keys()) == 2


def test_only_a_workload_keeps_who_manages_its_fields() -> None:
    cache = Cache()
    metadata = {"managedFields": [{"manager": "kubectl"}], "annotations": {LAST_APPLIED: "{}", "mine": "1"}}
    for kind in (Kind.WORKLOAD, Kind.SNAPSHOT):
        cache.put(kind, body(metadata=metadata))
    workload = cache.get(Key(Kind.WORKLOAD, "ml", "a")) or {}
    assert workload["metadata"]["managedFields"] == [{"manager": "kubectl"}]
    assert workload["metadata"]["annotations"] == {"mine": "1"}
    assert "managedFields" not in (cache.get(KEY) or {})["metadata"]
    assert metadata["annotations"] == {LAST_APPLIED: "{}", "mine": "1"}  # the event itself is left alone


def test_list_is_of_one_namespace() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, body("a"))
    cache.put(Kind.SNAPSHOT, body("b", metadata={"namespace": "other"}))
    assert [found["metadata"]["name"] for found in cache.list(Kind.SNAPSHOT, "ml")] == ["a"]
    assert cache.keys([Kind.DEPLOYMENT]) == ()


def test_what_is_dropped_leaves_nothing_behind() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, body(spec={"model": "digits"}))
    cache.drop(KEY)
    assert cache.list(Kind.SNAPSHOT, "ml") == cache.related(Kind.SNAPSHOT, "ml", "digits") == []
    assert not cache.drop(KEY)


def test_copy_for_another_thread_does_not_follow() -> None:
    cache = Cache()
    cache.put(Kind.SNAPSHOT, body(version=1, spec={"model": "old"}))
    copy = cache.copy()
    cache.put(Kind.SNAPSHOT, body(version=2, spec={"model": "new"}))
    cache.put(Kind.SNAPSHOT, body("b"))
    assert {key.name: found["spec"]["model"] for key, found in copy.items()} == {"a": "old"}

"""Snapshots that are elsewhere, for the integration tests: their fields, the Secrets, and where no secret may be."""

import base64
from typing import Any

from tests.integration.world import World
from tests.servers.registry import RegistryServer
from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, S3Server
from tests.servers.samples import FILES, raw

Body = dict[str, Any]
URI = [{"env": {"container": "server", "name": "MODEL_PATH"}, "value": "$(uri)"}]
SHARD = "shards/1/model.safetensors"


def secret(name: str = "store", **data: str) -> Body:
    """Return a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": data}


def s3_secret(server: S3Server, name: str = "store", **changes: str) -> Body:
    """Return the Secret that is right for a store, but for what is said otherwise."""
    good = {"host": server.endpoint, "accessKeyId": ACCESS_KEY, "secretAccessKey": SECRET_KEY}
    return secret(name, **{**good, **changes})


def in_s3(server: S3Server, prefix: str, *, secret_name: str = "store", files: dict[str, bytes] | None = None) -> Body:  # noqa: S107  # the name of a Secret
    """Store a checkpoint below a prefix, and return the source."""
    server.put(prefix, FILES if files is None else files)
    return s3_source(server, prefix, secret_name=secret_name)


def s3_source(server: S3Server, prefix: str, *, secret_name: str = "store") -> Body:  # noqa: S107  # the name of a Secret
    """Return a source without storing anything."""
    reference = {"secretRef": {"name": secret_name}} if secret_name else {}
    return {"s3": {"bucket": "models", "prefix": prefix, "endpoint": server.endpoint, **reference}}


def in_registry(registry: RegistryServer, repository: str, secret_name: str = "") -> Body:
    """Push a checkpoint, and return the source."""
    reference = registry.push(repository, [(content, raw(path)) for path, content in FILES.items()])
    return {"oci": {"reference": reference, **({"secretRef": {"name": secret_name}} if secret_name else {})}}


def remote(world: World, name: str, source: Body, digest: str, **spec: Any) -> Body:
    """Return the ModelSnapshot `digits-v<name>` of a checkpoint that is elsewhere."""
    return world.snapshot(name, digest=digest, source=source, **spec)


def serve_remote(world: World, name: str, source: Body, digest: str, **spec: Any) -> None:
    """Deploy it, and wait until it serves and has soaked."""
    snapshot = remote(world, name, source, digest, **spec)
    world.apply(snapshot, world.workload(), world.deployment(f"digits-v{name}", bindings=URI))
    world.served(f"digits-v{name}")


def verification(world: World, name: str) -> Body:
    """Return what the last verification found."""
    return dict(world.get("modelsnapshot", f"digits-v{name}").get("status", {}).get("verification", {}))


def everything(world: World) -> str:
    """Return all that is to be seen of the operator: objects, Events, and both of its logs."""
    kinds = "modelsnapshots,modeldeployments,modelrollbacks,deployments,replicasets,pods,events,configmaps,leases,jobs"
    logs = (world.operator.logs / name for name in ("operator.log", "security.jsonl"))
    return world.kubectl("get", kinds, "-o", "json") + "".join(path.read_text() for path in logs)


def assert_nowhere(world: World, *values: str) -> None:
    """Make sure that a secret is nowhere to be seen, as it is or encoded as a Secret has it."""
    seen = everything(world)
    assert len(seen) > 1000, "there is something to look at"
    for value in values:
        assert value not in seen
        assert base64.b64encode(value.encode()).decode() not in seen

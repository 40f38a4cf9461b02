"""Signers, bundles and trust policies for the integration tests: real keys, real bundles, applied as people do."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lastgood.api.facts.signature import Claims
from lastgood.verify import FileEntry, digest
from lastgood.verify.signing import PrivateKey, generate_key, sign
from tests.integration.world import World, eventually

Body = dict[str, Any]
POLICY = "modeltrustpolicy"
CLUSTER_POLICY = "clustermodeltrustpolicy"


@dataclass(frozen=True, kw_only=True)
class Signer:
    """Somebody with a key."""

    name: str
    key: PrivateKey = field(default_factory=generate_key)

    def entry(self, **term: str) -> Body:
        """Return the key as a trust policy names it."""
        return {"name": self.name, "publicKey": self.key.public.pem().decode(), **term}

    def bundle(self, files: Sequence[FileEntry], **more: Any) -> str:
        """Return a signature bundle over files."""
        return sign(files, self.key, **more).decode()


def files_of(world: World, version: int | str) -> Sequence[FileEntry]:
    """Return the files of a checkpoint in the store, which is written if missing."""
    world.weights(version, current(world, version))
    return digest(world.store / "digits" / str(version)).files


def current(world: World, version: int | str) -> str | None:
    """Return what a checkpoint holds, if it is there."""
    file = world.store / "digits" / str(version) / "model.bin"
    return file.read_text() if file.exists() else None


def claims(version: int | str, *, data_cutoff: str = "", model: str = "digits", image: str = "") -> Claims:
    """Return what a signer says of a version."""
    cutoff = date(data_cutoff) if data_cutoff else None
    return Claims(model=model, version=str(version), data_cutoff=cutoff, image=image)


def date(day: str) -> datetime:
    """Return the start of a day."""
    return datetime.fromisoformat(day).replace(tzinfo=UTC)


def config_map(name: str, **data: str) -> Body:
    """Return a ConfigMap."""
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def reference(name: str, key: str = "bundle") -> Body:
    """Return an entry of `spec.signatures` that names a key of a ConfigMap."""
    return {"configMapKeyRef": {"name": name, "key": key}}


def signed(world: World, version: int | str, *signers: Signer, about: Claims | None = None, **spec: Any) -> list[Body]:
    """Return a snapshot with one bundle of each signer, and the ConfigMap with the bundles."""
    files = files_of(world, version)
    name = f"bundles-{version}"
    data = {signer.name: signer.bundle(files, claims=about) for signer in signers}
    signatures = [reference(name, signer.name) for signer in signers]
    given = {"digest": digest(world.store / "digits" / str(version)).digest, "signatures": signatures} | spec
    return [config_map(name, **data), world.snapshot(version, **given)]


def policy(world: World, *keys: Body, name: str = "release", cluster: bool = False, **spec: Any) -> Body:
    """Return a policy that requires signatures by keys, where any are given."""
    signatures = {"required": True, "keys": list(keys)} | spec.pop("signatures", {})
    fields = ({"signatures": signatures} if keys else {}) | spec
    return world.body("ClusterModelTrustPolicy" if cluster else "ModelTrustPolicy", name, fields)


def serve_signed(world: World, version: int | str, *signers: Signer, **spec: Any) -> None:
    """Deploy a signed version, and wait until it serves and has soaked."""
    world.apply(*signed(world, version, *signers, **spec), world.workload(), world.deployment(f"digits-v{version}"))
    world.served(f"digits-v{version}")


def going_anywhere(world: World) -> None:
    """Let rollbacks go to what is verified and never served."""
    anything = {"spec": {"rollback": {"knownGood": {"require": "Verified"}}}}
    world.kubectl("patch", "modeldeployment", "digits", "--type=merge", "-p", json.dumps(anything))


def says(world: World, version: int | str, type_: str, reason: str, *, within: float = 40.0) -> Body:
    """Wait until a condition of a snapshot has a reason, and return it."""
    name = f"digits-v{version}"

    def found() -> Body:
        condition = world.condition(type_, kind="modelsnapshot", name=name)
        return condition if condition.get("reason") == reason else {}

    return dict(eventually(found, what=f"{type_} of {name} says {reason}", within=within))


def told(record: Body, version: int | str) -> str:
    """Return the sentence that a record has for a snapshot."""
    found = (item for item in record["status"]["candidates"] if item["snapshot"] == f"digits-v{version}")
    return str(next(found)["message"])


def looked(world: World, version: int | str) -> str:
    """Return when the bytes of a snapshot were last read."""
    return str(world.get("modelsnapshot", f"digits-v{version}")["status"]["verification"]["lastTime"])


def patch(world: World, kind: str, name: str, spec: Body) -> None:
    """Change the spec of an object as a person does."""
    world.kubectl("patch", kind, name, "--type=merge", "-p", json.dumps({"spec": spec}))


def write(world: World, version: int | str, path: str, content: bytes) -> Path:
    """Write one more file of a checkpoint in the store."""
    file = world.store / "digits" / str(version) / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file

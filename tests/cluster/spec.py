"""What to start and where: written by the one who asks, read by the supervisor."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.cluster.process import Process

SPEC, STATE = "spec.json", "state.json"
STARTER, SUPERVISOR, NODE = "starter.json", "supervisor.json", "node.json"  # processes
NODE_NAME = "node-0"


@dataclass(frozen=True, kw_only=True)
class Addresses:
    """Where the parts of one cluster listen, and the networks of its node."""

    server: str  # the address of the API server that clients use
    bind: str
    api: int
    etcd: int
    etcd_peer: int
    controller_manager: int
    scheduler: int
    gateway: str  # the host, as the node sees it
    pods: str
    services: str

    @property
    def url(self) -> str:
        """The API server's URL."""
        return f"https://{self.server}:{self.api}"

    @property
    def first_service(self) -> str:
        """The address of the Service `kubernetes`."""
        return self.services.rsplit(".", 1)[0] + ".1"


@dataclass(frozen=True, kw_only=True)
class Spec:
    """One cluster as it was asked for."""

    name: str
    profile: str
    directory: Path
    programs: Path
    pods: bool
    audit: bool
    owner: Process | None  # dies: the cluster goes; None: lives until `down`
    addresses: Addresses | None = None

    @property
    def at(self) -> Addresses:
        """The addresses, which are chosen before anything starts."""
        if self.addresses is None:
            raise RuntimeError("addresses are chosen first")
        return self.addresses

    def program(self, name: str) -> str:
        """Return the path of a program."""
        return str(self.programs / name)

    def path(self, *parts: str) -> Path:
        """Return a path in the cluster's own folder."""
        return self.directory.joinpath(*parts)

    def save(self) -> None:
        """Write it to the cluster's folder."""
        write_json(self.path(SPEC), {**asdict(self), "directory": str(self.directory), "programs": str(self.programs)})

    @classmethod
    def load(cls, directory: Path) -> Spec:
        """Read it from the cluster's folder."""
        values = read_json(directory / SPEC)
        values["directory"], values["programs"] = Path(values["directory"]), Path(values["programs"])
        values["owner"] = Process(**values["owner"]) if values["owner"] else None
        values["addresses"] = Addresses(**values["addresses"]) if values["addresses"] else None
        return cls(**values)


def read_json(path: Path) -> dict[str, Any]:
    """Return what the file holds; nothing if there is no file."""
    try:
        values: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    return values


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write a file that readers see whole or not at all."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(values, indent=2))
    partial.replace(path)


def read_process(path: Path) -> Process | None:
    """Return the process that was recorded in this file."""
    values = read_json(path)
    return Process(pid=values["pid"], started=values["started"]) if values else None


def write_process(path: Path, pid: int) -> None:
    """Record a process by its pid and start time."""
    write_json(path, asdict(Process.of(pid)))

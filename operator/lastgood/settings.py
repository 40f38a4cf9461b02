"""What an administrator chooses: flags, else environment, else defaults; refused with a sentence."""

import os
import re
import socket
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from lastgood.errors import TerminalError

T = TypeVar("T")

NAMES: Final[dict[str, str]] = {
    "namespaces": "LASTGOOD_NAMESPACES",
    "operator_namespace": "LASTGOOD_OPERATOR_NAMESPACE",
    "identity": "POD_NAME",
    "store": "LASTGOOD_STORE",
    "image": "LASTGOOD_IMAGE",
    "pull_policy": "LASTGOOD_PULL_POLICY",
    "reverify_interval": "LASTGOOD_REVERIFY_INTERVAL",
    "liveness": "LASTGOOD_LIVENESS",
    "metrics": "LASTGOOD_METRICS",
    "allow_loopback": "LASTGOOD_ALLOW_LOOPBACK",
    "trigger_hosts": "LASTGOOD_TRIGGER_HOSTS",
    "cluster_domain": "LASTGOOD_CLUSTER_DOMAIN",
    "lease_seconds": "LASTGOOD_LEASE_SECONDS",
    "verify_rate": "LASTGOOD_VERIFY_BYTES_PER_SECOND",
    "scratch": "LASTGOOD_SCRATCH",
    "scratch_bytes": "LASTGOOD_SCRATCH_BYTES",
    "capture_claim": "LASTGOOD_CAPTURE_CLAIM",
    "scanners": "LASTGOOD_SCANNERS",
    "retain_last": "LASTGOOD_RETAIN_LAST",
    "retain_bytes": "LASTGOOD_RETAIN_BYTES",
    "retain_apply": "LASTGOOD_RETAIN_APPLY",
}

ALL_NAMESPACES: Final = "*"
DOMAIN: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?){0,15}")
_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
DURATION: Final = re.compile(r"(?:[0-9]+(?:ms|s|m|h))+")
CLAIM: Final = re.compile(r"[a-z0-9](?:[-a-z0-9.]{0,53}[a-z0-9])?")
_SCANNER_IMAGE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/@-]{0,511}")
_RATE: Final = re.compile(r"([0-9]{1,12})(Ki|Mi|Gi)?")
BYTES: Final = {None: 1, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_PULL_POLICIES: Final = ("IfNotPresent", "Always", "Never")
DAY: Final = 86400.0
SHORTEST_LEASE, LONGEST_LEASE = 3.0, 300.0
_LONGEST_IMAGE: Final = 512
_MOST_SCANNERS: Final = 8
HIGHEST_PORT: Final = 65535
_MOST_KEPT: Final = 100_000


class SettingsError(TerminalError):
    """A setting cannot be used; the message begins with its name."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How this operator runs."""

    namespaces: tuple[str, ...] | None  # None: all of them
    operator_namespace: str
    identity: str
    store: Path | None = None
    image: str | None = None
    pull_policy: str = "IfNotPresent"
    reverify_interval: float = 3600.0  # seconds
    liveness: tuple[str, int] | None = ("0.0.0.0", 8080)  # noqa: S104  # the kubelet asks from outside the pod
    metrics: tuple[str, int] | None = None  # where /metrics is served; None: nowhere
    allow_loopback: bool = False
    trigger_hosts: tuple[str, ...] = ()  # what triggers may ask beside Services of their own namespace
    cluster_domain: str = "cluster.local"
    lease_seconds: float = 6.0
    verify_rate: int = 256 * 2**20  # bytes a second for routine verification; 0 for no limit
    capture_claim: str = ""  # in each namespace, what captures of claims are written to; empty: they are not possible
    scratch: Path | None = None  # where remote checkpoints are put while scanners look into them; None: the system's
    scanners: Mapping[str, str] = field(default_factory=dict)  # images of external scanners, by name
    scratch_bytes: int = 0  # how much they may take together; 0 for no limit

    retain_last: int = 0  # how many captured snapshots of a model may stay; 0 for no limit
    retain_bytes: int = 0  # how many bytes of a model may stay; 0 for no limit
    retain_apply: bool = False  # whether what is beyond them is deleted, and not only told

    def watches(self, namespace: str) -> bool:
        """Tell whether the objects of a namespace are ours to look after."""
        return self.namespaces is None or namespace in self.namespaces


def from_environment(
    environment: Mapping[str, str] = os.environ,
    *,
    flags: Mapping[str, str | None] | None = None,
    default_namespace: str = "default",
) -> Settings:
    """Return the settings; a flag (by the name of its field) outranks the environment.

    Raises:
        SettingsError: a value cannot be used.
    """
    return complete(parsed(environment, flags=flags), default_namespace=default_namespace)


def parsed(
    environment: Mapping[str, str] = os.environ, *, flags: Mapping[str, str | None] | None = None
) -> dict[str, Any]:
    """Return what was chosen, by the name of its field: no cluster is needed to know what is wrong with it.

    Raises:
        SettingsError: a value cannot be used, or what was chosen does not go together.
    """
    given = {name: flag for name, flag in (flags or {}).items() if flag is not None}
    texts = {name: given.get(name, environment.get(variable)) for name, variable in NAMES.items()}
    return _sound(
        {
            name: _parsed(NAMES[name], PARSERS[name], text)
            for name, text in texts.items()
            if text is not None and (text.strip() or name in MAY_BE_EMPTY)
        }
    )


def complete(chosen: Mapping[str, Any], *, default_namespace: str = "default") -> Settings:
    """Return the settings, with what was not chosen; the namespace is the one of the connection."""
    namespace = chosen.get("operator_namespace", default_namespace)
    identity = f"{socket.gethostname()}-{uuid.uuid4().hex[:8]}"
    defaults = {"operator_namespace": namespace, "namespaces": (namespace,), "identity": identity}
    return Settings(**{**defaults, **chosen})


def _sound(chosen: dict[str, Any]) -> dict[str, Any]:
    if chosen.get("retain_apply") and not (chosen.get("retain_last") or chosen.get("retain_bytes")):
        raise SettingsError(
            f"{NAMES['retain_apply']}: requires a limit; set {NAMES['retain_last']} or {NAMES['retain_bytes']}"
        )
    return chosen


def _parsed(variable: str, parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text.strip())
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}, got {text.strip()[:100]!r}") from error


def _namespaces(text: str) -> tuple[str, ...] | None:
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names:
        raise ValueError("must name at least one namespace")
    return None if ALL_NAMESPACES in names else tuple(_label(name) for name in names)


def _label(text: str) -> str:
    if not _LABEL.fullmatch(text):
        raise ValueError("must be the name of a namespace (or '*' for all of them, where a list is taken)")
    return text


def _identity(text: str) -> str:
    if not text.isprintable() or len(text) > 253:  # noqa: PLR2004  # the longest name of a pod
        raise ValueError("must be a name of at most 253 characters")
    return text


def _directory(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError("must be an absolute path of a directory")
    return path


def _image(text: str) -> str:
    if len(text) > _LONGEST_IMAGE or any(char.isspace() for char in text):
        raise ValueError("must be an image reference without spaces")
    return text


def _claim(text: str) -> str:
    if not CLAIM.fullmatch(text):
        raise ValueError("must be the name of a PersistentVolumeClaim, of at most 55 characters")
    return text


def _scanners(text: str) -> dict[str, str]:
    """Return the images of external scanners by name, from `NAME=IMAGE` with commas between."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    found = {name: image for name, _, image in pairs}
    if len(pairs) > _MOST_SCANNERS:
        raise ValueError(f"must name at most {_MOST_SCANNERS} scanners")
    if len(found) != len(pairs):
        raise ValueError("must name each scanner once")
    if not all(_LABEL.fullmatch(name) and _SCANNER_IMAGE.fullmatch(image) for name, image in found.items()):
        raise ValueError("must be NAME=IMAGE, the name of a-z, 0-9 and '-', and commas between several")
    return found


def _hosts(text: str) -> tuple[str, ...]:
    """Return what the administrator lists; signals/hosts.py knows what an entry may be, and cli/run.py asks it."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _domain(text: str) -> str:
    if not DOMAIN.fullmatch(text):
        raise ValueError("must be the DNS domain of the cluster, such as cluster.local")
    return text


def _pull_policy(text: str) -> str:
    if text not in _PULL_POLICIES:
        raise ValueError(f"must be one of {', '.join(_PULL_POLICIES)}")
    return text


def _interval(text: str) -> float:
    """Return seconds; 10 s is short enough for a test, a week is long enough for anybody."""
    if not DURATION.fullmatch(text):
        raise ValueError("must be a duration such as 30m or 6h")
    seconds = sum(int(n) * UNITS[unit] for n, unit in re.findall(r"([0-9]+)(ms|s|m|h)", text))
    if not 1 <= seconds <= 30 * DAY:
        raise ValueError("must be between 1s and 720h")
    return float(seconds)


def _address(text: str) -> tuple[str, int] | None:
    if not text:
        return None
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= HIGHEST_PORT:
        raise ValueError("must be HOST:PORT, or empty for none")
    return host.strip("[]"), int(port)


def _bool(text: str) -> bool:
    if text.lower() not in ("true", "false", "1", "0"):
        raise ValueError("must be true or false")
    return text.lower() in ("true", "1")


def _lease_seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise ValueError("must be a number of seconds") from None
    if not SHORTEST_LEASE <= seconds <= LONGEST_LEASE:
        raise ValueError(f"must be between {SHORTEST_LEASE:g} and {LONGEST_LEASE:g} seconds")
    return seconds


def _bytes(text: str) -> int:
    """Return bytes: `64Mi`, `2Gi`, or a number; 0 for no limit."""
    match = _RATE.fullmatch(text)
    if not match:
        raise ValueError("must be bytes such as 256Mi, or 0 for no limit")
    return int(match[1]) * BYTES[match[2]]


def _count(text: str) -> int:
    if not text.isascii() or not text.isdecimal() or int(text) > _MOST_KEPT:
        raise ValueError(f"must be a whole number up to {_MOST_KEPT}, or 0 for no limit")
    return int(text)


MAY_BE_EMPTY: Final = frozenset({"liveness", "metrics"})
PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "namespaces": _namespaces,
    "operator_namespace": _label,
    "identity": _identity,
    "store": _directory,
    "image": _image,
    "pull_policy": _pull_policy,
    "reverify_interval": _interval,
    "liveness": _address,
    "metrics": _address,
    "allow_loopback": _bool,
    "trigger_hosts": _hosts,
    "cluster_domain": _domain,
    "lease_seconds": _lease_seconds,
    "verify_rate": _bytes,
    "scratch": _directory,
    "scratch_bytes": _bytes,
    "capture_claim": _claim,
    "scanners": _scanners,
    "retain_last": _count,
    "retain_bytes": _bytes,
    "retain_apply": _bool,
}

"""References of images, as far as a policy may compare them: with the registry said, and the bytes pinned.

What a container runtime would add by itself (a registry, `library/`, a tag) is not guessed here: a reference that
leaves it out is refused, so that the text that was compared is what is pulled.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_REPOSITORY: Final = 255
_HOST = r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*(?::[0-9]{1,5})?"
_SEGMENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"(?P<host>{_HOST})(?P<path>(?:/{_SEGMENT})*)")
_PINNED = re.compile(
    rf"(?P<repository>{_HOST}(?:/{_SEGMENT})+)(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?@sha256:[0-9a-f]{{64}}"
)
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com")
_SHORT = 2  # a registry, and one segment


def repository_mistake(text: str) -> str:
    """Return what is wrong with a repository, or a part of a registry, that a policy names; or nothing."""
    match = _REPOSITORY.fullmatch(text) if len(text) <= MAX_REPOSITORY else None
    if match is None:
        return (
            "must be a registry and a path in it, such as registry.example/serving: lower case, without a tag, a "
            "digest, a wildcard or a '/' at the end"
        )
    if not _named(match["host"]):
        return f"must begin with the name of a registry, with a '.' or a port in it; {match['host']!r} is none"
    return ""


@dataclass(frozen=True, kw_only=True)
class PinnedImage:
    """An image that is pinned by its digest; a tag before it means nothing."""

    repository: str

    def below(self, allowed: str) -> bool:
        """Tell whether it is of a repository, or below it; registry and segments are compared letter by letter."""
        return self.repository == allowed or self.repository.startswith(f"{allowed}/")


def read_pinned(text: str) -> PinnedImage | None:
    """Return what a reference says, or None where it leaves open what would be pulled."""
    match = _PINNED.fullmatch(text)
    if match is None or len(match["repository"]) > MAX_REPOSITORY:
        return None
    host, *path = match["repository"].split("/")
    if not _named(host) or (host in _HUB and len(path) < _SHORT):
        return None  # runtimes would take the first for a name on Docker Hub, and put `library/` into the second
    return PinnedImage(repository=match["repository"])


def _named(host: str) -> bool:
    """Tell whether a runtime takes it for a registry: else it is the first part of a name on Docker Hub."""
    return "." in host or ":" in host or host == "localhost"

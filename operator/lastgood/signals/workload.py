"""What the pods of a workload say about themselves. Pure: raw bodies in, a sentence out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from lastgood.signals.sentences import one_sentence

CRASH_LOOP = "CrashLoopBackOff"
_TEMPLATE_HASH = "pod-template-hash"


def crash_looping(pods: Sequence[Mapping[str, Any]], *, template_hash: str | None = None) -> str | None:
    """Return a sentence on the first container, by name of its pod, that is in a crash loop; else None.

    A container counts while it waits out its back-off, and in between: ended with an error after a restart.

    Args:
        pods: raw Pod bodies, as the API server gives them.
        template_hash: only pods of this template; None for all that are given.
    """
    counted = [pod for pod in pods if _counts(pod, template_hash)]
    sentences = (_crashing(pod, container) for pod in sorted(counted, key=_name) for container in _containers(pod))
    return next((sentence for sentence in sentences if sentence is not None), None)


def _counts(pod: Mapping[str, Any], template_hash: str | None) -> bool:
    """A pod that is being deleted ends as it may; one of another template is not the one in question."""
    metadata = pod.get("metadata") or {}
    labels = metadata.get("labels") or {}
    return not metadata.get("deletionTimestamp") and template_hash in {None, labels.get(_TEMPLATE_HASH)}


def _containers(pod: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    for field in ("initContainerStatuses", "containerStatuses"):
        found: Iterable[Mapping[str, Any]] = status.get(field) or ()
        yield from found


def _crashing(pod: Mapping[str, Any], container: Mapping[str, Any]) -> str | None:
    state = container.get("state") or {}
    restarts = container.get("restartCount") or 0
    ended = state.get("terminated") or {}
    if (state.get("waiting") or {}).get("reason") == CRASH_LOOP:
        how = f"waiting {CRASH_LOOP} ({restarts} restarts)"
    elif restarts and ended.get("exitCode"):
        how = f"ended with exit code {ended['exitCode']} ({restarts} restarts)"
    else:
        return None
    return one_sentence(f"pod {_name(pod)}: container {container.get('name', '')} {how}")


def _name(pod: Mapping[str, Any]) -> str:
    return str((pod.get("metadata") or {}).get("name", ""))

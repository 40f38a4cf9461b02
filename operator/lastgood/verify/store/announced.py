"""Nothing is deleted that was not announced a while before: people read a log, and object."""

from collections.abc import Hashable
from dataclasses import replace
from datetime import datetime

from lastgood.verify.store.retention import Deletion, Plan


class Announced:
    """Which deletions were announced, and when. It lives as long as its process: a restart announces anew.

    Args:
        pause: seconds between the announcement of a deletion and the deletion.
    """

    def __init__(self, pause: float) -> None:
        self._pause = pause
        self._since: dict[tuple[str, datetime], float] = {}
        self._said: Hashable = None

    def take(self, plan: Plan, now: float, *, beside: tuple[str, ...] = ()) -> bool:
        """Take in a plan, and tell whether it has to be announced: it, or what is said beside it, has changed.

        What a plan does not name any more is forgotten: if it comes back, it is announced anew.

        Args:
            plan: what would be deleted now.
            now: seconds on a clock that nobody sets.
            beside: what else is announced with it.
        """
        named = [_key(deletion) for deletion in plan.delete]
        self._since = {key: self._since.get(key, now) for key in named}
        before, self._said = self._said, (frozenset(named), beside)
        return before != self._said

    def ripe(self, plan: Plan, now: float) -> Plan:
        """Return of a plan that was taken in what was announced long enough ago, by a plan before it."""
        return replace(plan, delete=tuple(item for item in plan.delete if self._is_ripe(item, now)))

    def _is_ripe(self, deletion: Deletion, now: float) -> bool:
        since = self._since.get(_key(deletion))
        return since is not None and now - since >= self._pause

    def forget(self) -> None:
        """Begin again."""
        self._since, self._said = {}, None


def _key(deletion: Deletion) -> tuple[str, datetime]:
    """A snapshot that was captured again meanwhile is another one."""
    return deletion.digest, deletion.captured_at

"""The security log: who did what to what, and why, in one line of JSON each, on stdout at once."""

import json
import sys
from collections.abc import Callable
from typing import Any

from lastgood.kube.api import redact
from lastgood.kube.notices.notice import Notice


def _print_line(text: str) -> None:
    """Write one line to stdout, at once: a log that is lost in a crash tells nothing."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


class SecurityLog:
    """A sink that has everything, and never more than one line for it."""

    def __init__(self, write: Callable[[str], None] = _print_line) -> None:
        self._write = write

    def tell(self, notice: Notice) -> None:
        """Write one entry; facts stand beside the fixed fields and never replace them."""
        entry: dict[str, Any] = {
            "time": notice.time.isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "logger": "security",
            "id": notice.id,
            "severity": notice.severity,
            "event": redact.line(notice.what),
            "reason": redact.line(str(notice.reason)),
            "message": redact.line(notice.message),
            "subject": redact.value(dict(notice.subject)),
        }
        if notice.record:
            entry["rollback"] = redact.line(notice.record)
        more = {name: redact.value(fact) for name, fact in notice.facts.items() if name not in entry}
        self._write(json.dumps(entry | more, ensure_ascii=True, allow_nan=False))

    async def run(self) -> None:
        """Do nothing: it is written already."""

    async def drain(self, *, seconds: float) -> None:
        """Wait for nothing."""

"""What people were told about a ModelDeployment, and whether it is still so."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lastgood.api.fields import Fields, compact, format_time

MAX_ALERTS = 32


@dataclass(frozen=True, kw_only=True)
class Alert:
    """What people were told and still is so; `about` tells apart what has the same reason."""

    reason: str
    about: str
    message: str = ""
    since: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What makes two of them the same: the message may change, and is no news."""
        return self.reason, self.about

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return compact(
            {
                "reason": self.reason,
                "about": self.about,
                "message": self.message[:1024],
                "since": format_time(self.since),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """What people were told, and until when it was so: if it comes back soon, that is no news."""

    reason: str
    about: str
    until: datetime | None = None

    @property
    def key(self) -> tuple[str, str]:
        """That of the alert."""
        return self.reason, self.about

    def as_body(self) -> dict[str, Any]:
        """Return it as the API server stores it."""
        return compact({"reason": self.reason, "about": self.about, "until": format_time(self.until)})


def read_alert(item: Fields) -> Alert:
    """Read one as the API server stores it."""
    return Alert(
        reason=item.text("reason"), about=item.text("about"), message=item.text("message"), since=item.time("since")
    )


def read_resolved(item: Fields) -> Resolved:
    """Read one as the API server stores it."""
    return Resolved(reason=item.text("reason"), about=item.text("about"), until=item.time("until"))

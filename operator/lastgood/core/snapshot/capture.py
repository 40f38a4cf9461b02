"""When a snapshot is copied into the store: because it says so, or because it soaked where that is asked."""

from datetime import datetime, timedelta

from lastgood.api.names import Reason
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import StoreSource

RETRY = timedelta(minutes=5)
"""How long after a capture that failed it is tried again."""


def asks_for_capture(deployment: ModelDeployment, snapshot: ModelSnapshot) -> bool:
    """Tell whether a ModelDeployment wants what soaked there kept: this very object, with this digest."""
    if not deployment.rollback.capture_soaked or deployment.meta.namespace != snapshot.meta.namespace:
        return False
    return any(
        item.soaked_at is not None
        and (item.snapshot, item.digest, item.uid) == (snapshot.name, snapshot.digest, snapshot.meta.uid)
        for item in deployment.status.history
    )


def is_captured(snapshot: ModelSnapshot) -> bool:
    """Tell whether a copy is in the store; what is said of another path is about other bytes, or forged."""
    capture = snapshot.status.capture
    return capture is not None and (capture.reason, capture.path) == (Reason.CAPTURED, snapshot.captured_path)


def wants_repair(snapshot: ModelSnapshot) -> bool:
    """Tell whether the source is a bad copy in the store while another copy is good.

    Only in the place that the digest has in a store: else whoever may declare a snapshot could have his own bytes put
    over another team's.
    """
    last = snapshot.status.verification
    if not snapshot.repair or snapshot.source != StoreSource(path=snapshot.captured_path) or last is None:
        return False
    bad = any((item.copy, item.reason) == ("source", Reason.DIGEST_MISMATCH) for item in last.passed_over)
    return bad and last.reason == Reason.VERIFIED and snapshot.place_name != "source"


def capture_rest(snapshot: ModelSnapshot, now: datetime) -> timedelta:
    """Return how long a capture has to wait after one that failed."""
    last = snapshot.status.capture
    if last is None or last.reason != Reason.CAPTURE_FAILED or last.time > now:
        return timedelta(0)
    return max(timedelta(0), last.time + RETRY - now)

"""What is known of a snapshot's bytes at this moment, and what was known lately."""

from datetime import datetime, timedelta

from lastgood.api.names import Reason
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.state import Checked, Observed
from lastgood.core.trust.trusted import Evidence


def verified_at(snapshot: ModelSnapshot) -> datetime | None:
    """Return when the declared digest was last found; a status of an older version has that only in `lastTime`."""
    last = snapshot.status.verification
    if last is None:
        return None
    return last.verified_at or (last.time if last.reason == Reason.VERIFIED else None)


def recently_verified(observed: Observed, snapshot: ModelSnapshot) -> bool:
    """Tell whether the digest was found within `maxVerificationAge`, and nothing else has been found since.

    A Job that cannot start must not take the way out of an emergency away; a mismatch does, however long ago.
    """
    status, found = snapshot.status, observed.found(snapshot)
    if status.verification is None or status.digest != snapshot.digest:
        return False
    if found is not None and found.reason == Reason.DIGEST_MISMATCH:
        return False  # known here, and not yet in the status
    if status.verification.reason not in (Reason.VERIFIED, Reason.UNREADABLE):
        return False
    at, limit = verified_at(snapshot), observed.deployment.rollback.max_verification_age
    return at is not None and timedelta(0) <= observed.now - at < limit


def evidence_now(observed: Observed, snapshot: ModelSnapshot, checked: Checked) -> Evidence:
    """Return what a verification of just now found; a scan is of the digest, and need not be made again.

    Of external scanners, what they told this process: a status may be forged.
    """
    scan, heard = checked.scan or snapshot.status.scan, observed.heard.get(snapshot.name, ())
    return Evidence(examined=checked.examined, scan=scan, external=heard)


def verification(observed: Observed, snapshot: ModelSnapshot, *, emergency: bool) -> tuple[str, Checked] | None:
    """Return the verification that lets a snapshot be written: of just now, or an emergency's recent one."""
    fresh = observed.fresh(snapshot)
    if fresh and fresh.reason == Reason.VERIFIED:
        return "Fresh", fresh
    at = verified_at(snapshot)
    if not emergency or at is None or not recently_verified(observed, snapshot):
        return None
    return "Recent", Checked(uid=snapshot.meta.uid, digest=snapshot.digest, reason=Reason.VERIFIED, at=at)

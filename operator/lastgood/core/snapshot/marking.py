"""The quarantine of a snapshot: asked for by an annotation, by the list, or by a policy that revokes its digest."""

from dataclasses import replace

from lastgood.api.names import QUARANTINE, Reason
from lastgood.api.specs.snapshot import ModelSnapshot, QuarantineMark
from lastgood.core.actions import QuarantineDigest, UpdateSnapshot
from lastgood.core.requests.requests import Wish, parse_wish, request_key
from lastgood.core.snapshot.observed import ObservedSnapshot
from lastgood.core.state import REFUSED, Step, Tell
from lastgood.core.trust.trusted import revoked


def quarantine_asked(observed: ObservedSnapshot) -> Step | None:
    """The annotation quarantines the digest as verified; of an unverified snapshot, only the snapshot itself.

    Else whoever declares another team's digest over wrong bytes could roll that team back.
    """
    snapshot = observed.snapshot
    text = snapshot.meta.annotations.get(QUARANTINE)
    if text is None:
        return None
    key = request_key(QUARANTINE, text)
    if key in snapshot.status.handled:
        return None
    wish = parse_wish(text)
    if snapshot.verified and snapshot.digest not in observed.quarantined:
        return _refused_quarantine(observed, wish) if was_refused(observed) else _quarantine(snapshot, wish)
    scope = "Namespace" if snapshot.verified else "Snapshot"
    before = snapshot.status.quarantine
    mark = QuarantineMark(
        scope=scope,
        reason=wish.reason,
        incident=wish.incident,
        since=observed.now,
        forensics=before.forensics if before else None,
    )
    status = replace(
        snapshot.status,
        quarantine=mark,
        handled=dict(list(snapshot.status.handled.items())[-7:]) | {key: "quarantined"},
    )
    return Step(
        reason=Reason.QUARANTINED,
        message=f"{snapshot.name} is quarantined: {wish.reason[:256]}",
        action=UpdateSnapshot(snapshot=snapshot, status=status),
        tell=Tell.WARNING,
    )


def _quarantine(snapshot: ModelSnapshot, wish: Wish) -> Step:
    return Step(
        reason=Reason.QUARANTINED,
        message=f"quarantining {snapshot.digest} in {snapshot.meta.namespace}: {wish.reason[:256]}",
        action=QuarantineDigest(digest=snapshot.digest, reason=wish.reason, incident=wish.incident),
        tell=Tell.ALERT,
    )


def was_refused(observed: ObservedSnapshot) -> bool:
    """Tell whether the API server did not allow the quarantine of its digest just now."""
    at = observed.refused.get(observed.snapshot.digest)
    return at is not None and observed.now - at <= REFUSED


def _refused_quarantine(observed: ObservedSnapshot, wish: Wish) -> Step | None:
    """The list does not take it: the snapshot bears the mark alone, the request stays open, and all else goes on."""
    snapshot = observed.snapshot
    if snapshot.status.quarantine is not None:
        return None
    mark = QuarantineMark(scope="Snapshot", reason=wish.reason, incident=wish.incident, since=observed.now)
    return Step(
        reason=Reason.QUARANTINED,
        message=f"the API server refused to quarantine {snapshot.digest} in the namespace; only {snapshot.name} is "
        f"quarantined; retrying: {wish.reason[:256]}",
        action=UpdateSnapshot(snapshot=snapshot, status=replace(snapshot.status, quarantine=mark)),
        tell=Tell.ALERT,
    )


def quarantine_changed(observed: ObservedSnapshot) -> Step | None:
    """The mark follows the quarantine list and the digests that a policy revokes; a snapshot's own mark stays."""
    snapshot, mark = observed.snapshot, observed.snapshot.status.quarantine
    if not observed.complete:
        return None
    why = observed.quarantined.get(snapshot.digest)
    if why is None:
        why = revoked(observed.trust, snapshot.digest) or None
    listed, scope = why is not None, "All" if _everywhere(observed) else "Namespace"
    if mark is not None and mark.scope == "Snapshot":
        return None
    if listed and (mark is None or mark.scope != scope):
        why = why or ""
        new = QuarantineMark(scope=scope, reason=why, incident=parse_wish(why).incident, since=observed.now)
        if mark is not None:
            new = replace(mark, scope=scope)
    elif not listed and mark is not None:
        new = None
    else:
        return None
    return Step(
        reason=Reason.QUARANTINED if new else Reason.NOT_QUARANTINED,
        message=f"{snapshot.name}: {'quarantined' if new else 'the quarantine was lifted'}",
        action=UpdateSnapshot(snapshot=snapshot, status=replace(snapshot.status, quarantine=new)),
        tell=Tell.WARNING,
    )


def _everywhere(observed: ObservedSnapshot) -> bool:
    digest = observed.snapshot.digest
    by_policy = any(policy.cluster and digest in policy.revoked_digests for policy in observed.trust)
    return by_policy or digest in observed.everywhere

"""Which image a switch may write: pinned by its digest, and vouched for by a trust policy or by who signed the model.

An image runs with all that the workload may do. Whoever may create a ModelSnapshot names one; that alone is nobody's
word that it may run.
"""

from lastgood.api.names import Reason
from lastgood.api.specs.images import PinnedImage, read_pinned
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.core.state import Observed
from lastgood.core.trust.policy import Problem, Trust
from lastgood.core.trust.trusted import Evidence, distrust, signed


def doubt(observed: Observed, snapshot: ModelSnapshot, evidence: Evidence) -> Problem | None:
    """Return why the trust policies do not let a snapshot serve here: what it is, and the image that it brings."""
    problem = distrust(observed.trust, snapshot, evidence, observed.now)
    return problem or image_problem(observed, snapshot, evidence)


def image_problem(observed: Observed, snapshot: ModelSnapshot, evidence: Evidence) -> Problem | None:
    """Return why the image of a snapshot may not be written to a workload, if an image is bound at all.

    Every policy for the model that names repositories has to allow it, by one of them or by its own signers' claim; and
    one policy has to allow it. So a namespace widens nothing that the cluster has narrowed.
    """
    bound = any(binding.runs for binding in observed.deployment.bindings)
    if not bound or not snapshot.image:
        return None  # without an image there is no value: see selection.no_value
    pinned = read_pinned(snapshot.image)
    if pinned is None:
        return Reason.IMAGE_NOT_PINNED, (
            f"spec.runtime.image {snapshot.image[:256]!r} is not pinned by digest, or names no registry: "
            "create a snapshot with registry/repository@sha256:… in full"
        )
    concerned = [policy for policy in observed.trust if policy.concerns(snapshot.model)]
    allowing = [item for item in concerned if _listed(item, pinned) or _claimed(item, observed, snapshot, evidence)]
    refusing = next((item for item in concerned if item.images is not None and item not in allowing), None)
    if allowing and refusing is None:
        return None
    whose = f"{refusing.name} does not allow" if refusing else "no trust policy allows"
    return Reason.IMAGE_NOT_ALLOWED, (
        f"{whose} image repository {pinned.repository!r}: list it in spec.images.repositories of a trust policy, or "
        "sign the model with `lastgood sign --image`, by a key that a policy trusts"
    )


def _listed(policy: Trust, image: PinnedImage) -> bool:
    return any(image.below(repository) for repository in policy.images or ())


def _claimed(policy: Trust, observed: Observed, snapshot: ModelSnapshot, evidence: Evidence) -> bool:
    """As many signers as the policy asks for have put their names to this very image."""
    return signed([policy], snapshot, evidence, observed.now).image == snapshot.image

"""A real admission policy that lets nobody write something here, as one does by mistake or with intent."""

import contextlib
from collections.abc import Iterator, Sequence

from tests.integration.world import World, eventually

GROUP = "admissionregistration.k8s.io/v1"


@contextlib.contextmanager
def refused(world: World, group: str, resource: str, probe: Sequence[str], *, unless: str = "false") -> Iterator[None]:
    """Refuse every write to a resource in the world's namespace for as long as the block.

    Args:
        world: where.
        group: of the API, such as `apps`.
        resource: its plural, with its subresource.
        probe: a kubectl command that such a policy refuses, tried to see when it is in force and when it is not.
            It may fail for another reason (the operator made the object first): only what the policy says counts.
        unless: a CEL expression of what is allowed all the same.
    """
    name = f"refuse-{world.namespace}"
    here = {"matchLabels": {"kubernetes.io/metadata.name": world.namespace}}
    rule = {"apiGroups": [group], "apiVersions": ["*"], "operations": ["CREATE", "UPDATE"], "resources": [resource]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": unless}]}
    match = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}}
    meta = {"apiVersion": GROUP, "metadata": {"name": name}}
    world.apply(
        {**meta, "kind": "ValidatingAdmissionPolicy", "spec": spec},
        {**meta, "kind": "ValidatingAdmissionPolicyBinding", "spec": match},
    )
    try:
        eventually(lambda: _denied(world, probe, name), what="the policy is enforced")
        yield
    finally:
        world.kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)
    eventually(lambda: not _denied(world, probe, name), what="the policy is gone")


def _denied(world: World, probe: Sequence[str], policy: str) -> bool:
    done = world.cluster.kubectl("-n", world.namespace, *probe, check=False)
    return done.returncode != 0 and f"ValidatingAdmissionPolicy '{policy}'" in done.stderr

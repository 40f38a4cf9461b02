"""How a snapshot is bound to a workload, and what may be written to it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from lastgood.api.bindings.bindable import PLACEHOLDER, field_of, granted, opt_in, text_mistake, word_mistake
from lastgood.api.bindings.binding import Binding, first_mistake
from lastgood.api.names import DIGEST_STAMP, FIELD_MANAGER, OPT_IN_LABEL, SNAPSHOT_STAMP, Reason
from lastgood.api.specs.deployment import ModelDeployment
from lastgood.api.specs.snapshot import ModelSnapshot
from lastgood.api.specs.sources import Source
from lastgood.api.workload.companion import ObjectRef
from lastgood.api.workload.draft import Draft
from lastgood.api.workload.target import targets
from lastgood.api.workload.workload import Workload

Problem = tuple[Reason, str]
OWNERSHIP = (Reason.OWNED_BY_ANOTHER, Reason.TARGET_SHARED)
"""Problems that go away when another ModelDeployment does: nobody wakes us for that."""


@dataclass(frozen=True, kw_only=True)
class Bound:
    """A field of the workload and the value that a snapshot gives it."""

    binding: Binding
    value: str


def render(
    bindings: Iterable[Binding], snapshot: ModelSnapshot, place: Source | None = None
) -> tuple[Bound, ...] | None:
    """Return the values that a snapshot gives the bound fields, or None where one of them has none that may be written.

    They lead to the copy that was good when it was last read, unless another place is named.
    """
    words = _words(snapshot, place or snapshot.place)
    filled = [(binding, *_filled(binding.value, words)) for binding in bindings]
    if any(wrong for _, _, wrong in filled):
        return None
    return tuple(Bound(binding=binding, value=value) for binding, value, _ in filled)


def unbound(bindings: Iterable[Binding], snapshot: ModelSnapshot) -> str:
    """Return why a snapshot gives one of the bound fields no value that may be written, or nothing."""
    words = _words(snapshot, snapshot.place)
    return next((wrong for binding in bindings if (wrong := _filled(binding.value, words)[1])), "")


def _words(snapshot: ModelSnapshot, place: Source) -> tuple[tuple[str, str], ...]:
    return (
        ("path", place.path),
        ("uri", place.uri),
        ("image", snapshot.image),
        ("digest", snapshot.digest),
        ("version", snapshot.version),
        ("name", snapshot.name),
    )


@lru_cache(maxsize=512)  # every pass asks for each snapshot several times, and for the same
def _filled(value: str, given: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    """Return a binding's value filled in, and why that may not be written, if so.

    It is looked at once more when it is whole: two harmless parts may make a reference to another variable, or a way
    out of the directory, together.
    """
    words, used = dict(given), PLACEHOLDER.findall(value)
    missing = next((word for word in used if not words[word]), None)
    if missing:
        where = "spec.runtime.image" if missing == "image" else f"$({missing})"
        return "", f"a binding needs a value that the snapshot does not have: {where}"
    odd = next(((word, wrong) for word in used if (wrong := word_mistake(word, words[word]))), None)
    if odd:
        return "", f"$({odd[0]}) is {words[odd[0]][:128]!r}, but a bound value {odd[1]}"
    filled = PLACEHOLDER.sub(lambda match: words[match[1]], value)
    wrong = text_mistake(filled)
    return filled, f"a binding would write {filled[:128]!r}: the value {wrong}" if wrong else ""


def carries(workload: Workload, bindings: Iterable[Binding], snapshot: ModelSnapshot) -> bool:
    """Tell whether the workload's template is this snapshot's; a template without our stamp may be anyone's.

    Any of its copies will do: which of them was good last may change, and is no reason to start every pod anew.
    """
    if carried(workload, bindings, snapshot) is None:
        return False
    stamp = workload.template_annotations.get(DIGEST_STAMP)
    return stamp is None or (
        stamp == snapshot.digest and workload.template_annotations.get(SNAPSHOT_STAMP) == snapshot.name
    )


def carried(workload: Workload, bindings: Iterable[Binding], snapshot: ModelSnapshot) -> tuple[Bound, ...] | None:
    """Return the values that the bound fields have, if they are those of one of the snapshot's copies."""
    bindings = tuple(bindings)
    places = (*(place for _, place in snapshot.copies), snapshot.place)
    values = (render(bindings, snapshot, place) for place in places)
    return next((bound for bound in values if bound is not None and _has(workload, bound)), None)


def _has(workload: Workload, bound: Iterable[Bound]) -> bool:
    return all(item.binding.current(workload) == item.value for item in bound)


def stamped_as(workload: Workload, name: str, digest: str) -> bool:
    """Tell whether the pods carry our stamps of a snapshot, which need not be there any more."""
    found = workload.template_annotations
    return bool(name and digest) and (found.get(SNAPSHOT_STAMP), found.get(DIGEST_STAMP)) == (name, digest)


def stamped(workload: Workload, snapshot: ModelSnapshot) -> bool:
    """Tell whether our apply of a snapshot went through, whatever an admission webhook made of a bound value."""
    return stamped_as(workload, snapshot.name, snapshot.digest)


def template(
    bound: Iterable[Bound], stamp: ModelSnapshot | None = None, *, into: Workload | None = None
) -> dict[str, Any]:
    """Return the apply configuration that binds a snapshot: every bound field, and the stamps, if of one.

    `into` is the workload that it is for, which says where each container is.
    """
    stamps = {SNAPSHOT_STAMP: str(stamp.name), DIGEST_STAMP: str(stamp.digest)} if stamp else {}
    kind, containers = (into.kind, into.containers) if into else ("Deployment", {})
    return targets()[kind].body(_draft(bound, stamps).template(containers))


def beside(bound: Iterable[Bound]) -> Mapping[ObjectRef, dict[str, Any]]:
    """Return the apply configurations of the objects beside the workload."""
    return _draft(bound, {}).companions


def _draft(bound: Iterable[Bound], stamps: Mapping[str, str]) -> Draft:
    draft = Draft(stamps)
    for item in bound:
        item.binding.write(draft, item.value)
    return draft


def companions_of(bindings: Iterable[Binding]) -> tuple[ObjectRef, ...]:
    """Return the objects beside the workload that bindings write."""
    return tuple(dict.fromkeys(ref for binding in bindings if (ref := binding.beside)))


def unprepared(workload: Workload, bindings: Iterable[Binding], snapshot: ModelSnapshot) -> ObjectRef | None:
    """Return the first object beside the workload that does not have what a switch to the snapshot needs, if any."""
    bindings = tuple(bindings)
    if not companions_of(bindings):
        return None
    bound = carried(workload, bindings, snapshot) or render(bindings, snapshot) or ()
    wrong = (item.binding.beside for item in bound if item.binding.current(workload) != item.value)
    return next((ref for ref in wrong if ref), None)


def workload_problem(deployment: ModelDeployment, workload: Workload | None) -> Problem | None:
    """Say why nothing may be written to the workload, if so."""
    name = deployment.target
    if workload is None:
        return (
            Reason.TARGET_NOT_FOUND,
            f"spec.targetRef: there is no {deployment.target_kind} {name!r} in this namespace",
        )
    if problem := _owner_problem(deployment, workload):
        return problem
    if workload.meta.labels.get(OPT_IN_LABEL) != deployment.meta.name:
        return Reason.NOT_OPTED_IN, f"{workload.kind} {name!r} has not opted in; {_opt_in(deployment, workload)}"
    wrong = next((found for binding in deployment.bindings if (found := _binding_problem(workload, binding))), None)
    return wrong or _not_granted(deployment, workload)


def _not_granted(deployment: ModelDeployment, workload: Workload) -> Problem | None:
    """The label lends the workload; what of it may be written, and with which value, is the owner's word as well."""
    allowed = granted(workload.meta.annotations)
    missing = [field_of(binding.word) for binding in deployment.bindings if binding.word not in allowed]
    if not missing:
        return None
    told = (
        f"{workload.kind} {deployment.target!r} does not allow what spec.bindings would write to {', '.join(missing)}"
    )
    return Reason.NOT_BINDABLE, f"{told}; {_opt_in(deployment, workload)}"


def _opt_in(deployment: ModelDeployment, workload: Workload) -> str:
    return opt_in(
        namespace=deployment.meta.namespace,
        workload=f"{workload.kind.lower()}/{deployment.target}",
        deployment=deployment.meta.name,
        words=(binding.word for binding in deployment.bindings),
        annotations=workload.meta.annotations,
    )


def _owner_problem(deployment: ModelDeployment, workload: Workload) -> Problem | None:
    """Say which other ModelDeployment has the workload, or asks for it as well. There is no command to paste here."""
    owner, name = workload.meta.labels.get(OPT_IN_LABEL, ""), deployment.target
    if owner == deployment.meta.name:
        return None
    if owner and owner in workload.rivals:
        return Reason.OWNED_BY_ANOTHER, (
            f"{workload.kind} {name!r} has opted in to ModelDeployment {owner!r}, and can have only one. Nothing is "
            "written. Delete this one, or give it another spec.targetRef; to hand the workload over, delete the other "
            "one first"
        )
    if not owner and workload.rivals:
        others = ", ".join(repr(other) for other in workload.rivals[:5])
        return Reason.TARGET_SHARED, (
            f"{workload.kind} {name!r} is also the target of ModelDeployment {others}, and has opted in to none. Keep "
            "one and delete the others; its condition OptedIn then shows the command to opt in"
        )
    return None


def _binding_problem(workload: Workload, binding: Binding) -> Problem | None:
    if mistake := first_mistake(binding):  # refused when it is read as well; here it is next to the write
        return Reason.INVALID_SPEC, f"spec.bindings: {mistake[0]}: {mistake[1]}"
    return binding.problem(workload)


def conflicts(workload: Workload, bindings: Iterable[Binding]) -> tuple[tuple[Binding, str], ...]:
    """Return the bound fields that another field manager owns, with its name."""
    return tuple(
        (binding, manager)
        for binding in bindings
        for manager, fields in _owners(workload, binding)
        if manager != FIELD_MANAGER and _owns(fields, binding.owned_at(workload))
    )


def _owners(workload: Workload, binding: Binding) -> tuple[tuple[str, Mapping[str, Any]], ...]:
    """Return the field managers of the object that has the field."""
    if binding.beside is None:
        return workload.owners
    there = workload.companions.get(binding.beside)
    return there.owners if there else ()


def borrowed(workload: Workload, bindings: Iterable[Binding]) -> tuple[Binding, ...]:
    """Return the bound fields that are another manager's alone: a manifest that gives one up deletes it."""
    others = dict.fromkeys(binding for binding, _ in conflicts(workload, bindings))
    return tuple(binding for binding in others if not _is_ours(workload, binding))


def _is_ours(workload: Workload, binding: Binding) -> bool:
    path = binding.owned_at(workload)
    return any(manager == FIELD_MANAGER and _owns(fields, path) for manager, fields in _owners(workload, binding))


def _owns(fields: Mapping[str, Any], path: Iterable[str]) -> bool:
    node: Any = fields
    for step in path:
        node = node.get(step) if isinstance(node, Mapping) else None
    return node is not None

"""What somebody may try with a binding, and where each decision stops it, whatever was let in before."""

from dataclasses import replace
from typing import Any

import pytest

from lastgood.api.bindings.binding import Binding
from lastgood.api.bindings.kinds.annotation import AnnotationBinding
from lastgood.api.bindings.kinds.env import EnvBinding
from lastgood.api.bindings.kinds.image import ImageBinding
from lastgood.api.facts.signature import Claims, Examined, Method, SignatureFact
from lastgood.api.names import BINDABLE, Outcome, Reason
from lastgood.api.specs.snapshot import ModelSnapshot, PathBundle
from lastgood.api.specs.sources import OciSource, PvcSource, S3Source, Source, UrlSource
from lastgood.core.actions import Switch, UpdateRecord, Verify
from lastgood.core.candidates.eligible import Question
from lastgood.core.candidates.images import doubt, image_problem
from lastgood.core.candidates.selection import select
from lastgood.core.decide import decide
from lastgood.core.rollback.course import advance
from lastgood.core.serving.drift import reassert
from lastgood.core.serving.triggers import told
from lastgood.core.state import Checked, Observed, Step
from lastgood.core.status.report import report
from lastgood.core.trust.policy import Trust, TrustedKey
from lastgood.core.trust.trusted import evidence_of
from lastgood.core.workload import render, unbound, workload_problem
from tests.unit.core.builders import (
    BINDINGS,
    IMAGE,
    IMAGES,
    NOW,
    V2,
    V3,
    ago,
    allowing,
    bringing,
    checked,
    declaring,
    deployment,
    digest,
    locked,
    name,
    record,
    snapshot,
    swapped,
    workload,
    world,
)
from tests.unit.core.moments import EMERGENCY, SWITCHED, after, ended

ALICE, BOB = TrustedKey(name="alice", key_id="a" * 64), TrustedKey(name="bob", key_id="b" * 64)
SIGNERS = Trust(name="ModelTrustPolicy release", keys=(ALICE, BOB))
LEAVING = Question(leaving=name(3), leaving_digest=digest(3))
EVIL = f"evil.example/serving@{digest('evil')}"


def env(variable: str, value: str = "/models/$(path)") -> EnvBinding:
    return EnvBinding(container="server", name=variable, value=value)


# The table and the values, once more next to the write


@pytest.mark.parametrize(
    "binding",
    [
        pytest.param(env("LD_PRELOAD"), id="a variable that loads code"),
        pytest.param(env("MODEL_PATH", "/lib/evil.so"), id="a constant"),
        pytest.param(env("MODEL_PATH", "$(path)$(SECRET)"), id="another variable of the pod"),
        pytest.param(ImageBinding(container="server", value="evil.example/x"), id="an image of its own"),
        pytest.param(AnnotationBinding(name="vault.hashicorp.com/agent-inject", value="$(name)"), id="an injector"),
    ],
)
def test_binding_that_the_door_would_refuse_is_not_written_either(binding: Binding) -> None:
    found = workload_problem(deployment(bindings=(binding,)), allowing(workload(), binding))
    assert found is not None
    assert found[0] == Reason.INVALID_SPEC


@pytest.mark.parametrize(
    ("value", "changes", "words"),
    [
        pytest.param("$(path)$(version)", {"version": "(HOME)"}, "contain only", id="two halves of a reference"),
        pytest.param("$(version)$(version)", {"version": "a$"}, "contain only", id="a dollar alone"),
        pytest.param("$(version)$(version)", {"version": "$"}, "contain only", id="two halves of an escape"),
        pytest.param("$(version)", {"version": "$(HOME)"}, "contain only", id="a reference"),
        pytest.param("$(version)", {"version": "2\nLD_PRELOAD=/evil"}, "contain only", id="a line of its own"),
        pytest.param(
            "/models/.$(version)", {"version": "."}, "leave the verified directory", id="out of it in two halves"
        ),
        pytest.param(
            "/models/$(version)", {"version": ".."}, "leave the verified directory", id="out of the directory"
        ),
        pytest.param("/models/.$(version)/x", {"version": "./.."}, "contain only", id="with a slash"),
        pytest.param("$(version)" * 99, {"version": "x" * 128}, "at most 4096", id="without end"),
        pytest.param("$(image)", {"image": ""}, "spec.runtime.image", id="no image"),
    ],
)
def test_snapshot_that_makes_more_of_a_value_gets_none(value: str, changes: dict[str, Any], words: str) -> None:
    ends_in_dollar = PvcSource(claim="models", path="digits/2$")
    there, bindings = snapshot(2, source=ends_in_dollar, **changes), (env("MODEL_PATH", value),)
    assert (render(bindings, there) is None) == bool(words)
    assert words in unbound(bindings, there)


def test_what_serves_is_not_written_back_with_a_value_that_it_does_not_have() -> None:
    """A new binding must neither be written half, nor be tried for ever."""
    bindings = (*BINDINGS, env("MODEL_URI", "$(version)/x"))
    serving = snapshot(3, version="..")
    observed = replace(
        declaring(swapped(world(), serving), bindings=bindings), workload=allowing(workload(), *bindings)
    )
    step = reassert(observed, serving)
    assert step is not None
    assert (step.reason, step.action) == (Reason.NO_VALUE, None)


# The owner's word


def taken_back(observed: Observed) -> Observed:
    there = observed.workload or workload()
    return replace(observed, workload=replace(there, meta=replace(there.meta, annotations={})))


@pytest.mark.parametrize(
    ("allowed", "field"),
    [
        pytest.param("", "env:server/MODEL_PATH", id="nothing"),
        pytest.param("env:server/MODEL_PATH", "env:server/MODEL_PATH", id="a variable without its value"),
        pytest.param("env:server/MODEL_PATH=/tmp/$(path)", "env:server/MODEL_PATH", id="with another value"),
        pytest.param("env:proxy/MODEL_PATH=/models/$(path)", "env:server/MODEL_PATH", id="of another container"),
        pytest.param("ENV:server/MODEL_PATH=/models/$(path)", "env:server/MODEL_PATH", id="in other letters"),
        pytest.param("*", "env:server/MODEL_PATH", id="everything"),
        pytest.param("x env:server/MODEL_PATH=/models/$(path)", "env:server/MODEL_PATH", id="inside another line"),
    ],
)
def test_binding_that_the_owner_does_not_list_is_not_written(allowed: str, field: str) -> None:
    there = replace(workload(), meta=replace(workload().meta, annotations={BINDABLE: allowed}))
    found = workload_problem(deployment(), there)
    assert found is not None
    assert found[0] == Reason.NOT_BINDABLE
    assert f"would write to {field}; its owner must run: kubectl patch" in found[1]


@pytest.mark.parametrize("binding", [IMAGE, AnnotationBinding(name="team/model", value="$(version)")])
def test_image_and_annotation_need_the_owners_word_too(binding: Binding) -> None:
    bindings = (*BINDINGS, binding)
    assert workload_problem(deployment(bindings=bindings), allowing(workload(), *bindings)) is None
    found = workload_problem(deployment(bindings=bindings), workload())
    assert found is not None
    assert found[0] == Reason.NOT_BINDABLE


def test_annotation_of_the_template_is_not_the_owners_word() -> None:
    """A binding might write the template, and never the workload itself."""
    there = replace(workload(), template_annotations={BINDABLE: BINDINGS[0].word})
    assert workload_problem(deployment(), taken_back(world(workload=there)).workload) is not None


def test_word_that_is_taken_back_is_said_and_ends_our_writes() -> None:
    observed = taken_back(declaring(swapped(world(), snapshot(4)), snapshot=name(4)))
    conditions = report(observed, Step(reason=Reason.SERVING, message="")).conditions
    assert (conditions["OptedIn"].status, conditions["OptedIn"].reason) == ("False", Reason.NOT_BINDABLE)
    assert (conditions["Stalled"].status, conditions["Stalled"].reason) == ("True", Reason.NOT_BINDABLE)
    decision = decide(observed)
    assert decision.reason == Reason.NOT_BINDABLE
    assert not isinstance(decision.action, Switch | Verify)
    drifted = replace(observed, workload=taken_back(world(workload=workload(V2))).workload)
    assert reassert(drifted, V3) is None


def test_word_that_is_taken_back_ends_a_rollback_before_its_switch() -> None:
    step = advance(taken_back(locked(world(checked=checked(V2)), record())))
    assert step is not None
    assert isinstance(step.action, UpdateRecord)
    assert (step.action.status.outcome, step.reason) == (Outcome.FAILED, Reason.NOT_BINDABLE)


# Images


def named(*said: tuple[TrustedKey, str], image: str = EVIL) -> ModelSnapshot:
    """Return v2 with an image, signed by some with a claim about one."""
    good = snapshot(2, image=image, signatures=(PathBundle(path="model.sig"),))
    facts = tuple(
        SignatureFact(method=Method.KEY, key_id=key.key_id, claims=Claims(model="digits", version="2", image=claimed))
        for key, claimed in said
    )
    examined = Examined(time=ago(hours=1), digest=good.digest, facts=facts)
    return replace(good, status=replace(good.status, signatures=examined))


CLUSTER = replace(IMAGES, name="ClusterModelTrustPolicy images", cluster=True)
ANYWHERE = replace(IMAGES, images=("evil.example",))


@pytest.mark.parametrize(
    ("trust", "of", "reason"),
    [
        pytest.param((IMAGES,), V2, None, id="its repository is listed"),
        pytest.param((), V2, Reason.IMAGE_NOT_ALLOWED, id="no policy"),
        pytest.param((Trust(name="p"),), V2, Reason.IMAGE_NOT_ALLOWED, id="a policy that says nothing of images"),
        pytest.param((replace(IMAGES, models=("letters",)),), V2, Reason.IMAGE_NOT_ALLOWED, id="for another model"),
        pytest.param((IMAGES,), snapshot(2, image=EVIL), Reason.IMAGE_NOT_ALLOWED, id="another repository"),
        pytest.param((IMAGES,), snapshot(2, image="registry.example/serving:2"), Reason.IMAGE_NOT_PINNED, id="a tag"),
        pytest.param((CLUSTER, ANYWHERE), snapshot(2, image=EVIL), Reason.IMAGE_NOT_ALLOWED, id="cluster narrows"),
        pytest.param((CLUSTER, IMAGES), V2, None, id="both list it"),
        pytest.param((SIGNERS,), named((ALICE, EVIL)), None, id="a trusted signer names it"),
        pytest.param((SIGNERS,), named((ALICE, "")), Reason.IMAGE_NOT_ALLOWED, id="a signer who names none"),
        pytest.param(
            (SIGNERS,), named((ALICE, f"x.example/y@{digest(1)}")), Reason.IMAGE_NOT_ALLOWED, id="names another"
        ),
        pytest.param(
            (replace(SIGNERS, keys=(BOB,)),), named((ALICE, EVIL)), Reason.IMAGE_NOT_ALLOWED, id="a stranger names it"
        ),
        pytest.param(
            (replace(SIGNERS, keys=(replace(ALICE, revoked=NOW),)),),
            named((ALICE, EVIL)),
            Reason.IMAGE_NOT_ALLOWED,
            id="a revoked key names it",
        ),
        pytest.param(
            (replace(SIGNERS, threshold=2),),
            named((ALICE, EVIL), (BOB, "")),
            Reason.IMAGE_NOT_ALLOWED,
            id="one of two names it",
        ),
        pytest.param((replace(SIGNERS, threshold=2),), named((ALICE, EVIL), (BOB, EVIL)), None, id="both name it"),
        pytest.param(
            (replace(SIGNERS, problem="keys[0]: x"),), named((ALICE, EVIL)), Reason.IMAGE_NOT_ALLOWED, id="unusable"
        ),
        pytest.param(
            (CLUSTER, SIGNERS), named((ALICE, EVIL)), Reason.IMAGE_NOT_ALLOWED, id="cluster narrows what a claim says"
        ),
        pytest.param(
            (replace(CLUSTER, keys=(ALICE,)),), named((ALICE, EVIL)), None, id="a list, and its own signer besides"
        ),
    ],
)
def test_image_needs_a_word(trust: tuple[Trust, ...], of: ModelSnapshot, reason: Reason | None) -> None:
    observed = bringing(swapped(world(), of), trust=trust)
    found = image_problem(observed, of, evidence_of(of))
    assert (found[0] if found else None) == reason
    chosen, candidates = select(observed, replace(LEAVING, to=name(2)))
    assert (chosen == of) == (reason is None)
    emergency, _ = select(observed, replace(LEAVING, to=name(2), emergency=True))
    assert emergency == chosen, "an emergency gets no other image"
    assert reason is None or {item.reason for item in candidates} & {reason, Reason.POLICY_INVALID}


def test_model_that_was_signed_for_another_image_is_presented_as_what_it_is_not() -> None:
    of = named((ALICE, f"registry.example/serving@{digest(2)}"))
    observed = replace(swapped(world(), of), trust=(replace(SIGNERS, required=True),))
    _, candidates = select(observed, replace(LEAVING, to=name(2)))
    assert next(item for item in candidates if item.snapshot == of.name).reason == Reason.CLAIMS_MISMATCH


def test_image_is_nobodys_business_where_none_is_bound() -> None:
    assert image_problem(swapped(world(), snapshot(2, image=EVIL)), snapshot(2, image=EVIL), evidence_of(V2)) is None


def test_claim_that_only_the_status_has_does_not_count_once_the_bytes_were_looked_at() -> None:
    """Whoever may write a status forges what was signed; the look before the switch knows better."""
    forged = named((ALICE, EVIL))
    observed = bringing(swapped(world(), forged), trust=(SIGNERS,))
    assert select(observed, LEAVING)[0] == forged, "until then it is believed, as an emergency's target is"
    looked = Checked(
        uid=forged.meta.uid,
        digest=forged.digest,
        reason=Reason.VERIFIED,
        at=NOW,
        examined=Examined(time=NOW, digest=forged.digest),
    )
    chosen, _ = select(replace(observed, checked={forged.name: looked}), replace(LEAVING, to=name(2)))
    assert chosen is None


def test_emergency_that_believed_a_forged_claim_fails_once_the_bytes_were_looked_at() -> None:
    forged = named((ALICE, EVIL))
    facts = SWITCHED | {"verification": "Recent", "quarantined": (digest(3),)}
    looked = replace(checked(forged)[forged.name], examined=Examined(time=NOW, digest=forged.digest))
    seen = bringing(swapped(after(facts, EMERGENCY, checked={forged.name: looked}), forged), trust=(SIGNERS,))
    there = seen.workload or workload()
    containers = {"server": replace(there.containers["server"], image=forged.image)}
    outcome, why = ended(decide(replace(seen, workload=replace(there, containers=containers))))
    assert (outcome, why) == (Outcome.FAILED, Reason.TARGET_LOST)


def test_new_binding_does_not_bring_the_image_of_what_serves_as_if_it_were_drift() -> None:
    there = allowing(workload(), *BINDINGS, IMAGE)
    observed = declaring(replace(world(checked=checked(V3)), workload=there), bindings=(*BINDINGS, IMAGE))
    step = reassert(observed, V3)
    assert step is not None
    assert (step.reason, step.action) == (Reason.IMAGE_NOT_ALLOWED, None)
    allowed = reassert(replace(observed, trust=(IMAGES,)), V3)
    assert allowed is not None
    assert allowed.action == Switch(snapshot=V3, drift=True)


def test_image_that_serves_and_is_not_allowed_any_more_is_told_and_goes_on_serving() -> None:
    observed = bringing(world(), trust=())
    step = told(observed)
    assert step is not None
    assert (step.reason, step.action) == (Reason.IMAGE_NOT_ALLOWED, None)
    assert "digits-v3 serves, but is no longer trusted" in step.message
    assert doubt(observed, V3, evidence_of(V3)) is not None


# What whoever may create a ModelSnapshot writes into a placeholder


@pytest.mark.parametrize(
    "version",
    [
        "1 --trust-remote-code",
        "1,load_format=pickle",
        "1;id",
        "1&trust=1",
        "$HOME",
        "`id`",
        "1' --x '",
        '1"',
        "uploads/evil",
        "%2e%2e",
        "-x",
        "~root",
        "1|id",
        "{a,b}",
        "*",
        "1#",
        "1\\",
    ],
)
def test_a_version_that_brings_another_option_is_not_written(version: str) -> None:
    bindings = (env("MODEL", "--model /models/$(path) --tag $(version)"),)
    found = snapshot(2, version=version)
    assert render(bindings, found) is None
    assert unbound(bindings, found).startswith(f"$(version) is {version!r}, but a bound value must contain")
    assert unbound(BINDINGS, found) == ""  # it may be called so


@pytest.mark.parametrize(
    "path", ["good --trust-remote-code", "a,b=c", "a;id", "$x/y", "a/$HOME", "a%2f..%2fb", "a'b", "a?b", "a&b"]
)
@pytest.mark.parametrize("word", ["path", "uri"])
def test_a_path_that_brings_another_option_is_not_written(word: str, path: str) -> None:
    found = snapshot(2, source=PvcSource(claim="models", path=path))
    assert render((env("MODEL", f"--model $({word})"),), found) is None


def test_a_path_is_no_option() -> None:
    assert render((env("MODEL", "$(path)"),), snapshot(2, source=PvcSource(claim="models", path="-x/y"))) is None


@pytest.mark.parametrize(
    "uri", ["https://x.example/a;id", "https://x.example/a'b", "https://x.example/$X", "http://x/a,b"]
)
def test_a_url_that_brings_a_command_is_not_written(uri: str) -> None:
    assert render((env("MODEL", "$(uri)"),), snapshot(2, source=UrlSource(url=uri))) is None


@pytest.mark.parametrize(
    ("source", "version"),
    [
        (PvcSource(claim="models", path="team=a/größe/2026-01-01T10:00:00+01:00"), "v1.2.3-rc.1+build@7"),
        (UrlSource(url="https://[2001:db8::1]:8443/m/~a/b%20c.tar?x=1&y=2"), "2026_01_31"),
        (S3Source(bucket="models", prefix="a b/c,d", endpoint="http://minio:9000", region="eu-central-1"), "2026.1"),
        (OciSource(reference=f"registry.example:5000/a__b/c:1.0@{digest(2)}"), "7"),
    ],
)
def test_usual_words_are_written(source: Source, version: str) -> None:
    found = snapshot(2, source=source, version=version)
    assert unbound((env("MODEL", "$(uri) $(version) $(name) $(digest)"),), found) == ""

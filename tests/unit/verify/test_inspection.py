"""One look at a snapshot: bytes, then signatures, then scan; and what an earlier look may be used for."""

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lastgood.api.names import Reason
from lastgood.signals.addresses import AddressPolicy
from lastgood.verify import Verdict, digest
from lastgood.verify.inspection import Bundle, How, Inspection, Question, inspect, inspect_source, none_good, quick
from lastgood.verify.scan import Policy
from lastgood.verify.signing import generate_key, sign
from lastgood.verify.sources import Access, LocalSource, source_of

NOW = datetime(2026, 5, 1, tzinfo=UTC)
KEY, OTHER = generate_key(), generate_key()
ANCHORS, OTHER_ANCHORS = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
WEIGHTS = b"weights" * 1000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "model.bin").write_bytes(WEIGHTS)
    (folder / "config.json").write_text("{}")
    return folder


def question(root: Path, *bundles: Bundle, **changes: object) -> Question:
    asked = Question(
        digest=digest(root).digest, at=NOW, bundles=bundles, keys=(KEY.public,) if bundles else (), anchors=ANCHORS
    )
    return replace(asked, **changes)  # type: ignore[arg-type]  # the fields of a Question


def bundle(root: Path, name: str = "spec.signatures[0]") -> Bundle:
    return Bundle(name=name, data=sign(digest(root).files, KEY))


def look(root: Path, asked: Question, how: How | None = None) -> Inspection:
    return inspect(root.parent, root.name, asked, how or How())


def signers(found: Inspection) -> list[str]:
    return [fact.key_id for fact in found.examined.facts] if found.examined else []


def problems(found: Inspection) -> list[tuple[str, str]]:
    return [(str(item.reason), item.message) for item in found.examined.problems] if found.examined else []


def put_inside(root: Path) -> Bundle:
    """Sign a checkpoint, and put the bundle into it."""
    (root / "model.sig").write_bytes(sign(digest(root).files, KEY, ignored=("model.sig",)))
    return Bundle(name="spec.signatures[0]", path="model.sig")


def when_all_is_read(total: int, act: Callable[[], object]) -> Callable[[int], None]:
    """Return a progress that acts once, when so many bytes were read."""
    done: list[bool] = []

    def progress(count: int) -> None:
        if count >= total and not done:
            done.append(True)
            act()

    return progress


def size_of(root: Path) -> int:
    return sum(path.stat().st_size for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("remote", [False, True], ids=["here", "elsewhere"])
def test_a_bundle_outside_and_one_inside_prove_the_same(root: Path, *, remote: bool) -> None:
    inside = put_inside(root)
    outside = Bundle(name="spec.signatures[1]", data=sign(digest(root).files, KEY))
    asked = question(root, inside, outside)
    found = inspect_source(LocalSource(root=root), asked) if remote else look(root, asked)

    assert found.result.verdict is Verdict.VERIFIED
    assert signers(found) == [KEY.public.key_id] * 2, "model.sig need not sign itself"


@pytest.mark.parametrize("remote", [False, True], ids=["here", "elsewhere"])
def test_model_weights_declared_as_a_signature_are_not_exempt(root: Path, *, remote: bool) -> None:
    inside = put_inside(root)
    (root / "model.safetensors").write_bytes(b"backdoor" * 1000)
    weights = Bundle(name="spec.signatures[1]", path="model.safetensors")
    asked = question(root, inside, weights)
    found = inspect_source(LocalSource(root=root), asked) if remote else look(root, asked)

    assert found.result.verdict is Verdict.VERIFIED, "the digest is the attacker's own, and right"
    assert signers(found) == []
    assert "model.safetensors is extra" in problems(found)[0][1]


def test_signatures_inside_say_which_others_they_are_not_over(root: Path) -> None:
    absent = Bundle(name="spec.signatures[0]", problem="there is no ConfigMap x")
    (root / "a.sig").write_bytes(sign(digest(root).files, KEY))
    (root / "b.sig").write_bytes(sign(digest(root).files, OTHER))
    named = [Bundle(name=f"spec.signatures[{index}]", path=path) for index, path in ((1, "a.sig"), (2, "b.sig"))]
    found = look(root, question(root, absent, *named, keys=(KEY.public, OTHER.public)))
    assert found.examined
    assert [(fact.key_id, fact.index, fact.outside) for fact in found.examined.facts] == [
        (KEY.public.key_id, 1, (2,)),
        (OTHER.public.key_id, 2, ()),
    ]


def test_bytes_that_are_not_right_have_no_signature_and_no_scan(root: Path) -> None:
    asked = question(root, bundle(root), scan=Policy())
    (root / "model.bin").write_bytes(b"backdoor" * 1000)
    found = look(root, asked)
    assert (found.result.verdict, found.examined, found.scan) == (Verdict.MISMATCH, None, None)


def test_a_bundle_inside_that_changes_after_it_was_hashed_proves_nothing(root: Path) -> None:
    inside = put_inside(root)
    asked, stranger = question(root, inside, keys=(KEY.public, OTHER.public)), digest(root).files
    forged = sign(stranger, OTHER, ignored=("model.sig",))
    swap = when_all_is_read(size_of(root), lambda: (root / "model.sig").write_bytes(forged))
    found = look(root, asked, How(progress=swap))

    assert signers(found) == []
    assert found.result.verdict is not Verdict.VERIFIED or "changed after it was hashed" in problems(found)[0][1]


def test_a_bundle_inside_that_is_not_there_a_link_or_too_large_is_named(root: Path) -> None:
    missing = look(root, question(root, Bundle(name="spec.signatures[0]", path="none.sig")))
    assert problems(missing) == [(Reason.SIGNATURE_MISSING, "none.sig is not in the checkpoint")]
    (root / "large.sig").write_bytes(b"{" + b" " * (64 * 2**20))
    large = look(root, question(root, Bundle(name="spec.signatures[0]", path="large.sig")))
    assert "above the limit" in problems(large)[0][1] or problems(large)[0][0] == Reason.SIGNATURE_INVALID


def test_one_bad_bundle_does_not_spoil_a_good_one(root: Path) -> None:
    garbage = Bundle(name="spec.signatures[1]", data=b'{"a": NaN}')
    absent = Bundle(name="spec.signatures[2]", problem="there is no ConfigMap x")
    found = look(root, question(root, bundle(root), garbage, absent))

    assert signers(found) == [KEY.public.key_id]
    assert [reason for reason, _ in problems(found)] == [Reason.SIGNATURE_INVALID, Reason.SIGNATURE_MISSING]


def again(asked: Question, found: Inspection, **changes: object) -> Question:
    """Ask once more, as the operator does with what it remembers."""
    slim = replace(found, result=replace(found.result, files=()))
    return replace(asked, blake3=found.result.blake3, earlier=slim, **changes)  # type: ignore[arg-type]  # as above


def test_a_quick_look_uses_what_was_proven_with_the_same_bundles_and_anchors(root: Path) -> None:
    asked = question(root, bundle(root))
    first = look(root, asked)
    asked = again(asked, first)
    assert quick(asked) == first.result.blake3
    second = look(root, asked)
    assert (second.result.verdict, second.examined) == (Verdict.VERIFIED, first.examined)


def test_what_was_proven_with_other_anchors_or_bundles_is_proven_again(root: Path) -> None:
    asked = question(root, bundle(root))
    first = look(root, asked)
    anchored = again(asked, first, anchors=OTHER_ANCHORS, keys=(OTHER.public,))
    assert quick(anchored) is None
    assert signers(look(root, anchored)) == [], "the key that is gone from the anchors proves nothing any more"
    other = Bundle(name="spec.signatures[0]", data=sign(digest(root).files, OTHER))
    bundled = again(asked, first, bundles=(other,), keys=(KEY.public, OTHER.public))
    assert quick(bundled) is None
    assert signers(look(root, bundled)) == [OTHER.public.key_id]


def test_what_was_proven_of_other_bytes_is_not_used(root: Path) -> None:
    asked = question(root, bundle(root), scan=Policy())
    first = look(root, asked)
    (root / "model.bin").write_bytes(b"other" * 1000)
    found = look(root, again(question(root, *asked.bundles, scan=Policy()), first))
    assert found.result.verdict is Verdict.VERIFIED
    assert signers(found) == []
    assert found.scan
    assert found.scan.digest == found.result.expected


def test_a_tampered_file_is_found_by_a_quick_look_too(root: Path) -> None:
    asked = question(root, bundle(root))
    first = look(root, asked)
    (root / "model.bin").write_bytes(WEIGHTS[:-1] + b"S")
    found = look(root, again(asked, first))
    assert (found.result.verdict, found.examined) == (Verdict.MISMATCH, None)


def test_bytes_that_are_swapped_while_they_are_scanned_are_not_what_was_verified(root: Path) -> None:
    asked = question(root, bundle(root), scan=Policy())
    seen: list[int] = []

    def progress(count: int) -> None:
        if seen and count < seen[-1]:  # it begins again at 0: the scan
            (root / "model.bin").write_bytes(pickle.dumps(print))
        seen.append(count)

    found = look(root, asked, How(progress=progress))
    assert found.result.verdict is not Verdict.VERIFIED
    assert (found.examined, found.scan) == (None, None)


@pytest.mark.parametrize("remote", [False, True], ids=["here", "elsewhere"])
def test_a_pickle_is_found_wherever_it_is_and_scanned_once(root: Path, *, remote: bool) -> None:
    (root / "data.pkl").write_bytes(pickle.dumps(print))
    asked = question(root, scan=Policy())

    def inspected(asked: Question) -> Inspection:
        return inspect_source(LocalSource(root=root), asked) if remote else look(root, asked)

    first = inspected(asked)
    assert first.result.verdict is Verdict.VERIFIED
    assert first.scan
    assert {item.file for item in first.scan.findings} == {"data.pkl"}
    assert inspected(again(asked, first, at=datetime(2026, 6, 1, tzinfo=UTC))).scan == first.scan


def test_a_scan_that_could_not_look_is_tried_again(root: Path) -> None:
    asked = question(root, scan=Policy())
    first = look(root, asked)
    assert first.scan
    blind = replace(first, scan=replace(first.scan, verdict="Unreadable"))
    second = look(root, again(asked, blind))
    assert second.scan
    assert second.scan.verdict == "NoFinding"


@pytest.mark.parametrize("remote", [False, True], ids=["here", "elsewhere"])
def test_a_single_file_is_signed_as_the_dot_that_it_is(root: Path, *, remote: bool) -> None:
    file = root / "model.bin"
    listed = replace(digest(root).files[0], path=".", size=len(WEIGHTS), sha256=hashlib.sha256(WEIGHTS).hexdigest())
    asked = question(file, Bundle(name="spec.signatures[0]", data=sign([listed], KEY)))
    found = inspect_source(LocalSource(root=root, relative=file.name), asked) if remote else look(file, asked)

    assert found.result.verdict is Verdict.VERIFIED
    assert signers(found) == [KEY.public.key_id]
    wrong = question(file, bundle(root))
    assert signers(look(file, wrong)) == [], "a bundle of the directory says nothing of the file"


def test_without_anchors_nothing_is_proven_and_that_is_not_a_proof(root: Path) -> None:
    assert look(root, question(root, bundle(root), anchors="", keys=())).examined is None


def test_what_no_copy_has_is_unreadable_as_long_as_one_could_not_be_read(root: Path) -> None:
    asked = question(root)
    access = Access(allow=AddressPolicy().check)
    gone = inspect_source(source_of({"http": {"url": "http://169.254.169.254/x"}}, access), asked).result
    (root / "model.bin").write_bytes(b"backdoor")
    bad = look(root, asked).result

    assert none_good([("source", bad), ("mirrors[0]", gone)]).verdict is Verdict.UNREADABLE
    both = none_good([("source", bad), ("mirrors[0]", bad)])
    assert both.verdict is Verdict.MISMATCH
    assert "source: " in both.message
    assert "mirrors[0]: " in both.message

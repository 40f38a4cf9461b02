"""What may lie in a checkpoint without being signed: a bundle that is right, of these files, and nothing else."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from lastgood.verify import manifest
from lastgood.verify.signing import (
    Certificate,
    PrivateKey,
    SignatureError,
    SignatureFact,
    SignatureFile,
    examine_all,
    generate_key,
    sign,
)
from tests.unit.verify.signing.makers import DAY, IDENTITY, NOW, Wish, authority, make

ALICE, BOB, STRANGER = (generate_key() for _ in range(3))
ROOT = authority()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "digits"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights" * 100)
    return folder


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What each named path proved: whose signature, and which others it is not over; or why nothing."""

    proven: dict[str, tuple[SignatureFact, ...]]
    refused: dict[str, SignatureError]


def look(
    checkpoint: Path, *paths: str, keys: tuple[PrivateKey, ...] = (ALICE, BOB), roots: tuple[Certificate, ...] = ()
) -> Outcome:
    bundles = {
        index: SignatureFile(data=(checkpoint / path).read_bytes(), path=path) for index, path in enumerate(paths)
    }
    found = examine_all(bundles, manifest(checkpoint), keys=[key.public for key in keys], roots=roots, at=NOW)
    told = {paths[index]: item for index, item in found.items()}
    return Outcome(
        proven={path: item for path, item in told.items() if not isinstance(item, SignatureError)},
        refused={path: item for path, item in told.items() if isinstance(item, SignatureError)},
    )


def put(checkpoint: Path, name: str, key: PrivateKey = ALICE, **options: Any) -> None:
    """Sign what is there, and put the bundle into it."""
    (checkpoint / name).write_bytes(sign(manifest(checkpoint), key, **options))


def rewritten(bundle: bytes, change: Callable[[Any], object]) -> bytes:
    """Change what is around a signature, which takes no key."""
    body = json.loads(bundle)
    change(body)
    return json.dumps(body).encode()


def not_signed(found: Outcome, path: str, because: str) -> None:
    """Nothing is signed, for this path is a file like any other."""
    assert not found.proven
    told = " ".join(found.refused["model.sig"].findings)
    assert f"{path} is extra" in told
    assert because in told


def test_model_weights_declared_as_a_signature_are_not_exempt(checkpoint: Path) -> None:
    put(checkpoint, "model.sig")
    (checkpoint / "adapter_model.safetensors").write_bytes(b"backdoor" * 100)
    found = look(checkpoint, "model.sig", "adapter_model.safetensors")
    not_signed(found, "adapter_model.safetensors", "is not JSON")


def test_signature_of_a_stranger_is_not_exempt(checkpoint: Path) -> None:
    put(checkpoint, "model.sig")
    put(checkpoint, "config.json", STRANGER)
    not_signed(
        look(checkpoint, "model.sig", "config.json"),
        "config.json",
        "none of the trusted public keys made the signature",
    )


def test_signature_by_an_expired_certificate_is_not_exempt(checkpoint: Path) -> None:
    put(checkpoint, "model.sig")
    expired = make(Wish(issuer=ROOT, start=NOW - 3 * DAY, end=NOW - DAY))
    put(checkpoint, "ci.sig", expired.signer, certificates=[expired.trusted])
    found = look(checkpoint, "model.sig", "ci.sig", roots=(ROOT.trusted,))
    not_signed(found, "ci.sig", "expired at")


def test_signature_of_another_model_is_not_exempt(checkpoint: Path, tmp_path: Path) -> None:
    """Whoever may read one signed model has a bundle that is right, by a key that counts."""
    put(checkpoint, "model.sig")
    other = tmp_path / "letters"
    other.mkdir()
    (other / "model.safetensors").write_bytes(b"other weights")
    (checkpoint / "tokenizer.json").write_bytes(sign(manifest(other), ALICE))
    found = look(checkpoint, "model.sig", "tokenizer.json")
    not_signed(found, "tokenizer.json", "it does not sign these files")


def test_signature_of_a_signed_subset_of_the_files_is_not_exempt(checkpoint: Path) -> None:
    put(checkpoint, "older.sig")
    (checkpoint / "new.bin").touch()
    put(checkpoint, "model.sig")
    (checkpoint / "older.sig").rename(checkpoint / "moved.sig")
    found = look(checkpoint, "model.sig", "moved.sig")
    assert not found.proven
    assert "older.sig is renamed to moved.sig" in found.refused["model.sig"].findings[0]


POLYGLOTS: dict[str, Callable[[bytes], bytes]] = {
    "a configuration": lambda bundle: rewritten(
        bundle, lambda body: body.update({"auto_map": {"AutoModel": "evil.M"}})
    ),
    "in the envelope": lambda bundle: rewritten(bundle, lambda body: body["dsseEnvelope"].update({"x": ["evil"]})),
    "in the material": lambda bundle: rewritten(
        bundle, lambda body: body["verificationMaterial"].update({"tlogEntries": [{"canonicalizedBody": "evil"}]})
    ),
    "beside the signature": lambda bundle: rewritten(
        bundle, lambda body: body["dsseEnvelope"]["signatures"][0].update({"x": "evil"})
    ),
    "a template as the name of the key": lambda bundle: rewritten(
        bundle, lambda body: body["verificationMaterial"]["publicKey"].update({"hint": "{{ cycler.__init__ }}"})
    ),
    "a template as the id of the key": lambda bundle: rewritten(
        bundle, lambda body: body["dsseEnvelope"]["signatures"][0].update({"keyid": "{% import os %}"})
    ),
    "blanks without end": lambda bundle: bundle + b" " * 10_000,
}


@pytest.mark.parametrize("attack", POLYGLOTS.values(), ids=POLYGLOTS)
def test_bundle_that_is_something_else_as_well_is_not_exempt(
    checkpoint: Path, attack: Callable[[bytes], bytes]
) -> None:
    put(checkpoint, "model.sig")
    bundle = (checkpoint / "model.sig").read_bytes()
    (checkpoint / "config.json").write_bytes(attack(bundle))
    not_signed(look(checkpoint, "model.sig", "config.json"), "config.json", "it holds more than a signature")


@pytest.mark.parametrize("after", [b"\0", b"PK\x05\x06" + bytes(18), b"{}", b"cos\nsystem\n."])
def test_bundle_with_something_behind_it_is_not_exempt(checkpoint: Path, after: bytes) -> None:
    put(checkpoint, "model.sig")
    (checkpoint / "b.bin").write_bytes((checkpoint / "model.sig").read_bytes() + after)
    not_signed(look(checkpoint, "model.sig", "b.bin"), "b.bin", "is not JSON")


def test_spare_bits_of_base64_hide_nothing(checkpoint: Path) -> None:
    bundles = (sign(manifest(checkpoint), ALICE, name="x" * length) for length in range(1, 4))
    bundle, text = next(
        (item, text) for item in bundles if "=" in (text := json.loads(item)["dsseEnvelope"]["payload"])
    )
    (checkpoint / "model.sig").write_bytes(bundle)
    spare = text.rstrip("=")
    twisted = spare[:-1] + chr(ord(spare[-1]) + 1) + "=" * (len(text) - len(spare))
    assert base64.b64decode(twisted, validate=True) == base64.b64decode(text)
    (checkpoint / "b.json").write_bytes(bundle.replace(text.encode(), twisted.encode()))
    not_signed(look(checkpoint, "model.sig", "b.json"), "b.json", "it holds more than a signature")


def test_indented_bundle_is_still_a_bundle(checkpoint: Path) -> None:
    put(checkpoint, "model.sig")
    body = json.loads((checkpoint / "model.sig").read_bytes())
    (checkpoint / "model.sig").write_text(json.dumps(body, indent=4) + "\n")
    assert list(look(checkpoint, "model.sig").proven) == ["model.sig"]


@pytest.mark.parametrize("name", ["Model.sig", "modél.sig", "sub/model.sig", "model.sig "])
def test_path_that_only_looks_like_the_one_that_is_named_is_extra(checkpoint: Path, name: str) -> None:
    put(checkpoint, "model.sig")
    (checkpoint / name).parent.mkdir(exist_ok=True)
    (checkpoint / name).write_bytes((checkpoint / "model.sig").read_bytes())
    found = look(checkpoint, "model.sig")
    assert f"{name} is extra" in found.refused["model.sig"].findings


def test_bundle_in_a_config_map_lets_no_file_ride_along(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), ALICE)
    (checkpoint / "model.sig").write_bytes(bundle)
    found = examine_all({0: SignatureFile(data=bundle)}, manifest(checkpoint), keys=[ALICE.public], roots=[], at=NOW)
    assert isinstance(found[0], SignatureError)


def test_same_path_twice_is_one_signature(checkpoint: Path) -> None:
    put(checkpoint, "model.sig")
    data = (checkpoint / "model.sig").read_bytes()
    twice = {index: SignatureFile(data=data, path="model.sig") for index in range(2)}
    found = examine_all(twice, manifest(checkpoint), keys=[ALICE.public], roots=[], at=NOW)
    facts = [fact for item in found.values() if not isinstance(item, SignatureError) for fact in item]
    assert {fact.key_id for fact in facts} == {ALICE.public.key_id}


def test_file_that_changed_after_it_was_read_is_not_exempt(checkpoint: Path) -> None:
    put(checkpoint, "model.sig")
    before = (checkpoint / "model.sig").read_bytes()
    (checkpoint / "model.sig").write_bytes(b"payload")
    found = examine_all(
        {0: SignatureFile(data=before, path="model.sig")}, manifest(checkpoint), keys=[ALICE.public], roots=[], at=NOW
    )
    assert isinstance(found[0], SignatureError)


@pytest.mark.parametrize("order", list(permutations(["a.sig", "b.sig", "c.sig"])))
def test_signatures_made_one_after_the_other_are_right_in_any_order(checkpoint: Path, order: tuple[str, ...]) -> None:
    leaf = make(Wish(issuer=ROOT))
    put(checkpoint, "a.sig", ALICE, ignored=["a.sig"])
    put(checkpoint, "b.sig", leaf.signer, certificates=[leaf.trusted])
    put(checkpoint, "c.sig", BOB)
    found = look(checkpoint, *order, roots=(ROOT.trusted,))
    assert not found.refused
    outside = {path: {order[index] for index in facts[0].outside} for path, facts in found.proven.items()}
    assert outside == {"a.sig": {"b.sig", "c.sig"}, "b.sig": {"c.sig"}, "c.sig": set()}
    assert found.proven["b.sig"][0].identity == IDENTITY


def test_signatures_made_side_by_side_of_the_same_files_are_right(checkpoint: Path) -> None:
    bundles = {name: sign(manifest(checkpoint), key) for name, key in (("a.sig", ALICE), ("b.sig", BOB))}
    for name, bundle in bundles.items():
        (checkpoint / name).write_bytes(bundle)
    assert set(look(checkpoint, "a.sig", "b.sig").proven) == {"a.sig", "b.sig"}

"""The other implementation, `model-signing` 1.1.1: each accepts what the other signed, and only that.

It is called as a library; `tests/unit/cli/signatures/test_signing.py` calls its command.
"""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lastgood.verify import manifest
from lastgood.verify.signing import (
    CURVES,
    Claims,
    PrivateKey,
    SignatureError,
    SignatureFact,
    examine,
    generate_key,
    sign,
)
from tests.unit.verify.signing.makers import IDENTITY, NOW, Holder, Wish, authority, make
from tests.unit.verify.signing.test_files import add, flip, swap

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the other implementation and what it imports
    import model_signing

THEIRS: Any = model_signing  # its functions are not typed

IMAGE = f"registry.example/serving@sha256:{'e' * 64}"
CLAIMS = Claims(model="digits", version="2", trained_at=NOW, data_cutoff=NOW, signed_at=NOW, image=IMAGE)
Attack = Callable[[Path], object]
ATTACKS = {
    "flipped byte": (flip, "shards/1.bin"),
    "swapped": (swap, "shards/1.bin"),
    "extra": (add("evil.py"), "evil.py"),
    "missing": (lambda at: (at / "config.json").unlink(), "config.json"),
    "renamed": (lambda at: (at / "config.json").rename(at / "config.bak"), "config.json"),
    "truncated": (lambda at: (at / "shards" / "2.bin").write_bytes(b"\x02" * 4999), "shards/2.bin"),
    "extended": (lambda at: (at / "shards" / "2.bin").write_bytes(b"\x02" * 5001), "shards/2.bin"),
}
MUTATIONS = pytest.mark.parametrize(("attack", "name"), ATTACKS.values(), ids=ATTACKS)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A checkpoint, and the files beside it."""

    checkpoint: Path
    signature: Path
    key: Path
    public: Path
    certificate: Path
    middle: Path
    root: Path
    signer: PrivateKey
    holders: tuple[Holder, ...]  # the signer's certificate, the intermediate, the root


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    checkpoint = tmp_path / "digits"
    (checkpoint / "shards").mkdir(parents=True)
    (checkpoint / "shards-a").mkdir()  # sorted otherwise by parts than by characters
    (checkpoint / "shards-a" / "é 1.bin").write_bytes(b"\x03" * 10)
    (checkpoint / "config.json").write_text('{"classes": 10}')
    (checkpoint / "shards" / "1.bin").write_bytes(b"\x01" * 5000)
    (checkpoint / "shards" / "2.bin").write_bytes(b"\x02" * 5000)
    root = authority()
    middle = authority("middle", root)
    signer = make(Wish(issuer=middle))
    paths = [holder.write(tmp_path, name) for name, holder in (("signer", signer), ("middle", middle), ("root", root))]
    public = tmp_path / "public.pem"
    public.write_bytes(signer.signer.public.pem())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Place(
            checkpoint=checkpoint,
            signature=tmp_path / "model.sig",
            key=paths[0][1],
            public=public,
            certificate=paths[0][0],
            middle=paths[1][0],
            root=paths[2][0],
            signer=signer.signer,
            holders=(signer, middle, root),
        )


def they_sign(place: Place, method: str, **hashing: Any) -> None:
    config = THEIRS.signing.Config()
    if method == "key":
        config.use_elliptic_key_signer(private_key=place.key)
    else:
        config.use_certificate_signer(
            private_key=place.key,
            signing_certificate=place.certificate,
            certificate_chain=[place.middle, place.root],
        )
    if hashing:
        config.set_hashing_config(THEIRS.hashing.Config().set_ignored_paths(**hashing))
    config.sign(place.checkpoint, place.signature)


def they_verify(place: Place, method: str) -> None:
    config = THEIRS.verifying.Config()
    if method == "key":
        config.use_elliptic_key_verifier(public_key=place.public)
    else:
        config.use_certificate_verifier(certificate_chain=[place.root])
    config.verify(place.checkpoint, place.signature)


def we_sign(place: Place, method: str, claims: Claims | None = CLAIMS) -> None:
    certificates = [holder.trusted for holder in place.holders] if method == "certificate" else []
    files = manifest(place.checkpoint)
    place.signature.write_bytes(sign(files, place.signer, claims=claims, certificates=certificates, name="digits"))


def we_verify(place: Place, method: str) -> SignatureFact:
    keys = [place.signer.public] if method == "key" else []
    roots = [place.holders[-1].trusted] if method == "certificate" else []
    return examine(place.signature.read_bytes(), manifest(place.checkpoint), keys=keys, roots=roots, at=NOW)


METHODS = pytest.mark.parametrize("method", ["key", "certificate"])


@METHODS
def test_we_accept_what_they_signed(place: Place, method: str) -> None:
    they_sign(place, method)
    they_verify(place, method)
    fact = we_verify(place, method)
    assert (fact.method, fact.key_id, fact.claims) == (method, place.signer.public.key_id, None)
    assert fact.identity == (IDENTITY if method == "certificate" else "")


@METHODS
@pytest.mark.parametrize("claims", [CLAIMS, None], ids=["with claims", "without claims"])
def test_they_accept_what_we_signed(place: Place, method: str, claims: Claims | None) -> None:
    we_sign(place, method, claims)
    they_verify(place, method)
    assert we_verify(place, method).claims == claims


@METHODS
@MUTATIONS
def test_mutation_of_what_they_signed_is_refused_by_name(place: Place, method: str, attack: Attack, name: str) -> None:
    they_sign(place, method)
    attack(place.checkpoint)
    with pytest.raises(SignatureError, match=name) as caught:
        we_verify(place, method)
    assert any(name in finding for finding in caught.value.findings)


@METHODS
@MUTATIONS
def test_mutation_of_what_we_signed_is_refused_by_both(place: Place, method: str, attack: Attack, name: str) -> None:
    we_sign(place, method)
    attack(place.checkpoint)
    with pytest.raises(SignatureError, match=name):
        we_verify(place, method)
    with pytest.raises(ValueError, match="Signature mismatch"):
        they_verify(place, method)


@pytest.mark.parametrize("curve", CURVES)
def test_each_curve_in_both_directions(place: Place, curve: str) -> None:
    key = generate_key(curve)
    place.key.write_bytes(key.pem())
    place.public.write_bytes(key.public.pem())
    they_sign(place, "key")
    files = manifest(place.checkpoint)
    assert examine(place.signature.read_bytes(), files, keys=[key.public], roots=[], at=NOW)
    place.signature.write_bytes(sign(files, key))
    they_verify(place, "key")


def test_single_file_in_both_directions(place: Place) -> None:
    file = place.checkpoint / "config.json"
    config = THEIRS.signing.Config().use_elliptic_key_signer(private_key=place.key)
    config.sign(file, place.signature)
    (entry,) = (entry for entry in manifest(place.checkpoint) if entry.path == "config.json")
    alone = [type(entry)(path=".", size=entry.size, sha256=entry.sha256)]
    assert examine(place.signature.read_bytes(), alone, keys=[place.signer.public], roots=[], at=NOW)
    place.signature.write_bytes(sign(alone, place.signer))
    THEIRS.verifying.Config().use_elliptic_key_verifier(public_key=place.public).verify(file, place.signature)


def test_files_of_git_that_they_leave_out_are_told(place: Place) -> None:
    for name in (".git/hooks", ".gitattributes"):
        add(name)(place.checkpoint)
    they_sign(place, "key")
    assert we_verify(place, "key").left_out == (".git/hooks", ".gitattributes")


def test_payload_that_they_let_pass_is_told(place: Place) -> None:
    they_sign(place, "key")
    add(".github/evil.py")(place.checkpoint)
    they_verify(place, "key")
    assert we_verify(place, "key").left_out == (".github/evil.py",)


def test_shards_are_refused_by_name(place: Place) -> None:
    config = THEIRS.signing.Config().use_elliptic_key_signer(private_key=place.key)
    config.set_hashing_config(THEIRS.hashing.Config().use_shard_serialization())
    config.sign(place.checkpoint, place.signature)
    with pytest.raises(SignatureError, match=r"serialization.method: must be files, and is shards"):
        we_verify(place, "key")


def test_signature_inside_the_checkpoint_in_both_directions(place: Place) -> None:
    inside = place.checkpoint / "model.sig"
    they_sign(place, "key", paths=["model.sig"], ignore_git_paths=False)
    place.signature.rename(inside)
    assert we_verify_inside(place, inside).left_out == ()
    inside.unlink()
    bundle = sign(manifest(place.checkpoint), place.signer, ignored=["model.sig"])
    inside.write_bytes(bundle)
    THEIRS.verifying.Config().use_elliptic_key_verifier(public_key=place.public).verify(place.checkpoint, inside)
    assert we_verify_inside(place, inside).left_out == ()


def we_verify_inside(place: Place, inside: Path) -> SignatureFact:
    files = manifest(place.checkpoint)
    return examine(inside.read_bytes(), files, keys=[place.signer.public], roots=[], at=NOW, path=inside.name)

"""The files that were signed are the files that were read: every difference is named, in every direction."""

from collections.abc import Callable
from pathlib import Path

import pytest

from lastgood.api.names import Reason
from lastgood.verify import FileEntry, manifest
from lastgood.verify.signing import Problem, SignatureError, SignatureFact, examine, generate_key, sign
from tests.unit.verify.signing.makers import NOW

KEY = generate_key()


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    checkpoint = tmp_path / "digits"
    (checkpoint / "shards").mkdir(parents=True)
    (checkpoint / "config.json").write_text('{"classes": 10}')
    (checkpoint / "shards" / "1.bin").write_bytes(b"\x01" * 5000)
    (checkpoint / "shards" / "2.bin").write_bytes(b"\x02" * 5000)
    return checkpoint


def held(bundle: bytes, checkpoint: Path, **options: str) -> SignatureFact:
    return examine(bundle, manifest(checkpoint), keys=[KEY.public], roots=[], at=NOW, **options)


def refused(bundle: bytes, checkpoint: Path, **options: str) -> tuple[str, ...]:
    with pytest.raises(SignatureError) as caught:
        held(bundle, checkpoint, **options)
    assert caught.value.reason == Problem.FILES_DIFFER
    assert caught.value.findings[0] in str(caught.value)
    return caught.value.findings


Attack = Callable[[Path], object]


def flip(checkpoint: Path) -> None:
    content = bytearray((checkpoint / "shards" / "1.bin").read_bytes())
    content[2500] ^= 1
    (checkpoint / "shards" / "1.bin").write_bytes(content)


def swap(checkpoint: Path) -> None:
    one, two, aside = (checkpoint / "shards" / name for name in ("1.bin", "2.bin", "aside"))
    one.rename(aside)
    two.rename(one)
    aside.rename(two)


def add(name: str) -> Attack:
    def write(checkpoint: Path) -> None:
        (checkpoint / name).parent.mkdir(exist_ok=True)
        (checkpoint / name).write_text("import os")

    return write


@pytest.mark.parametrize(
    ("attack", "findings"),
    [
        pytest.param(flip, ["shards/1.bin is changed (its sha256 is "], id="flipped byte"),
        pytest.param(
            lambda at: (at / "config.json").write_text("{}"), ["config.json is changed (its sha256 is "], id="changed"
        ),
        pytest.param(
            lambda at: (at / "config.json").write_text(""),
            ["config.json is changed (its sha256 is e3b0c44"],
            id="empty",
        ),
        pytest.param(
            swap,
            [
                "shards/1.bin is swapped: it has the bytes that were signed as shards/2.bin",
                "shards/2.bin is swapped: it has the bytes that were signed as shards/1.bin",
            ],
            id="swapped",
        ),
        pytest.param(
            lambda at: (at / "config.json").rename(at / "config.bak"),
            ["config.json is renamed to config.bak"],
            id="renamed",
        ),
        pytest.param(lambda at: (at / "config.json").unlink(), ["config.json is missing"], id="missing"),
        pytest.param(add("evil.py"), ["evil.py is extra"], id="extra"),
        pytest.param(add(".git/hooks"), [".git/hooks is extra"], id="extra in a hidden directory"),
        pytest.param(add("a\n\x1b[2J"), ["a\\n\\x1b[2J is extra"], id="extra with a name that clears the screen"),
        pytest.param(
            lambda at: [attack(at) for attack in (lambda at: (at / "config.json").unlink(), flip, add("evil.py"))],
            ["shards/1.bin is changed", "config.json is missing", "evil.py is extra"],
            id="three at once",
        ),
    ],
)
def test_every_mutation_is_named(checkpoint: Path, attack: Attack, findings: list[str]) -> None:
    bundle = sign(manifest(checkpoint), KEY)
    held(bundle, checkpoint)
    attack(checkpoint)
    found = refused(bundle, checkpoint)
    assert len(found) == len(findings)
    assert all(told.startswith(finding) for told, finding in zip(found, findings, strict=True)), found


def test_findings_end_at_twenty(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY)
    for number in range(30):
        (checkpoint / str(number)).touch()
    assert len(refused(bundle, checkpoint)) == 20


def test_payload_below_an_ignored_directory_is_told(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY, ignored=[".git/", "cache.json"])
    (checkpoint / ".git" / "hooks").mkdir(parents=True)
    (checkpoint / ".git" / "hooks" / "post-checkout").touch()
    (checkpoint / "cache.json").touch()
    assert held(bundle, checkpoint).left_out == (".git/hooks/post-checkout", "cache.json")


def test_name_that_begins_like_an_ignored_one_is_not_ignored(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY, ignored=[".git"])
    (checkpoint / ".gitmodules").touch()
    assert refused(bundle, checkpoint) == (".gitmodules is extra",)


def test_ignored_directory_that_a_file_leaves_is_no_excuse(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY, ignored=["../digits", "/", "shards/../config.json"])
    add("evil.py")(checkpoint)
    assert refused(bundle, checkpoint) == ("evil.py is extra",)


def test_ignoring_everything_is_told(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY, ignored=["."])
    add("evil.py")(checkpoint)
    assert held(bundle, checkpoint).left_out == ("evil.py",)


def test_signed_file_is_compared_although_it_is_ignored(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY, ignored=["shards"])
    flip(checkpoint)
    assert "shards/1.bin is changed" in refused(bundle, checkpoint)[0]


def test_left_out_files_end_at_twenty(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY, ignored=["."])
    for number in range(30):
        (checkpoint / str(number)).touch()
    assert len(held(bundle, checkpoint).left_out) == 20


def test_signature_may_lie_in_the_checkpoint(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY)
    (checkpoint / "model.sig").write_bytes(bundle)
    assert refused(bundle, checkpoint) == ("model.sig is extra",)
    assert held(bundle, checkpoint, path="model.sig").left_out == ()


def test_file_in_the_place_of_the_signature_is_no_signature(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), KEY)
    (checkpoint / "model.sig").write_bytes(b"payload")
    (finding,) = refused(bundle, checkpoint, path="model.sig")
    assert finding.startswith("model.sig is extra")
    assert "it is not the bundle that was read" in finding


def test_single_file_is_named_by_a_dot() -> None:
    file = FileEntry(path=".", size=1, sha256="a" * 64)
    bundle = sign([file], KEY)
    assert examine(bundle, [file], keys=[KEY.public], roots=[], at=NOW).method == "key"
    other = FileEntry(path=".", size=1, sha256="b" * 64)
    with pytest.raises(SignatureError, match="is changed"):
        examine(bundle, [other], keys=[KEY.public], roots=[], at=NOW)


def test_error_is_a_problem_that_a_judge_takes(checkpoint: Path) -> None:
    bundle = sign(manifest(checkpoint), generate_key())
    with pytest.raises(SignatureError) as caught:
        held(bundle, checkpoint)
    problem = caught.value.as_problem("spec.signatures[0]")
    assert (problem.source, problem.reason) == ("spec.signatures[0]", Reason.SIGNATURE_UNTRUSTED)
    invalid = SignatureError(Problem.MALFORMED, "x" * 1000).as_problem("a")
    assert (invalid.reason, len(invalid.message)) == (Reason.SIGNATURE_INVALID, 512)

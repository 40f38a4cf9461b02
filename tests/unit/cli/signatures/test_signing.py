"""`lastgood keygen`, `sign` and `verify --signature`: what they write, refuse and answer a pipeline with."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from lastgood.verify import digest
from tests.unit.cli.signing import Capture, body, call, theirs
from tests.unit.verify.signing.makers import DAY, NOW, Wish, authority, make
from tests.unit.verify.signing.test_files import add, flip, swap

Attack = Callable[[Path], object]
pytestmark = pytest.mark.usefixtures("place")


class TestKeygen:
    def test_private_key_is_for_its_owner_only(self) -> None:
        previous = os.umask(0)
        try:
            assert call("keygen", "--key", "k", "--public-key", "p", "--curve", "P-384") == 0
        finally:
            os.umask(previous)
        assert stat.S_IMODE(Path("k").stat().st_mode) == 0o600
        assert "PRIVATE" not in Path("p").read_text()

    def test_id_is_printed(self, capsys: Capture) -> None:
        capsys.readouterr()
        assert call("keygen", "--key", "k", "--public-key", "p") == 0
        assert len(capsys.readouterr().out.strip()) == 64

    @pytest.mark.parametrize("names", [("key.pem", "new"), ("new", "pub.pem"), ("new", "new")])
    def test_no_file_is_ever_overwritten(self, names: tuple[str, str], capsys: Capture) -> None:
        before = Path("key.pem").read_bytes(), Path("pub.pem").read_bytes()
        assert call("keygen", "--key", names[0], "--public-key", names[1]) == 2
        assert (Path("key.pem").read_bytes(), Path("pub.pem").read_bytes()) == before
        assert not Path("new").exists()
        assert names[1] in capsys.readouterr().err or names[0] == "key.pem"

    def test_dangling_link_in_its_place_is_not_followed(self) -> None:
        Path("k").symlink_to("elsewhere")
        assert call("keygen", "--key", "k", "--public-key", "p") == 2
        assert not Path("elsewhere").exists()

    def test_directory_that_is_not_there_leaves_nothing(self, capsys: Capture) -> None:
        assert call("keygen", "--key", "k", "--public-key", "none/p") == 2
        assert not Path("k").exists()
        assert "--public-key: none/p cannot be written: No such file or directory" in capsys.readouterr().err

    def test_password_is_needed_to_sign(self, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
        Path("password").write_text("secret\n")
        assert call("keygen", "--key", "k", "--public-key", "p", "--password-file", "password") == 0
        command = ("sign", "digits", "--key", "k", "--signature", "s")
        assert call(*command) == 2
        assert "is encrypted, and no password was given" in capsys.readouterr().err
        assert call(*command, "--password-file", "pub.pem") == 2
        assert "the password is wrong" in capsys.readouterr().err
        monkeypatch.setenv("LASTGOOD_KEY_PASSWORD", "secret")
        assert call(*command) == 0
        assert call("verify", "digits", "--signature", "s", "--public-key", "p") == 0

    def test_empty_password_file_is_no_password(self, capsys: Capture) -> None:
        Path("password").write_text("\n")
        assert call("keygen", "--key", "k", "--public-key", "p", "--password-file", "password") == 2
        assert "--password-file: password is empty" in capsys.readouterr().err


class TestSign:
    def test_image_is_signed_with_the_claims_and_only_by_digest(self, capsys: Capture) -> None:
        image, words = f"registry.example/serving@sha256:{'e' * 64}", ("--model", "digits", "--version", "2")
        sign = ("sign", "digits", "--key", "key.pem", "--signature", "s")
        assert call(*sign, "--image", image) == 2
        assert "--image: is signed together with --model and --version" in capsys.readouterr().err
        for wrong in ("registry.example/serving:2", f"serving@sha256:{'e' * 64}", ""):
            assert call(*sign, *words, "--image", wrong) == 2
            assert "must be registry/repository@sha256: and 64 hex digits" in capsys.readouterr().err
        assert call(*sign, *words, "--image", image) == 0
        assert call("verify", "digits", "--signature", "s", "--public-key", "pub.pem", "--output", "yaml") == 0
        assert f"image: {image}" in capsys.readouterr().out

    def test_claims_are_signed_and_told(self, capsys: Capture) -> None:
        words = ("--model", "digits", "--version", "2", "--trained-at", "2026-03-01", "--data-cutoff", "2026-02-20")
        assert call("sign", "digits", "--key", "key.pem", "--signature", "s", *words) == 0
        assert "signed 3 files, 10.0 kB, with the key " in capsys.readouterr().out
        _, told = body(capsys, "digits", "--signature", "s", "--public-key", "pub.pem")
        claims = told["signatures"][0]["claims"]
        assert (claims["model"], claims["version"], claims["dataCutoff"][:10]) == ("digits", "2", "2026-02-20")
        assert claims["signedAt"][:10] >= "2026"

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--model", "digits"], "--model and --version: are signed together"),
            (["--trained-at", "2026-03-01"], "--trained-at: is signed together with --model"),
            (["--certificate-chain", "pub.pem"], "--certificate-chain: requires --certificate"),
            (["--certificate", "pub.pem"], "--certificate: pub.pem: the certificate must be PEM text"),
            (["--key", "none.pem"], "--key: none.pem cannot be read: No such file or directory"),
            (["--key", "pub.pem"], "--key: pub.pem: the private key cannot be read"),
            (["--key", "/dev/zero"], "--key: /dev/zero is larger than 1048576 bytes"),
            (["--signature", "digits/config.json"], "exists and is never overwritten"),
            (["--signature", "none/s"], "--signature: none/s cannot be written"),
        ],
    )
    def test_mistakes_are_named(self, options: list[str], words: str, capsys: Capture) -> None:
        assert call("sign", "digits", "--key", "key.pem", "--signature", "s", *options) == 2
        assert words in capsys.readouterr().err
        assert not Path("s").exists()

    def test_checkpoint_that_cannot_be_read_is_not_signed(self) -> None:
        assert call("sign", "none", "--key", "key.pem", "--signature", "s") == 3

    def test_checkpoint_with_a_link_is_not_signed(self) -> None:
        Path("digits/link").symlink_to("config.json")
        assert call("sign", "digits", "--key", "key.pem", "--signature", "s") == 1

    def test_expired_certificate_does_not_sign(self, place: Path, capsys: Capture) -> None:
        expired = make(Wish(issuer=authority(), start=NOW - 9 * DAY, end=NOW - DAY))
        certificate, key = expired.write(place, "expired")
        assert call("sign", "digits", "--key", key, "--signature", "s", "--certificate", certificate) == 2
        assert "--certificate: the certificate CN=signer expired at" in capsys.readouterr().err


class TestVerify:
    def test_verified(self, signed: tuple[str, ...], capsys: Capture) -> None:
        assert call("verify", *signed) == 0
        assert "Verified: digits is sha256:" in capsys.readouterr().out
        code, told = body(capsys, *signed)
        assert (code, told["verdict"], told["expected"]) == (0, "Verified", None)
        assert told["actual"] == digest(Path("digits")).digest
        assert [signature["counts"] for signature in told["signatures"]] == [True]

    def test_yaml_says_the_same(self, signed: tuple[str, ...], capsys: Capture) -> None:
        capsys.readouterr()
        assert call("verify", *signed, "--output", "yaml") == 0
        told = yaml.safe_load(capsys.readouterr().out)
        assert told.pop("seconds") >= 0
        expected = body(capsys, *signed)[1]
        expected.pop("seconds")
        assert told == expected

    @pytest.mark.parametrize(
        ("attack", "finding"),
        [
            pytest.param(flip, "shards/1.bin is changed", id="flipped byte"),
            pytest.param(swap, "shards/1.bin is swapped", id="swapped"),
            pytest.param(add("evil.py"), "evil.py is extra", id="extra"),
            pytest.param(add(".git/hooks"), ".git/hooks is extra", id="extra in a hidden directory"),
            pytest.param(lambda at: (at / "config.json").unlink(), "config.json is missing", id="missing"),
            pytest.param(lambda at: (at / "a").symlink_to("config.json"), "a is a symbolic link", id="a link"),
        ],
    )
    def test_mutation_is_refused_by_name(
        self, attack: Attack, finding: str, signed: tuple[str, ...], capsys: Capture
    ) -> None:
        attack(Path("digits"))
        code, told = body(capsys, *signed)
        assert (code, told["verdict"]) == (1, "SignatureInvalid")
        assert told["findings"][0].startswith(finding)
        assert call("verify", *signed) == 1
        assert finding in capsys.readouterr().out

    def test_digest_and_signature_must_both_be_right(self, signed: tuple[str, ...], capsys: Capture) -> None:
        right = digest(Path("digits")).digest
        assert call("verify", *signed, "--digest", right) == 0
        code, told = body(capsys, *signed, "--digest", "sha256:" + "0" * 64)
        assert (code, told["verdict"], told["signatures"]) == (1, "DigestMismatch", [])
        call("keygen", "--key", "k", "--public-key", "other.pem")
        code, told = body(capsys, *signed[:-1], "other.pem", "--digest", right)
        assert (code, told["verdict"]) == (1, "SignatureUntrusted")

    def test_single_file(self, capsys: Capture) -> None:
        file = "digits/config.json"
        assert call("sign", file, "--key", "key.pem", "--signature", "s") == 0
        assert call("verify", file, "--signature", "s", "--public-key", "pub.pem") == 0
        Path(file).write_text("{}")
        code, told = body(capsys, file, "--signature", "s", "--public-key", "pub.pem")
        assert (code, told["verdict"]) == (1, "SignatureInvalid")
        assert told["findings"][0].startswith(". is changed")

    def test_signature_inside_the_checkpoint(self, capsys: Capture) -> None:
        assert call("sign", "digits", "--key", "key.pem", "--signature", "digits/model.sig") == 0
        arguments = ("digits", "--signature", "digits/model.sig", "--public-key", "pub.pem")
        assert call("verify", *arguments) == 0
        Path("digits/model.sig").rename("digits/other.sig")
        code, told = body(capsys, "digits", "--signature", "digits/other.sig", "--public-key", "pub.pem")
        assert (code, told["verdict"]) == (0, "Verified")
        Path("digits/other.sig").rename("outside.sig")
        add("model.sig")(Path("digits"))
        code, told = body(capsys, "digits", "--signature", "outside.sig", "--public-key", "pub.pem")
        assert (code, told["verdict"]) == (1, "FilesLeftOut")

    def test_files_left_out_are_refused_unless_allowed(self, capsys: Capture) -> None:
        add(".git/hooks")(Path("digits"))
        signing = ("sign", "key", "digits", "--private_key", "key.pem", "--signature", "model.sig")
        assert theirs(*signing).returncode == 0
        arguments = ("digits", "--signature", "model.sig", "--public-key", "pub.pem")
        code, told = body(capsys, *arguments)
        assert (code, told["verdict"], told["signatures"][0]["leftOut"]) == (1, "FilesLeftOut", [".git/hooks"])
        assert "files not covered by the signature: .git/hooks" in told["message"]
        assert call("verify", *arguments, "--allow-left-out") == 0

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["digits"], "--digest or --signature: one is required; without a check nothing passes"),
            (["digits", "--signature", "model.sig"], "--signature: needs a --public-key"),
            (["digits", "--public-key", "pub.pem"], "--public-key: requires --signature"),
            (["digits", "--identity", "a"], "--identity: requires --signature"),
            (["digits", "--threshold", "1"], "--threshold: requires --signature"),
            (["digits", "--allow-left-out"], "--allow-left-out: requires --signature"),
            (["digits", "--manifest", "a"], "--digest or --signature"),
        ],
    )
    def test_wrong_usage_is_named(self, arguments: list[str], words: str, capsys: Capture) -> None:
        assert call("verify", *arguments) == 2
        assert words in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--threshold", "0"], "--threshold: must be a whole number above 0"),
            (["--threshold", "-1"], "--threshold: must be a whole number above 0"),
            (["--threshold", "2"], "2 signers are more than the 1 given; each key counts once"),
            (["--threshold", "2", "--public-key", "pub.pem"], "are more than the 1 given"),
            (["--certificate-chain", "pub.pem"], "--certificate-chain and --identity: belong together"),
            (["--identity", "a"], "--certificate-chain and --identity: belong together"),
            (["--identity", "", "--certificate-chain", "pub.pem"], "--identity: must not be empty"),
            (["--identity", "a", "--certificate-chain", "pub.pem"], "pub.pem: the certificate must be PEM"),
            (["--public-key", "key.pem"], "--public-key: key.pem: the public key must be PEM text"),
            (["--public-key", "none.pem"], "--public-key: none.pem cannot be read"),
            (["--signature", "a"] * 17, "--signature: at most 16"),
            (["--manifest", "a"], "--manifest: belongs to --digest"),
        ],
    )
    def test_wrong_usage_of_signatures_is_named(
        self, options: list[str], words: str, signed: tuple[str, ...], capsys: Capture
    ) -> None:
        assert call("verify", *signed, *options) == 2
        assert words in capsys.readouterr().err

    def test_signature_that_cannot_be_read_is_not_a_refusal(self, signed: tuple[str, ...], capsys: Capture) -> None:
        Path("model.sig").unlink()
        code, told = body(capsys, *signed)
        assert (code, told["verdict"]) == (3, "Unreadable")
        assert "model.sig: ENOENT" in told["message"]

    def test_checkpoint_that_cannot_be_read_is_not_a_refusal(self, signed: tuple[str, ...], capsys: Capture) -> None:
        Path("digits").rename("elsewhere")
        code, told = body(capsys, *signed)
        assert (code, told["verdict"]) == (3, "Unreadable")

    @pytest.mark.timeout(20)
    def test_fifo_in_place_of_the_signature_does_not_hang(self, signed: tuple[str, ...], capsys: Capture) -> None:
        Path("model.sig").unlink()
        os.mkfifo("model.sig")
        code, told = body(capsys, *signed)
        assert (code, told["verdict"]) == (1, "SignatureInvalid")
        assert "model.sig is a FIFO" in told["message"]

    @pytest.mark.parametrize("garbage", [b"", b"\x00" * 100, b"[" * 100_000, b'{"a":1,"a":2}'])
    def test_garbage_in_place_of_the_signature_is_refused(
        self, garbage: bytes, signed: tuple[str, ...], capsys: Capture
    ) -> None:
        Path("model.sig").write_bytes(garbage)
        code, told = body(capsys, *signed)
        assert (code, told["verdict"]) == (1, "SignatureInvalid")
        assert told["message"].startswith("model.sig: bundle")

    def test_sparse_terabyte_in_place_of_the_signature_is_refused(
        self, signed: tuple[str, ...], capsys: Capture
    ) -> None:
        os.truncate("model.sig", 10**12)
        code, told = body(capsys, *signed)
        assert (code, told["verdict"]) == (1, "SignatureInvalid")
        assert "is larger than 67108864 bytes" in told["message"]

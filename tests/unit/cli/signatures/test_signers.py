"""Who signed: thresholds of keys, certificates, and the other implementation's command in both directions."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.unit.cli.signing import Capture, body, call, theirs
from tests.unit.verify.signing.makers import DAY, IDENTITY, NOW, Wish, authority, make
from tests.unit.verify.signing.test_files import add, flip

pytestmark = pytest.mark.usefixtures("place")


class TestThreshold:
    @pytest.fixture(autouse=True)
    def second(self, signed: tuple[str, ...]) -> None:
        assert signed
        call("keygen", "--key", "key2.pem", "--public-key", "pub2.pem")
        call("sign", "digits", "--key", "key2.pem", "--signature", "second.sig")
        call("sign", "digits", "--key", "key.pem", "--signature", "again.sig")

    def verify(self, capsys: Capture, *options: object) -> tuple[int, Any]:
        return body(capsys, "digits", "--public-key", "pub.pem", "--public-key", "pub2.pem", *options)

    def test_two_keys_are_two_signers(self, capsys: Capture) -> None:
        code, told = self.verify(capsys, "--signature", "model.sig", "--signature", "second.sig", "--threshold", 2)
        assert (code, told["verdict"]) == (0, "Verified")
        assert "signed by pub.pem, pub2.pem" in told["message"]

    def test_two_signatures_by_one_key_are_one_signer(self, capsys: Capture) -> None:
        code, told = self.verify(capsys, "--signature", "model.sig", "--signature", "again.sig", "--threshold", 2)
        assert (code, told["verdict"]) == (1, "TooFewSignatures")
        assert "1 of 2 signatures" in told["message"]

    def test_one_key_in_two_files_is_one_signer(self, capsys: Capture) -> None:
        Path("copy.pem").write_bytes(Path("pub.pem").read_bytes())
        options = ("--public-key", "copy.pem", "--signature", "model.sig", "--signature", "again.sig", "--threshold", 2)
        code, told = self.verify(capsys, *options)
        assert (code, told["verdict"]) == (1, "TooFewSignatures")

    def test_without_a_threshold_each_signature_must_be_right(self, capsys: Capture) -> None:
        call("keygen", "--key", "k", "--public-key", "p")
        call("sign", "digits", "--key", "k", "--signature", "stranger.sig")
        options = ("--signature", "model.sig", "--signature", "stranger.sig")
        code, told = self.verify(capsys, *options)
        assert (code, told["verdict"]) == (1, "SignatureUntrusted")
        assert [signature["counts"] for signature in told["signatures"]] == [True, False]
        assert self.verify(capsys, *options, "--threshold", 1)[0] == 0


class TestInside:
    """Signature files that are files of the checkpoint."""

    @pytest.fixture(autouse=True)
    def two(self, place: Path) -> None:
        assert place
        call("keygen", "--key", "key2.pem", "--public-key", "pub2.pem")
        call("sign", "digits", "--key", "key.pem", "--signature", "digits/a.sig")
        call("sign", "digits", "--key", "key2.pem", "--signature", "digits/b.sig")

    def verify(self, capsys: Capture, names: str, *options: object) -> tuple[int, Any]:
        given = [word for name in names.split() for word in ("--signature", f"digits/{name}")]
        return body(capsys, "digits", "--public-key", "pub.pem", *given, *options)

    @pytest.mark.parametrize("names", ["a.sig b.sig", "b.sig a.sig"])
    def test_one_made_after_the_other_is_right_in_any_order(self, names: str, capsys: Capture) -> None:
        code, told = self.verify(capsys, names, "--public-key", "pub2.pem", "--threshold", 2)
        assert (code, told["verdict"]) == (0, "Verified")

    @pytest.mark.parametrize("options", [(), ("--threshold", 1)], ids=["all right", "one suffices"])
    def test_model_weights_declared_as_a_signature_are_not_exempt(
        self, options: tuple[object, ...], capsys: Capture
    ) -> None:
        Path("digits/model.safetensors").write_bytes(b"backdoor")
        code, told = self.verify(capsys, "a.sig b.sig model.safetensors", "--public-key", "pub2.pem", *options)
        assert (code, told["verdict"]) == (1, "SignatureInvalid")
        assert "model.safetensors is extra" in told["findings"][0]

    def test_signature_by_a_key_that_was_not_given_is_not_exempt(self, capsys: Capture) -> None:
        code, told = self.verify(capsys, "a.sig b.sig", "--threshold", 1)
        assert (code, told["verdict"]) == (1, "SignatureInvalid")
        assert "b.sig is extra" in told["findings"][0]

    def test_certificate_of_somebody_else_lets_no_file_ride_along(self, place: Path, capsys: Capture) -> None:
        root = authority()
        certificate, key = make(Wish(issuer=root, identities=(x509.DNSName("intern"),))).write(place, "intern")
        root.write(place, "root")
        call("sign", "digits", "--key", key, "--certificate", certificate, "--signature", "digits/c.sig")
        trusted = ("--public-key", "pub2.pem", "--certificate-chain", "root.crt", "--identity", IDENTITY)
        code, told = self.verify(capsys, "a.sig b.sig c.sig", *trusted, "--threshold", 2)
        assert (code, told["verdict"]) == (1, "FilesLeftOut")


class TestCertificates:
    @pytest.fixture
    def chain(self, place: Path) -> None:
        root = authority()
        middle = authority("middle", root)
        make(Wish(issuer=middle)).write(place, "signer")
        root.write(place, "root")
        middle.write(place, "middle")
        authority("other").write(place, "other")

    @pytest.fixture
    def arguments(self, chain: None) -> tuple[str, ...]:
        assert chain is None
        certificates = ("--certificate", "signer.crt", "--certificate-chain", "middle.crt")
        assert call("sign", "digits", "--key", "signer.key", "--signature", "model.sig", *certificates) == 0
        return "digits", "--signature", "model.sig", "--certificate-chain"

    def test_right_root_and_identity(self, arguments: tuple[str, ...], capsys: Capture) -> None:
        code, told = body(capsys, *arguments, "root.crt", "--identity", IDENTITY)
        assert (code, told["verdict"]) == (0, "Verified")
        signature = told["signatures"][0]
        assert (signature["method"], signature["identity"]) == ("certificate", IDENTITY)
        assert signature["notAfter"] > signature["notBefore"]

    def test_one_of_several_roots_and_identities(self, arguments: tuple[str, ...]) -> None:
        more = ("--certificate-chain", "other.crt", "--identity", "somebody@example.org")
        assert call("verify", *arguments, "root.crt", "--identity", IDENTITY, *more) == 0

    @pytest.mark.parametrize("identity", ["https://ci.example.org/releas", IDENTITY.upper(), f"{IDENTITY}/", ".*"])
    def test_wrong_identity_is_refused(self, identity: str, arguments: tuple[str, ...], capsys: Capture) -> None:
        code, told = body(capsys, *arguments, "root.crt", "--identity", identity)
        assert (code, told["verdict"]) == (1, "SignatureUntrusted")
        assert f"the certificate is for '{IDENTITY}', who is not trusted" in told["message"]

    def test_chain_to_another_root_is_refused(self, arguments: tuple[str, ...], capsys: Capture) -> None:
        code, told = body(capsys, *arguments, "other.crt", "--identity", IDENTITY)
        assert (code, told["verdict"]) == (1, "SignatureUntrusted")
        assert "does not chain to any of the 1 trusted certificates" in told["message"]

    def test_expired_certificate_that_model_signing_accepts_is_refused(self, place: Path, capsys: Capture) -> None:
        root = authority()
        make(Wish(issuer=root, start=NOW - 9 * DAY, end=NOW - timedelta(hours=1))).write(place, "expired")
        root.write(place, "root")
        certificate = ("--signing_certificate", "expired.crt", "--certificate_chain", "root.crt")
        signing = ("sign", "certificate", "digits", "--private_key", "expired.key", *certificate)
        assert theirs(*signing, "--signature", "model.sig").returncode == 0
        checking = ("verify", "certificate", "digits", "--certificate_chain", "root.crt", "--signature", "model.sig")
        assert theirs(*checking).returncode == 0
        arguments = ("digits", "--signature", "model.sig", "--certificate-chain", "root.crt", "--identity", IDENTITY)
        code, told = body(capsys, *arguments)
        assert (code, told["verdict"]) == (1, "KeyNotValidNow")
        assert "CN=signer expired at" in told["message"]

    def test_their_command_accepts_ours_and_ours_theirs(self, arguments: tuple[str, ...]) -> None:
        checking = ("verify", "certificate", "digits", "--certificate_chain", "root.crt", "--signature")
        accepted = theirs(*checking, "model.sig")
        assert accepted.returncode == 0, accepted.stderr
        certificate = ("--signing_certificate", "signer.crt", "--certificate_chain", "middle.crt")
        signing = ("sign", "certificate", "digits", "--private_key", "signer.key", *certificate)
        assert theirs(*signing, "--signature", "theirs.sig").returncode == 0
        ours = ("--certificate-chain", "root.crt", "--identity", IDENTITY)
        assert call("verify", arguments[0], "--signature", "theirs.sig", *ours) == 0
        flip(Path("digits"))
        assert theirs(*checking, "model.sig").returncode == 1
        assert call("verify", arguments[0], "--signature", "theirs.sig", *ours) == 1


def test_their_command_accepts_our_keys_and_signatures_and_ours_theirs(signed: tuple[str, ...]) -> None:
    checking = ("verify", "key", "digits", "--public_key", "pub.pem", "--signature")
    accepted = theirs(*checking, "model.sig")
    assert accepted.returncode == 0, accepted.stderr
    assert theirs("sign", "key", "digits", "--private_key", "key.pem", "--signature", "theirs.sig").returncode == 0
    assert call("verify", "digits", "--signature", "theirs.sig", "--public-key", "pub.pem") == 0
    flip(Path("digits"))
    assert theirs(*checking, "model.sig").returncode == 1
    assert call("verify", *signed) == 1


def test_their_command_accepts_what_we_signed_with_files_of_git(signed: tuple[str, ...]) -> None:
    assert signed
    add(".gitattributes")(Path("digits"))
    assert call("sign", "digits", "--key", "key.pem", "--signature", "git.sig") == 0
    checking = ("verify", "key", "digits", "--public_key", "pub.pem", "--signature", "git.sig")
    assert theirs(*checking).returncode == 1
    assert theirs(*checking, "--no-ignore-git-paths").returncode == 0

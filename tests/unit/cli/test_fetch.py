"""What `lastgood fetch` says of an option that it cannot use: the option's name, and what to write."""

from pathlib import Path

import pytest

from lastgood.cli.app import main

DIGEST = f"sha256:{'a' * 64}"
GOOD = "https://models.example/digits.json"


def fetch(tmp_path: Path, *more: str) -> int:
    return main(["fetch", GOOD, str(tmp_path / "there"), "--digest", DIGEST, *more])


def test_a_bad_mirror_is_called_a_mirror(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert fetch(tmp_path, "--mirror", "nope") == 2
    assert "lastgood: --mirror: must begin with" in capsys.readouterr().err


def test_a_misspelt_key_of_credentials_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "credentials.yaml"
    file.write_text("{host: models.example, usrname: me}")
    assert fetch(tmp_path, "--credentials-from", str(file)) == 2
    assert "usrname: is unknown; the keys are host, username" in capsys.readouterr().err


def test_a_misspelt_variable_of_credentials_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LASTGOOD_CREDENTIALS_HOST", "models.example")
    monkeypatch.setenv("LASTGOOD_CREDENTIALS_ACCES_KEY_ID", "x")
    assert fetch(tmp_path, "--credentials-from", "env") == 2
    assert "LASTGOOD_CREDENTIALS_ACCES_KEY_ID: is unknown" in capsys.readouterr().err


def test_an_empty_password_makes_no_unencrypted_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LASTGOOD_KEY_PASSWORD", "")
    key, public = tmp_path / "key.pem", tmp_path / "key.pub"
    assert main(["keygen", "--key", str(key), "--public-key", str(public)]) == 2
    assert "LASTGOOD_KEY_PASSWORD: is empty" in capsys.readouterr().err
    assert not key.exists()

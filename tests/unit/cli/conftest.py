"""Checkpoints for the tests of the commands."""

from pathlib import Path

import pytest

from tests.unit.cli.signing import call


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A checkpoint of two files, in the layout of a store."""
    made = tmp_path / "digits" / "2"
    made.mkdir(parents=True)
    (made / "model.bin").write_bytes(b"weights")
    (made / "config.json").write_bytes(b"{}")
    return made


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with a checkpoint, digits, and a key pair; commands are called from there, as in the docs."""
    (tmp_path / "digits" / "shards").mkdir(parents=True)
    (tmp_path / "digits" / "config.json").write_text('{"classes": 10}')
    (tmp_path / "digits" / "shards" / "1.bin").write_bytes(b"\x01" * 5000)
    (tmp_path / "digits" / "shards" / "2.bin").write_bytes(b"\x02" * 5000)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LASTGOOD_KEY_PASSWORD", raising=False)
    assert call("keygen", "--key", "key.pem", "--public-key", "pub.pem") == 0
    return tmp_path


@pytest.fixture
def signed(place: Path) -> tuple[str, ...]:
    """A signature beside the checkpoint, and the arguments that verify it."""
    assert place == Path.cwd()
    assert call("sign", "digits", "--key", "key.pem", "--signature", "model.sig") == 0
    return "digits", "--signature", "model.sig", "--public-key", "pub.pem"

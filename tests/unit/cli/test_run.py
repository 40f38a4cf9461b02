"""`lastgood run`: what it says before it has found a cluster's objects."""

import errno
from pathlib import Path

import pytest

from lastgood.cli.run import warn
from lastgood.settings import Settings


def settings(store: Path) -> Settings:
    return Settings(namespaces=None, operator_namespace="lastgood", identity="a-test", store=store)


def test_store_that_is_missing_is_told_with_the_name_of_its_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warn(settings(tmp_path / "absent"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"LASTGOOD_STORE: {tmp_path / 'absent'} is no directory" in caplog.text


def test_store_on_a_dead_mount_does_not_keep_the_operator_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "stale")

    with monkeypatch.context() as patched:
        patched.setattr("os.stat", stale)
        warn(settings(tmp_path))
    assert "is no directory" in caplog.text


def test_store_that_is_there_is_not_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn(settings(tmp_path))
    assert caplog.text == ""

"""`lastgood run`: what it says before it has found a cluster's objects."""

import errno
from pathlib import Path

import pytest

from lastgood.cli.run import main, warn
from lastgood.settings import Settings


def settings(store: Path) -> Settings:
    return Settings(namespaces=None, operator_namespace="lastgood", identity="a-test", store=store)


def test_store_that_is_missing_is_told_with_the_name_of_its_setting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    warn(settings(tmp_path / "absent"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"LASTGOOD_STORE: {tmp_path / 'absent'} is not a directory" in caplog.text


def test_store_on_a_dead_mount_does_not_keep_the_operator_from_starting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stale(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, "stale")

    with monkeypatch.context() as patched:
        patched.setattr("os.stat", stale)
        warn(settings(tmp_path))
    assert "is not a directory" in caplog.text


def test_store_that_is_there_is_not_spoken_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    warn(settings(tmp_path))
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("option", "told"),
    [
        (["--trigger-host", "http://x/y"], "LASTGOOD_TRIGGER_HOSTS"),
        (["--lease-seconds", "never"], "LASTGOOD_LEASE_SECONDS"),
        (["--retain-apply"], "LASTGOOD_RETAIN_APPLY"),
    ],
)
def test_wrong_option_is_told_where_there_is_no_cluster(
    option: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--kubeconfig", str(tmp_path / "absent"), *option]) == 2
    assert told in capsys.readouterr().err

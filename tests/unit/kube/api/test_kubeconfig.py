"""The Kubernetes client is an extra: without it one sentence says what to do, and a pod does not notice."""

import subprocess
import sys

import pytest

from lastgood.cli.oncall import plugin
from lastgood.cli.run import main as run
from lastgood.kube.api import kubeconfig

WITHOUT = ("kubernetes", "requests", "urllib3", "requests_oauthlib", "oauthlib", "websocket", "dateutil", "durationpy")
EVERYTHING = """
import importlib, pkgutil, sys
sys.modules.update(dict.fromkeys({without!r}))
import lastgood
names = [found.name for found in pkgutil.walk_packages(lastgood.__path__, "lastgood.")]
names = [name for name in names if not name.endswith(".__main__")]
[importlib.import_module(name) for name in names]
print(len(names))
"""


@pytest.fixture
def without_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `import kubernetes` fail as it does where it is not installed."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "kubernetes"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "kubernetes", None)


@pytest.mark.usefixtures("without_client")
def test_plugin_without_its_client_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert plugin.main(["status"]) == 1
    assert capsys.readouterr().err == f"kubectl lastgood: {kubeconfig.MISSING}\n"


@pytest.mark.usefixtures("without_client")
def test_operator_outside_a_cluster_says_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--namespace", "ml", "--store", "/tmp", "--kubeconfig", "kubeconfig"]) != 0  # noqa: S108 - never opened
    assert kubeconfig.MISSING in capsys.readouterr().err


def test_everything_can_be_imported_without_the_client() -> None:
    argv = [sys.executable, "-c", EVERYTHING.format(without=WITHOUT)]
    done = subprocess.run(argv, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 200

"""A kubeconfig that is none is a sentence that names the file, and no traceback."""

from pathlib import Path

import pytest

from lastgood.cli.oncall.cluster import Cluster, ClusterError
from lastgood.errors import TerminalError
from lastgood.kube.api import credentials

BAD = [
    pytest.param(b"\xff\xfe\x00", id="bytes"),
    pytest.param(b"[1, 2]", id="a list"),
    pytest.param(b"just words", id="a text"),
    pytest.param(b"{", id="broken YAML"),
    pytest.param(b"[" * 5000, id="a deep one"),
    pytest.param(b"contexts: 3", id="a number for a list"),
]


@pytest.mark.parametrize("content", BAD)
async def test_operator_names_the_file(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    with pytest.raises(TerminalError, match=f"--kubeconfig {file}"):
        await credentials.load(str(file))


@pytest.mark.parametrize("content", BAD)
def test_plugin_says_how_to_name_another(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    with pytest.raises(ClusterError, match="name another"):
        Cluster(kubeconfig=str(file), context=None, namespace=None)


async def test_operator_names_a_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match=r"--kubeconfig .*missing"):
        await credentials.load(str(tmp_path / "missing"))

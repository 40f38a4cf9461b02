"""The servers as pytest fixtures, one of each kind for a module."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.servers.registry import registry_server
from tests.servers.s3 import s3_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.registry import RegistryServer
    from tests.servers.s3 import S3Server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Return an S3 store."""
    with s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Return an OCI registry that everybody may read and write."""
    with registry_server(tmp_path_factory.mktemp("registry")) as server:
        yield server


@pytest.fixture(scope="module")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryServer]:
    """Return an OCI registry that asks who you are."""
    with registry_server(tmp_path_factory.mktemp("private"), private=True) as server:
        yield server

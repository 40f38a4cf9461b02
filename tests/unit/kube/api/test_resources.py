"""Where objects are: a name never leads to another object, wherever it came from."""

import pytest

from lastgood.kube.api.problems import InvalidError
from lastgood.kube.api.resources import CONFIGMAPS, SNAPSHOTS


def test_names_lead_to_objects() -> None:
    assert CONFIGMAPS.path("ml", "a.b-c") == "/api/v1/namespaces/ml/configmaps/a.b-c"
    assert SNAPSHOTS.path("ml", "v1", "status").endswith("/namespaces/ml/modelsnapshots/v1/status")
    assert CONFIGMAPS.path(None) == "/api/v1/configmaps"


@pytest.mark.parametrize(
    "name", ["../../victim/secrets/models", "..", ".", "a/b", "pods?limit=0", "a%2fb", "", "x" * 254]
)
def test_name_that_is_a_path_into_the_api_is_refused(name: str) -> None:
    with pytest.raises(InvalidError):
        CONFIGMAPS.path("ml", name)
    with pytest.raises(InvalidError):
        CONFIGMAPS.path(name, "a")

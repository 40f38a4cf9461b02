"""What another field manager owns of a pod template, as the API server writes it down."""

from typing import Any

ENV: dict[str, Any] = {"f:env": {'k:{"name":"MODEL_PATH"}': {"f:value": {}}}}
IMAGE: dict[str, Any] = {"f:image": {}}


def owned(**fields: Any) -> tuple[tuple[str, dict[str, Any]], ...]:
    """Return the ownership of fields of the serving container, by Argo CD."""
    body = {"f:spec": {"f:containers": {'k:{"name":"server"}': fields}}}
    return (("argocd", body),)

"""What a look at a snapshot needs from the cluster: signature bundles, and the credentials of remote sources."""

import asyncio
import base64
import binascii
from collections.abc import Iterable
from typing import Any

from lastgood.api.specs.snapshot import Bundle as DeclaredBundle
from lastgood.api.specs.snapshot import ConfigMapBundle
from lastgood.errors import LastgoodError
from lastgood.kube.api.client import Client
from lastgood.kube.api.problems import ForbiddenError, InvalidError, NotFoundError
from lastgood.kube.api.resources import CONFIGMAPS, SECRETS
from lastgood.verify.inspection import Bundle
from lastgood.verify.sources import Credentials, credentials_of


class MaterialError(LastgoodError):
    """Something that a snapshot names cannot be had; the sentence names the field and says what to do."""


async def bundles(client: Client, namespace: str, declared: Iterable[DeclaredBundle]) -> tuple[Bundle, ...]:
    """Read the signature bundles of a snapshot; one that is not there is a problem of its own, not of the others.

    Raises:
        TransientError: the API server could not be reached: try again.
    """
    named = [(f"spec.signatures[{index}]", item) for index, item in enumerate(declared)]
    return tuple(await asyncio.gather(*(_bundle(client, namespace, name, item) for name, item in named)))


async def _bundle(client: Client, namespace: str, name: str, declared: DeclaredBundle) -> Bundle:
    if not isinstance(declared, ConfigMapBundle):
        return Bundle(name=name, path=declared.path)
    where = f"ConfigMap {declared.name} in {namespace}"
    try:
        body = await client.get(CONFIGMAPS, namespace, declared.name)
    except (NotFoundError, InvalidError):
        return Bundle(name=name, problem=f"there is no {where}")
    except ForbiddenError:
        return Bundle(name=name, problem=f"RBAC does not allow the operator to get {where}")
    data = _value(body, declared.key)
    return Bundle(name=name, data=data) if data is not None else Bundle(name=name, problem=f"{where} has no such key")


def _value(body: dict[str, Any], key: str) -> bytes | None:
    text = (body.get("data") or {}).get(key)
    if text is not None:
        return str(text).encode()
    return _decoded((body.get("binaryData") or {}).get(key))


def _decoded(text: object) -> bytes | None:
    try:
        return base64.b64decode(str(text), validate=True) if text is not None else None
    except binascii.Error:
        return None


async def credentials(client: Client, namespace: str, secret: str, field: str) -> Credentials:
    """Read the credentials of one source, and of no other: a Secret names the only host it may be sent to.

    Raises:
        MaterialError: the Secret is not there, may not be read, or does not fit; no value is told.
        TransientError: the API server could not be reached: try again.
    """
    where = f"{field}.secretRef: the Secret {secret} in {namespace}"
    try:
        body = await client.get(SECRETS, namespace, secret)
    except (NotFoundError, InvalidError) as error:
        raise MaterialError(f"{where} does not exist") from error
    except ForbiddenError as error:
        remedy = "list it in sources.secrets (chart)"
        raise MaterialError(f"{where}: RBAC does not allow the operator to get it; {remedy}") from error
    data = {key: found for key, text in (body.get("data") or {}).items() if (found := _decoded(text)) is not None}
    try:
        return credentials_of(data)
    except ValueError as error:
        raise MaterialError(f"{where} cannot be used: {error}") from None  # the cause may show a value

"""Where the API server is and how to prove who we are: in a pod, or by a kubeconfig file."""

import asyncio
import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from lastgood.errors import TerminalError
from lastgood.kube.api.kubeconfig import library

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
HOST, PORT = "KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"
MALFORMED: Final = (ValueError, TypeError, AttributeError, LookupError, RecursionError, yaml.YAMLError)
"""What the library raises for a file that is no kubeconfig, beside its own error."""


@dataclass(frozen=True, kw_only=True)
class Credentials:
    """One way in; `authorization` is asked again each time the credentials are refreshed."""

    server: str
    tls: ssl.SSLContext | bool
    authorization: Callable[[], str | None]
    namespace: str


async def load(kubeconfig: str | None = None) -> Credentials:
    """Return the way in: the given file, else the pod's service account, else the usual kubeconfig.

    Raises:
        TerminalError: there is neither a service account nor a kubeconfig that can be read, or nothing that reads it.
    """
    if kubeconfig is None and _in_cluster():
        return _service_account()
    return await asyncio.to_thread(_kubeconfig, kubeconfig)  # an exec plugin takes its time


def _in_cluster() -> bool:
    """Tell whether this process runs in a pod that has a service account."""
    return HOST in os.environ and (SERVICE_ACCOUNT / "token").is_file()


def _own_namespace() -> str | None:
    """Return the namespace of the pod that this process runs in, if it runs in one."""
    file = SERVICE_ACCOUNT / "namespace"
    return file.read_text(encoding="utf-8").strip() if _in_cluster() and file.is_file() else None


def _service_account() -> Credentials:
    host, port = os.environ[HOST], os.environ.get(PORT, "443")
    address = f"[{host}]" if ":" in host else host

    def authorization() -> str:
        token = (SERVICE_ACCOUNT / "token").read_text(encoding="utf-8").strip()
        return f"Bearer {token}"

    return Credentials(
        server=f"https://{address}:{port}",
        tls=ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt")),
        authorization=authorization,
        namespace=_own_namespace() or "default",
    )


def _kubeconfig(path: str | None) -> Credentials:
    kubernetes = library()
    config, configuration = kubernetes.config, kubernetes.client.Configuration()
    try:
        config.load_kube_config(config_file=path, client_configuration=configuration)
        tls, namespace = _tls(configuration), _context_namespace(config, path)
    except (config.ConfigException, OSError) as error:
        raise TerminalError(f"no cluster access configured: {_place(path)}: {error}") from error
    except MALFORMED as error:
        raise TerminalError(f"{_place(path)}: not a kubeconfig ({type(error).__name__}); name another") from error
    return Credentials(
        server=configuration.host.rstrip("/"),
        tls=tls,
        authorization=lambda: _authorization(configuration),
        namespace=namespace,
    )


def _place(path: str | None) -> str:
    return f"--kubeconfig {path}" if path else "the kubeconfig"


def _authorization(configuration: Any) -> str | None:  # noqa: ANN401  # the library has no types
    """Ask for the header each time: the library renews tokens of plugins and files in this call."""
    for name in ("BearerToken", "authorization"):
        header = configuration.get_api_key_with_prefix(name)
        if header:
            return str(header)
    return configuration.get_basic_auth_token() if configuration.username else None


def _tls(configuration: Any) -> ssl.SSLContext | bool:  # noqa: ANN401  # the library has no types
    if not configuration.host.startswith("https"):
        return True
    context = ssl.create_default_context(cafile=configuration.ssl_ca_cert)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if configuration.cert_file:
        context.load_cert_chain(configuration.cert_file, configuration.key_file)
    return context


def _context_namespace(config: Any, path: str | None) -> str:  # noqa: ANN401  # the library has no types
    _, active = config.list_kube_config_contexts(config_file=path)
    return str(active["context"].get("namespace") or "default")

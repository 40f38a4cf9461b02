"""A cluster's certificate authority, and real users with client certificates."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
from typing import TYPE_CHECKING

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CA = "ca"
_DAY = dt.timedelta(days=1)


def make_authority(folder: Path) -> None:
    """Make the authority that signs everything in this cluster, and the key of its service accounts."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder("lastgood-test-ca", (), key).issuer_name(_name("lastgood-test-ca", ()))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    _write(folder, CA, key, builder.sign(key, hashes.SHA256()))
    _write_key(folder / "service-accounts.key", ec.generate_private_key(ec.SECP256R1()))


def issue(folder: Path, file: str, user: str, groups: Sequence[str] = (), hosts: Sequence[str] = ()) -> None:
    """Write FILE.crt and FILE.key for a user with groups, or for a server with host names."""
    authority = x509.load_pem_x509_certificate((folder / f"{CA}.crt").read_bytes())
    signer = serialization.load_pem_private_key((folder / f"{CA}.key").read_bytes(), password=None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    builder = _builder(user, groups, key).issuer_name(authority.subject)
    if hosts:
        builder = builder.add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
    _write(folder, file, key, builder.sign(signer, hashes.SHA256()))


def kubeconfig(folder: Path, file: str, server: str) -> str:
    """Return a kubeconfig for the user whose certificate was issued under this file name."""
    cluster = {"server": server, "certificate-authority-data": _encoded(folder / f"{CA}.crt")}
    user = {
        "client-certificate-data": _encoded(folder / f"{file}.crt"),
        "client-key-data": _encoded(folder / f"{file}.key"),
    }
    text: str = yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lastgood-test", "cluster": cluster}],
            "users": [{"name": file, "user": user}],
            "contexts": [{"name": "lastgood-test", "context": {"cluster": "lastgood-test", "user": file}}],
            "current-context": "lastgood-test",
        },
    )
    return text


def write_kubeconfig(folder: Path, file: str, server: str, target: Path) -> None:
    """Write a kubeconfig that only we may read."""
    target.touch(mode=0o600)
    target.write_text(kubeconfig(folder, file, server))


def _builder(user: str, groups: Sequence[str], key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(user, groups))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + 30 * _DAY)
    )


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    organizations = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*organizations, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(folder: Path, file: str, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate) -> None:
    _write_key(folder / f"{file}.key", key)
    (folder / f"{file}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    form = serialization.PrivateFormat.TraditionalOpenSSL  # the API server reads no PKCS #8 here
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()

"""A certificate authority made for one test run, and a server's certificate from it."""

from __future__ import annotations

import datetime as dt
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID


class Certificates:
    """`authority`, `server_certificate` and `server_key` are PEM files; the server is 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.authority = folder / "authority.pem"
        self.server_certificate = folder / "server.pem"
        self.server_key = folder / "server.key"
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca_name = _name("Coldreel contract authority")
        ca = _builder(ca_name, ca_name, ca_key).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        ca = ca.add_extension(_usage(signs_certificates=True), critical=True)
        ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        server = _builder(_name("127.0.0.1"), ca_name, key)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        server = server.add_extension(x509.SubjectAlternativeName([address, x509.DNSName("localhost")]), critical=False)
        server = server.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        self.authority.write_bytes(ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
        self.server_certificate.write_bytes(server.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM))
        self.server_key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(tz=dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )

"""Certificates of servers on a network: an authority of the hub's own, one certificate for each start, one for the hub.

A server's certificate is made when its job reports its port, and names the address that Slurm has for the job's node.
It is good for servers only; the hub's is good for clients only and bears a name of its own, so that no server can play
the hub before another.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from spawners.doorway import HUB

AUTHORITY_DAYS = 3650
SERVER_DAYS = 60
"""Longer than a job can last (31 days, `spawners.settings`), with what it may be lengthened by."""
_BEFORE = timedelta(minutes=10)
"""By how much a node's clock may be behind."""
_Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Certificates:
    """The authority of one hub.

    Args:
        folder: where its files are, private to the site's account.
    """

    folder: Path

    @property
    def authority(self) -> Path:
        """The authority's certificate."""
        return self.folder / "labs-authority.pem"

    @property
    def hub(self) -> Path:
        """The certificate with which hub and proxy go to servers."""
        return self.folder / "labs-hub.pem"

    @property
    def hub_key(self) -> Path:
        """Its key."""
        return self.folder / "labs-hub.key"

    @property
    def _authority_key(self) -> Path:
        return self.folder / "labs-authority.key"

    def make(self) -> None:
        """Make the authority and the hub's certificate, unless they are there. The hub's is new at each call."""
        if not self.authority.exists():
            key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
            name = _name("Leerlab labs")
            built = (
                _begun(name, name, key, now, AUTHORITY_DAYS)
                .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
                .add_extension(_usage(signs=True), critical=True)
                .sign(key, hashes.SHA256())
            )
            _write(self._authority_key, _private(key))
            _write(self.authority, _public(built))
        certificate, hub_key = self._signed(HUB, [x509.DNSName(HUB)], ExtendedKeyUsageOID.CLIENT_AUTH, AUTHORITY_DAYS)
        _write(self.hub_key, hub_key)
        _write(self.hub, certificate)

    def issue(self, start: str, address: str, host: str = "") -> dict[str, str]:
        """A certificate for the server of one start.

        Args:
            start: id of the start.
            address: where the hub will go to: an IP address or a host name, as Slurm has it for the node.
            host: name under which people reach the server; the proxy asks for that (node's https agent takes the name
                from the request's Host header). Empty: none of its own.

        Returns:
            `certificate`, `key` and `authority`, each in PEM.
        """
        try:
            name: x509.GeneralName = x509.IPAddress(ip_address(address))
        except ValueError:
            name = x509.DNSName(address)
        names = [name, *([x509.DNSName(host)] if host else [])]
        certificate, key = self._signed(f"lab {start}", names, ExtendedKeyUsageOID.SERVER_AUTH, SERVER_DAYS)
        return {"certificate": certificate, "key": key, "authority": self.authority.read_text()}

    def _signed(
        self, common: str, names: Sequence[x509.GeneralName], use: x509.ObjectIdentifier, days: int
    ) -> tuple[str, str]:
        authority = x509.load_pem_x509_certificate(self.authority.read_bytes())
        signer = serialization.load_pem_private_key(self._authority_key.read_bytes(), None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        key = ec.generate_private_key(ec.SECP256R1())
        made = (
            _begun(_name(common), authority.subject, key, datetime.now(UTC), days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([use]), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(signer, hashes.SHA256())
        )
        return _public(made), _private(key)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _begun(subject: x509.Name, issuer: x509.Name, key: _Key, now: datetime, days: int) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BEFORE)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs, key_cert_sign=signs, crl_sign=signs, content_commitment=False,
        key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _private(key: _Key) -> str:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def _public(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


def _write(path: Path, text: str) -> None:
    fresh = path.with_suffix(".fresh")
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)

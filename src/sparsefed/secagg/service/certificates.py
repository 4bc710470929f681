"""Certificates of a small federation: an authority, the two servers, the operator and the devices.

For trying things out, and for tests. In a real deployment the helper is run by somebody else, who has keys of
their own and never gives them away; what must hold is said in `docs/secagg.md`.
"""

import datetime
import ipaddress
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sparsefed.core.files import write_atomically

__all__ = ["Credentials", "make_certificates"]


class Credentials(NamedTuple):
    """Who a party is to the others: files in PEM."""

    certificate: Path
    key: Path
    authority: Path
    """The certificate of who signs everybody's."""

    @classmethod
    def of(cls, folder: Path, name: str) -> "Credentials":
        """Those of a party in a folder of `make_certificates`."""
        return cls(folder / f"{name}.crt", folder / f"{name}.key", folder / "authority.crt")


def make_certificates(folder: Path, parties: list[str], days: int = 30) -> None:
    """Sign a certificate for every party; `leader` and `helper` can be reached on this machine.

    The authority's key is not kept: nobody can be added later.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    root = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("authority", root, "authority", root, days, [(_CA, True), (_SIGNS, True)])
    _write(folder / "authority.crt", authority.public_bytes(serialization.Encoding.PEM))
    for party in parties:
        key = ec.generate_private_key(ec.SECP256R1())
        uses = [ExtendedKeyUsageOID.CLIENT_AUTH]
        extensions: list[tuple[x509.ExtensionType, bool]] = [(_LEAF, True)]
        if party in {"leader", "helper"}:
            uses.append(ExtendedKeyUsageOID.SERVER_AUTH)
            extensions.append((_HERE, False))
        extensions += [
            (x509.ExtendedKeyUsage(uses), False),
            (x509.AuthorityKeyIdentifier.from_issuer_public_key(root.public_key()), False),
        ]
        certificate = _certificate(party, key, "authority", root, days, extensions)
        credentials = Credentials.of(folder, party)
        _write(credentials.certificate, certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        plain = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        _write(credentials.key, plain)


_CA = x509.BasicConstraints(ca=True, path_length=0)
_LEAF = x509.BasicConstraints(ca=False, path_length=None)
_SIGNS = x509.KeyUsage(
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_HERE = x509.SubjectAlternativeName(
    [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
)


def _certificate(  # noqa: PLR0917
    name: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    days: int,
    extensions: list[tuple[x509.ExtensionType, bool]],
) -> x509.Certificate:
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(signer, hashes.SHA256())


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    write_atomically(path, content)
    path.chmod(0o600)

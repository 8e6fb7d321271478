"""Makes the certificate of a server that was given none (wire.md 1.2); run as a program it writes it to standard output."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


def self_signed() -> bytes:
    """Certificate and key, PEM: without a name, good for ten years. ECDSA P-256, because an RSA key would hold up the start."""
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(UTC)
    nobody = x509.Name([])
    certificate = (
        x509.CertificateBuilder(nobody, nobody, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=3650))
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM) + key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


if __name__ == "__main__":
    sys.stdout.buffer.write(self_signed())

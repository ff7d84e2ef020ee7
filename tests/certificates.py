"""Certificates for tests of TLS, made with the openssl command line; without it those tests are skipped."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

OPENSSL = shutil.which("openssl")
NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True, slots=True)
class Pair:
    certificate: Path
    key: Path

    @property
    def fingerprint(self) -> str:
        """As openssl itself shows it: an opinion that is not ours."""
        shown = _openssl("x509", "-in", self.certificate, "-noout", "-fingerprint", "-sha256")
        return shown.strip().partition("=")[2]

    def server_context(self, client_ca: Path | None = None) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if client_ca is not None:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(client_ca)
        return context


def self_signed(folder: Path, name: str) -> Pair:
    """A certificate for the DNS name that is its own authority."""
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key")
    names = ("-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    _openssl("req", "-x509", *NEW_KEY, *names, "-days", "2", "-keyout", pair.key, "-out", pair.certificate)
    return pair


def signed_by(authority: Pair, folder: Path, name: str) -> Pair:
    """A certificate for the DNS name and for 127.0.0.1."""
    pair, request = Pair(folder / f"{name}.pem", folder / f"{name}.key"), folder / f"{name}.csr"
    extensions = folder / f"{name}.ext"
    extensions.write_text(
        f"subjectAltName=DNS:{name},IP:127.0.0.1\nauthorityKeyIdentifier=keyid\nkeyUsage=digitalSignature\n"
    )
    _openssl("req", *NEW_KEY, "-subj", f"/CN={name}", "-keyout", pair.key, "-out", request)
    signer = ("-CA", authority.certificate, "-CAkey", authority.key, "-CAcreateserial", "-days", "2")
    _openssl("x509", "-req", "-in", request, *signer, "-extfile", extensions, "-out", pair.certificate)
    return pair


def encrypted(pair: Pair, folder: Path) -> Path:
    """The same key behind a passphrase."""
    key = folder / "encrypted.key"
    _openssl("ec", "-aes128", "-passout", "pass:secret", "-in", pair.key, "-out", key)
    return key


def _openssl(*arguments: str | Path) -> str:
    if OPENSSL is None:
        pytest.skip("no openssl command to make certificates with")
    done = subprocess.run([OPENSSL, *arguments], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout

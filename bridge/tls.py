"""TLS towards instruments and brokers: one context that proves who the peer is, by a CA or by a fingerprint."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ssl
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, cast

Result = TypeVar("Result")
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


def client_context(
    *,
    ca: Path | None = None,
    certificate: Path | None = None,
    key: Path | None = None,
    minimum_version: str = "1.2",
    insecure: bool = False,
    fingerprint: str | None = None,
) -> ssl.SSLContext:
    """A context for connections to one peer; ValueError names the file or option that is wrong.

    The peer is proved by exactly one of:

    * `ca`: a PEM file with the only authorities (or the very certificate) to trust; by default the system's;
    * `fingerprint`: the SHA-256 of its certificate (DER), as hexadecimal digits with or without colons. Name,
      dates and issuer then do not matter. A wrong certificate fails the TLS handshake: nothing is sent to it;
    * nothing, if `insecure`: whoever answers is believed.

    `certificate` and `key` (PEM, unencrypted; the key may be in the certificate's file) prove us to the peer.
    `minimum_version` is "1.2" or "1.3". Reads files: make the context once, not per connection.
    """
    if sum((ca is not None, fingerprint is not None, insecure)) > 1:
        raise ValueError("TLS: only one of ca, fingerprint and insecure can be given")
    if minimum_version not in _VERSIONS:
        raise ValueError(f"TLS: minimum_version {minimum_version!r} is not one of {', '.join(_VERSIONS)}")
    if fingerprint is not None:
        context: ssl.SSLContext = _PinnedContext(parse_fingerprint(fingerprint))
    elif insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        context = _verifying(ca)
    context.minimum_version = _VERSIONS[minimum_version]
    _prove_us(context, certificate, key)
    return context


def abort(transport: asyncio.Transport) -> None:
    """Cut a connection at once, TLS or not; also one that is closing already."""
    with suppress(AttributeError):  # Python 3.11.2: closed twice, a TLS transport lacks its protocol
        transport.abort()


def parse_fingerprint(text: str) -> bytes:
    """The 32 bytes of a SHA-256 fingerprint as openssl and browsers show it; ValueError otherwise."""
    try:
        digest = bytes.fromhex(text.replace(":", " "))
    except ValueError:
        digest = b""
    if len(digest) != hashlib.sha256().digest_size:
        raise ValueError(f"TLS: fingerprint {text!r} is not a SHA-256 (64 hexadecimal digits)")
    return digest


def _verifying(ca: Path | None) -> ssl.SSLContext:
    if ca is None:
        return ssl.create_default_context()
    context = _read(ca, "CA file", lambda: ssl.create_default_context(cafile=ca))
    # The file may hold the instrument's own certificate instead of its issuer's (Python 3.13 does this by itself).
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def _prove_us(context: ssl.SSLContext, certificate: Path | None, key: Path | None) -> None:
    if certificate is None:
        if key is not None:
            raise ValueError(f"TLS: key {key} is given without its certificate")
        return
    _read(certificate, "certificate", certificate.read_bytes)
    if key is not None:
        _read(key, "key", key.read_bytes)

    def refuse() -> str:  # OpenSSL would ask at the terminal, and a daemon would wait there for ever
        raise ValueError(f"TLS: key {key or certificate} is encrypted; a daemon needs one without a passphrase")

    both = f"certificate {certificate} with key {key or certificate}"
    try:
        context.load_cert_chain(certificate, key, refuse)
    except ssl.SSLError as error:
        raise ValueError(f"TLS: {both}: {error.reason or error}") from error


def _read(file: Path, what: str, read: Callable[[], Result]) -> Result:
    """What `read` returns; its errors as a ValueError with the file's name, which OpenSSL's do not have."""
    try:
        return read()
    except ssl.SSLError as error:
        raise ValueError(f"TLS: {what} {file} is not in PEM format: {error.reason or error}") from error
    except OSError as error:
        raise ValueError(f"TLS: {what} {file}: {error.strerror or error}") from error


class _PinnedContext(ssl.SSLContext):
    """Trusts one certificate and nothing else. It cannot be used without that check: the handshake does it."""

    pin: bytes

    def __new__(cls, pin: bytes) -> _PinnedContext:
        context = super().__new__(cls, ssl.PROTOCOL_TLS_CLIENT)
        context.pin = pin
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.sslobject_class = _PinnedObject
        context.sslsocket_class = _PinnedSocket
        return context

    def check(self, certificate: bytes | None) -> None:
        found = hashlib.sha256(certificate or b"").digest()
        if not hmac.compare_digest(found, self.pin):
            raise ssl.SSLCertVerificationError(
                ssl.SSLErrorNumber.SSL_ERROR_SSL,
                f"the certificate's fingerprint is {found.hex(':').upper()}, not the configured one",
            )


class _PinnedObject(ssl.SSLObject):  # what asyncio and uvloop use
    def do_handshake(self) -> None:
        super().do_handshake()
        cast(_PinnedContext, self.context).check(self.getpeercert(binary_form=True))


class _PinnedSocket(ssl.SSLSocket):  # what blocking callers use
    def do_handshake(self, block: bool = False) -> None:
        super().do_handshake(block)
        cast(_PinnedContext, self.context).check(self.getpeercert(binary_form=True))

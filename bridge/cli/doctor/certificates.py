"""TLS towards a peer: is it spoken, is the certificate right, and for how long."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from time import time

from bridge.cli.doctor.findings import Finding
from bridge.tls import abort

SOON = 30  # days
# Codes of OpenSSL (x509_vfy.h)
_NOT_YET, _EXPIRED, _NAMES = 9, 10, {62, 63, 64}
_SELF_SIGNED, _UNKNOWN = {18, 19}, {2, 20, 21, 27}
_PROBE, _GOODBYE = 2.0, 0.5  # seconds


async def certificate(
    host: str, port: int, context: ssl.SSLContext, name: str | None, subject: str, within: float
) -> list[Finding]:
    """A handshake of its own, closed at once. Raises OSErrors other than those of TLS, TimeoutError among them."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(within):
        tcp, protocol = await loop.create_connection(_Stranger, host, port)
    try:
        async with asyncio.timeout(within):
            secured = await loop.start_tls(
                tcp, protocol, context, server_hostname=name or host, ssl_handshake_timeout=within + 1
            )
        if secured is None:
            raise ConnectionResetError
        shown = secured.get_extra_info("peercert")
        await _farewell(secured, protocol)
    except ssl.SSLError as error:
        return [explained(error, f"{host}:{port}", name or host, subject)]
    except (ConnectionError, TimeoutError):
        return [_plain(f"{host}:{port}", subject)]
    finally:
        abort(tcp)
    return [_dates(shown, subject)]


def explained(error: ssl.SSLError, where: str, name: str, subject: str) -> Finding:
    """Why a TLS handshake failed, and what to do."""
    reason = str(getattr(error, "reason", None) or error)  # one that Python code raises has none
    if isinstance(error, ssl.SSLCertVerificationError):
        return _verification(error, where, name, subject)
    if "ALERT" in reason.upper():
        return Finding(
            "tls.refused",
            subject,
            f"{where} refuses our side of TLS ({_words(reason)}): give the certificate and key that it asks for, "
            "and look at minimum_version",
        )
    if reason in ("UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION"):
        return Finding(
            "tls.refused", subject, f"{where} speaks an older TLS than minimum_version allows: update the peer"
        )
    return _plain(where, subject)


def _verification(error: ssl.SSLCertVerificationError, where: str, name: str, subject: str) -> Finding:
    code = getattr(error, "verify_code", None)
    if code is None:
        return Finding(
            "tls.fingerprint",
            subject,
            f"{where}: {error.args[-1]}: if the certificate was replaced on purpose, configure the new "
            "fingerprint; if not, somebody stands between",
        )
    if code == _EXPIRED:
        return Finding(
            "tls.expired",
            subject,
            f"the certificate of {where} has expired: renew it there (and see that this machine's clock is right)",
        )
    if code == _NOT_YET:
        return Finding(
            "tls.not_yet",
            subject,
            f"the certificate of {where} is not valid yet: set this machine's clock, or the one where the "
            "certificate was made",
        )
    if code in _NAMES:
        return Finding(
            "tls.name",
            subject,
            f"the certificate of {where} is not for {name}: connect by the name that stands in it, or say "
            "that name with tls.server_name",
        )
    if code in _SELF_SIGNED | _UNKNOWN:
        what = "has signed itself" if code == 18 else "is signed by an authority that we do not trust"
        return Finding(
            "tls.authority",
            subject,
            f"the certificate of {where} {what}: give its authority's (or its own) PEM file as tls.ca",
        )
    return Finding(
        "tls.authority",
        subject,
        f"the certificate of {where} cannot be verified ({error.verify_message}): give its authority as tls.ca",
    )


def hung_up(where: str, subject: str) -> Finding:
    """Right after a good handshake: TLS 1.3 tells only then that our certificate is wanted, or refused."""
    return Finding(
        "tls.refused",
        subject,
        f"{where} hangs up right after the TLS handshake: it probably wants a certificate of ours (give "
        "tls.certificate and tls.key), or something else listens there",
    )


def _plain(where: str, subject: str) -> Finding:
    return Finding(
        "tls.plain",
        subject,
        f"{where} does not go on with a TLS handshake: give the port that speaks TLS, or configure a plain "
        "connection (or, if it wants a certificate of ours, give tls.certificate and tls.key)",
    )


def _dates(shown: object, subject: str) -> Finding:
    ends = shown.get("notAfter") if isinstance(shown, dict) else None
    if not isinstance(ends, str):
        return Finding(
            "tls.unverified",
            subject,
            "TLS works; the certificate is believed without a look at its dates and names",
        )
    days = (ssl.cert_time_to_seconds(ends) - time()) / 86400
    if days < SOON:
        return Finding(
            "tls.ends_soon", subject, f"the certificate expires in {max(days, 0):.0f} days ({ends}): renew it"
        )
    return Finding("tls.ok", subject, f"TLS works; the certificate is valid for {days:.0f} days")


async def speaks_tls(host: str, port: int) -> bool:
    """Whether a TLS handshake, whoever the peer is, gets an answer in TLS."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        async with asyncio.timeout(_PROBE):
            transport, protocol = await asyncio.get_running_loop().create_connection(
                _Stranger, host, port, ssl=context
            )
    except ssl.SSLError as error:
        return "ALERT" in str(getattr(error, "reason", "")).upper()  # an alert is TLS, too
    except OSError:  # TimeoutError is one
        return False
    await _farewell(transport, protocol)
    return True


class _Stranger(asyncio.Protocol):
    """Says nothing, and knows when the connection is gone."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()


async def _farewell(transport: asyncio.Transport, protocol: _Stranger) -> None:
    """An orderly end, so that the peer has nothing to complain of."""
    transport.close()
    with suppress(TimeoutError):
        async with asyncio.timeout(_GOODBYE):
            await protocol.gone.wait()
    abort(transport)


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")

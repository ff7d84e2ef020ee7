"""The way to a host: what an error of the network means, and what to do about it."""

from __future__ import annotations

import errno
import socket
import ssl

from bridge.cli.doctor.certificates import explained
from bridge.cli.doctor.findings import Finding
from bridge.ends import explain

_NO_WAY = {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EADDRNOTAVAIL}


def failure(error: OSError, host: str, port: int, subject: str) -> Finding:
    """Of name resolution, TCP or TLS."""
    where = f"{host}:{port}"
    match error:
        case socket.gaierror():
            return Finding(
                "network.name",
                subject,
                f"the name {host!r} cannot be resolved: correct it, or give the address, or look at this "
                "machine's DNS",
            )
        case ssl.SSLError():
            return explained(error, where, host, subject)
        case ConnectionRefusedError():
            return Finding(
                "network.refused",
                subject,
                f"{host} is there, and nobody listens on port {port}: start its program, or correct the port",
            )
        case TimeoutError():
            return Finding(
                "network.silent",
                subject,
                f"{where} does not answer at all: it is switched off, the address is wrong, or a firewall drops "
                "what we send",
            )
        case OSError() if error.errno in _NO_WAY:
            return Finding(
                "network.unreachable",
                subject,
                f"there is no way to {host} ({explain(error)}): look at cable, address, network and routes",
            )
    return Finding(
        "network.lost",
        subject,
        f"{where} ended the connection ({explain(error)}): look at its log, and whether the port is the right one",
    )

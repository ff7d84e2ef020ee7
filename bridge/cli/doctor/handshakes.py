"""No connection with a device: what the WebSocket handshake, or the silence after it, means."""

from __future__ import annotations

import ssl
from dataclasses import dataclass

from bridge.cli.doctor import peers
from bridge.cli.doctor.certificates import explained, hung_up, speaks_tls
from bridge.cli.doctor.findings import Finding
from bridge.cli.doctor.greeting import Greeting
from bridge.cli.doctor.network import failure
from bridge.ends import explain, trouble
from bridge.plugins import AnyPlugin
from bridge.settings_device import DeviceSettings
from bridge.websocket import ConnectionLost, HandshakeRefused, HandshakeTimeout, ProtocolViolation, Target

_MQTT_PORTS = (1883, 8883)
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class Case:
    """One device and how it is reached; `within`: seconds that it has."""

    name: str
    own: DeviceSettings
    plugin: AnyPlugin
    target: Target
    within: float

    @property
    def subject(self) -> str:
        return f"device {self.name}"

    @property
    def wanted(self) -> str:
        return peers.called(self.own.driver)


async def no_connection(case: Case, greeting: Greeting) -> Finding:
    """Why the WebSocket did not come up, or came up and nobody greeted."""
    subject, target, error = case.subject, case.target, greeting.error
    host, port = target.uri.host, target.uri.port
    where = f"{host}:{port}"
    kind = trouble(error) if error is not None else None
    if kind is not None and (known := case.plugin.explain.get(kind)) is not None:
        return Finding("device.away" if known.normal else "device.handshake", subject, known.reason)
    match error:
        case None if greeting.connected:
            return Finding(
                "device.greeting",
                subject,
                f"{where} takes the WebSocket and does not greet within {case.within:g} s: it is not "
                f"{case.wanted}, or it hangs; look at it, or restart it",
            )
        case None | HandshakeTimeout():
            if target.tls is None and await speaks_tls(host, port):
                return _needs_tls(case)
            return Finding(
                "device.handshake",
                subject,
                f"{where} takes the connection and does not answer the WebSocket handshake: its program is busy "
                "or hangs, serves somebody else, or is something else",
            )
        case HandshakeRefused():
            return _refused(error, case)
        case ssl.SSLError():
            return explained(error, where, target.server_name or host, subject)
        case ProtocolViolation() | ConnectionLost() | ConnectionResetError():
            if target.tls is None and await speaks_tls(host, port):
                return _needs_tls(case)
            if target.tls is not None and not isinstance(error, ProtocolViolation):
                return hung_up(where, subject)
            hint = " (this is a port of MQTT brokers)" if port in _MQTT_PORTS else ""
            return Finding(
                "device.stranger",
                subject,
                f"{where} speaks no WebSocket{hint}: {explain(error)}; correct the port in the url",
            )
        case OSError():
            return failure(error, host, port, subject)
    return Finding("doctor.bug", subject, f"{type(error).__name__}: {explain(error)}; please report it")


def _needs_tls(case: Case) -> Finding:
    uri, subject = case.target.uri, case.subject
    return Finding(
        "tls.needed",
        subject,
        f"{uri.host}:{uri.port} speaks TLS: begin the url with wss:// (and say under tls how to know the device)",
    )


def _refused(error: HandshakeRefused, case: Case) -> Finding:
    subject, target = case.subject, case.target
    path, right = target.uri.path or "/", _PATHS.get(case.own.driver, "see its manual")
    match error.status:
        case 401 | 403 | 407:
            who = f"{target.username!r} with this password" if target.username else "us without a login"
            return Finding(
                "device.login",
                subject,
                f"the device does not let {who} in (HTTP {error.status}): correct username, and the password in "
                f"the secrets file devices__{case.name}__password",
            )
        case 400 | 404 | 405 | 410 | 426:
            return Finding(
                "device.path",
                subject,
                f"there is no WebSocket at the path {path} (HTTP {error.status}): correct the path in the url "
                f"({right})",
            )
        case 409:
            return Finding(
                "device.version",
                subject,
                "the device speaks another version of its protocol (HTTP 409): remove protocol_version from its "
                "configuration, or update one of the two",
            )
        case 200 | 301 | 302 | 303 | 307 | 308:
            return Finding(
                "device.path",
                subject,
                f"a web server answers at {path} (HTTP {error.status}), and no WebSocket: correct port and path "
                f"in the url ({right})",
            )
        case status if status in _BUSY:
            return Finding(
                "device.busy",
                subject,
                f"the device, or a proxy before it, cannot serve now ({error}): wait, or restart its program",
            )
    return Finding("device.refused", subject, f"{error}: look at the device's own log")


_PATHS = {"evok": "Evok: /ws", "im7": "IM7: /default", "zeiss_inspect": "INSPECT: none", "ost": "OST: none"}

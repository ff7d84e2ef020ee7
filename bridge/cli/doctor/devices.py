"""Each device: is it there, does it speak WebSocket, is it what the driver expects, and does it greet."""

from __future__ import annotations

from collections.abc import Mapping

from bridge import configured, plugins
from bridge.cli.doctor import peers
from bridge.cli.doctor.certificates import certificate
from bridge.cli.doctor.findings import Finding, Verdict
from bridge.cli.doctor.greeting import Greeting, greet
from bridge.cli.doctor.handshakes import Case, no_connection
from bridge.cli.doctor.network import failure
from bridge.driver import ProtocolError
from bridge.ends import explain
from bridge.settings import Settings
from bridge.websocket import ProtocolViolation


async def examine(settings: Settings, name: str, within: float) -> list[Finding]:
    """One device, on one connection at a time; over TLS there is one more, before, for the certificate."""
    own = settings.devices[name]
    plugin = plugins.load(own.driver)
    try:
        case = Case(name, own, plugin, configured.target(own, plugin), within)
    except ValueError as error:
        return [Finding("tls.files", f"device {name}", f"{error}: correct it in devices.{name}")]
    found = await _certificate(case)
    if any(finding.verdict is Verdict.FAULT for finding in found):
        return found
    return [*found, await _verdict(case, await greet(settings, name, within))]


async def _certificate(case: Case) -> list[Finding]:
    target, uri = case.target, case.target.uri
    if target.tls is None:
        return []
    try:
        return await certificate(
            uri.host, uri.port, target.tls, target.server_name, case.subject, target.open_timeout
        )
    except OSError as error:
        return [failure(error, uri.host, uri.port, case.subject)]


async def _verdict(case: Case, greeting: Greeting) -> Finding:
    subject, wanted, looks = case.subject, case.wanted, peers.guess(greeting.heard)
    if looks is not None and looks != case.own.driver and case.own.driver in peers.NAMES:
        return Finding(
            "device.other",
            subject,
            f"this does not look like {wanted} but like {peers.called(looks)}: "
            f'correct the url, or set driver = "{looks}"',
        )
    if greeting.ready and greeting.error is None:
        return _ready(greeting, case)
    if greeting.error is None or not greeting.connected:
        return await no_connection(case, greeting)
    reason = explain(greeting.error)
    if isinstance(greeting.error, ProtocolError | ProtocolViolation) or "another device" in reason:
        return Finding(
            "device.other", subject, f"this does not look like {wanted} ({reason}): correct the url or the driver"
        )
    if "login" in reason:
        return Finding("device.login", subject, f"{reason}: correct login_user and login_password of this device")
    return Finding(
        "device.gone",
        subject,
        f"the connection ended before the device was ready ({reason}): look at the device's own log",
    )


def _ready(greeting: Greeting, case: Case) -> Finding:
    subject, wanted = case.subject, case.wanted
    if greeting.state == "filtered":
        if not any(text.lstrip().startswith(("[", "{")) for text in greeting.heard):
            return Finding(
                "device.filtered",
                subject,
                "it has told nothing of itself: it is no Evok, or Evok filters everything; correct the url, or "
                "set `all_filtered: false` under `apis.websocket` in Evok's configuration and restart Evok",
            )
        return Finding("device.filtered", subject, greeting.reason)
    if greeting.state:
        return Finding(
            "device.condition", subject, f"connected with {wanted}, but {greeting.state}: {greeting.reason}"
        )
    if not greeting.heard:
        return Finding(
            "device.unproved",
            subject,
            f"it takes the connection; {wanted} says nothing until it is commanded, so nothing proves that this "
            "is one",
        )
    return Finding("device.ok", subject, f"{wanted} answers: {greeting.points} points and actions")


# --- a device that somebody has --------------------------------------------------------------------------


def held(name: str, link: Mapping[str, object]) -> Finding:
    """The running daemon's word on its device: many serve one client only, so there is no second connection."""
    state, subject = str(link.get("state", "")), f"device {name}"
    if state == "ready":
        return Finding("device.held", subject, "the running daemon has it, and it is ready")
    reason = link.get("reason") or "no reason given"
    return Finding("device.condition", subject, f"the running daemon has it, but {state}: {reason}")

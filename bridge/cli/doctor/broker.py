"""Does the broker let us in: network, TLS, credentials, version; and how wide its limits are."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from bridge.cli.doctor.certificates import certificate, explained, hung_up, speaks_tls
from bridge.cli.doctor.findings import Finding, Verdict
from bridge.cli.doctor.line import Line
from bridge.cli.doctor.network import failure
from bridge.ends import explain
from bridge.mqtt import ConnectionSettings, Limits, MqttError, Refused
from bridge.mqtt_values import LARGEST_PACKET
from bridge.settings import Settings

SUBJECT = "broker"
PACKET, WINDOW = 64 << 10, 10  # bytes that the larger documents need; messages at a time

_MALFORMED = {0x81, 0x82}
_BUSY = {0x83, 0x88, 0x89, 0x97, 0x9F}


async def reach(line: Line, settings: Settings) -> list[Finding]:
    """Connect the line. Findings of the verdict fault: it is not connected."""
    mqtt = line.settings
    found: list[Finding] = []
    if mqtt.tls is not None and settings.mqtt.tls is not None:
        try:
            found = await certificate(mqtt.host, mqtt.port, mqtt.tls, mqtt.server_name, SUBJECT, mqtt.timeout)
        except OSError as error:
            return [failure(error, mqtt.host, mqtt.port, SUBJECT)]
        if any(finding.verdict is Verdict.FAULT for finding in found):
            return found
    try:
        await line.mqtt.connect()
    except ssl.SSLError as error:
        return [*found, explained(error, f"{mqtt.host}:{mqtt.port}", mqtt.host, SUBJECT)]
    except (OSError, MqttError) as error:
        return [*found, await _why(error, mqtt, settings)]
    as_whom = f"as {mqtt.username}" if mqtt.username else "without a user name"
    version = f"MQTT {mqtt.protocol} at {mqtt.host}:{mqtt.port}"
    return [*found, Finding("broker.ok", SUBJECT, f"the broker lets us in {as_whom} ({version})")]


async def _why(error: OSError | MqttError, mqtt: ConnectionSettings, settings: Settings) -> Finding:
    where = f"{mqtt.host}:{mqtt.port}"
    match error:
        case Refused():
            return _refused(error, mqtt, settings)
        case OSError() if not _after_tcp(error):
            return failure(error, mqtt.host, mqtt.port, SUBJECT)
    if mqtt.tls is None and await speaks_tls(mqtt.host, mqtt.port):
        return Finding(
            "tls.needed",
            SUBJECT,
            f"{where} speaks TLS: configure mqtt.tls (an empty table trusts the system's authorities), or give "
            "the port for plain connections (usually 1883)",
        )
    if mqtt.tls is not None and isinstance(error, ConnectionError):
        return hung_up(where, SUBJECT)
    if isinstance(error, TimeoutError):
        return Finding(
            "broker.silent",
            SUBJECT,
            f"{where} takes the connection and answers nothing: the broker hangs, or something else listens "
            "there; look at its log and at the port",
        )
    return Finding(
        "broker.stranger",
        SUBJECT,
        f"{where} does not answer like an MQTT broker ({explain(error)}): correct mqtt.host and mqtt.port, or "
        "look at the broker's log",
    )


def _after_tcp(error: OSError) -> bool:
    """TCP was connected: the end of the stream, or no CONNACK in time (bridge.mqtt names the step)."""
    if isinstance(error, TimeoutError):
        return "CONNACK" in str(error)
    return isinstance(error, ConnectionError) and not isinstance(error, ConnectionRefusedError)


def _refused(error: Refused, mqtt: ConnectionSettings, settings: Settings) -> Finding:
    user = f"the user {mqtt.username!r}" if mqtt.username else "a client without a user name"
    match error.code:
        case 0x86 | 0x8C:
            what = "with this password" if mqtt.password else "and no password is configured"
            return Finding(
                "broker.password",
                SUBJECT,
                f"the broker does not let {user} in {what}: correct mqtt.username, and the password in "
                "LAB2MQTT_MQTT__PASSWORD or the secrets file mqtt__password",
            )
        case 0x87 if mqtt.username is None:
            return Finding(
                "broker.password",
                SUBJECT,
                "the broker lets nobody in without a user name: give mqtt.username, and the password in the "
                "secrets file mqtt__password",
            )
        case 0x87:
            return Finding(
                "broker.password",
                SUBJECT,
                f"the broker does not let {user} in (mosquitto says no more): correct mqtt.username, and the "
                "password in LAB2MQTT_MQTT__PASSWORD or the secrets file mqtt__password, or the broker's rules",
            )
        case 0x8A:
            return Finding(
                "broker.unauthorised",
                SUBJECT,
                f"the broker has banned {user} or this address: see its log, and lift that there",
            )
        case 0x85:
            return Finding(
                "broker.client_id",
                SUBJECT,
                f"the broker refuses the client id {mqtt.client_id!r}: allow client ids that begin with "
                f"lab2mqtt- (the bridge's own is {settings.client_id!r}; the doctor may not use it)",
            )
        case 0x84 | 0x01 if mqtt.protocol == "5":
            return Finding(
                "broker.protocol", SUBJECT, 'the broker does not speak MQTT 5: set mqtt.protocol = "3.1.1"'
            )
        case 0x84 | 0x01:
            return Finding(
                "broker.protocol", SUBJECT, 'the broker does not speak MQTT 3.1.1: set mqtt.protocol = "5"'
            )
        case code if code in _BUSY:
            return Finding(
                "broker.unavailable",
                SUBJECT,
                f"the broker does not take connections now ({error}): look at its log and its limits",
            )
        case code if code in _MALFORMED and mqtt.protocol == "5":
            return Finding(
                "broker.protocol",
                SUBJECT,
                f'the broker does not understand us ({error}): try mqtt.protocol = "3.1.1"',
            )
    return Finding("broker.refused", SUBJECT, f"{explain(error)}: look at the broker's log")


def limits(granted: Limits) -> list[Finding]:
    """What a CONNACK of MQTT 5 says that the broker can; 3.1.1 says nothing."""
    return list(_limits(granted)) or [Finding("limits.ok", SUBJECT, _room(granted))]


def _room(granted: Limits) -> str:
    size = "any size" if granted.packet >= LARGEST_PACKET else f"up to {granted.packet} bytes"
    return f"packets of {size}, {granted.window} messages at a time, QoS {granted.qos}, retained messages"


def _limits(granted: Limits) -> Iterator[Finding]:
    if not granted.retain:
        yield Finding(
            "limits.retain",
            SUBJECT,
            "the broker keeps no retained messages, so whoever connects later sees no state: switch it on "
            "(mosquitto: retain_available true)",
        )
    if granted.qos < 1:
        yield Finding(
            "limits.qos",
            SUBJECT,
            "the broker takes QoS 0 only, so losses go unnoticed: allow QoS 1 (mosquitto: max_qos 1)",
        )
    if granted.packet < PACKET:
        yield Finding(
            "limits.packet",
            SUBJECT,
            f"the broker takes packets up to {granted.packet} bytes, and larger documents are lost: allow at "
            f"least {PACKET} (mosquitto: max_packet_size), better 1 MiB",
        )
    if granted.window < WINDOW:
        yield Finding(
            "limits.window",
            SUBJECT,
            f"the broker takes {granted.window} unacknowledged messages at a time: with {WINDOW} or more "
            "(mosquitto: max_inflight_messages) it goes faster",
        )

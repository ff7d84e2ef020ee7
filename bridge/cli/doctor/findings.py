"""All that the doctor can find, by its id: the verdict and what it means (docs/doctor.md lists the same)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bridge.cli import Exit

WARNINGS, FAULTS = 20, 30  # exit codes


class Verdict(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing, nothing to do
    SKIPPED = "skipped"
    WARNING = "warning"  # it works, and something should be done
    FAULT = "fault"  # something does not work


CATALOGUE: dict[str, tuple[Verdict, str]] = {
    # --- the doctor itself
    "doctor.skipped": (Verdict.SKIPPED, "a check was left out, because another had to succeed first"),
    "doctor.unfinished": (Verdict.WARNING, "a check did not end within its time"),
    "doctor.bug": (Verdict.WARNING, "a check failed by a fault of lab2mqtt"),
    # --- the configuration
    "configuration.ok": (Verdict.OK, "the configuration can be used"),
    "configuration.invalid": (Verdict.FAULT, "the configuration cannot be used: what and where"),
    "configuration.advice": (Verdict.NOTE, "something is valid and may be unwise, as `check` says it"),
    # --- this machine
    "machine.versions": (Verdict.OK, "the versions of lab2mqtt, Python and what it is built on"),
    "clock.ok": (Verdict.OK, "the clock is synchronised"),
    "clock.year": (Verdict.FAULT, "the clock shows a time before this program was made"),
    "clock.unsynchronised": (Verdict.NOTE, "the kernel says that nothing keeps the clock right"),
    "clock.differs": (Verdict.WARNING, "another bridge's clock differs by more than 30 s"),
    "state.ok": (Verdict.OK, "the state directory can be used, and the journal in it is sound"),
    "state.absent": (Verdict.NOTE, "no state directory is configured"),
    "state.missing": (Verdict.FAULT, "the state directory does not exist and cannot be made"),
    "state.unwritable": (Verdict.FAULT, "this user may not write in the state directory"),
    "state.full": (Verdict.FAULT, "the disk of the state directory is full"),
    "state.space": (Verdict.WARNING, "little space is left for the journal and results"),
    "state.damaged": (Verdict.WARNING, "the journal is no journal or damaged"),
    "state.in_use": (Verdict.OK, "the journal belongs to the daemon that is running"),
    "state.locked": (Verdict.FAULT, "another process holds the journal, and it is not this bridge's daemon"),
    # --- the way to a broker or a device
    "network.name": (Verdict.FAULT, "the host's name cannot be resolved"),
    "network.refused": (Verdict.FAULT, "the host is there, and nobody listens on the port"),
    "network.silent": (Verdict.FAULT, "nothing answers to the attempt to connect"),
    "network.unreachable": (Verdict.FAULT, "there is no way to the host"),
    "network.lost": (Verdict.FAULT, "the peer ended the connection before it was of use"),
    "tls.ok": (Verdict.OK, "the certificate is right, and valid for more than 30 days"),
    "tls.unverified": (Verdict.NOTE, "the certificate is believed, whatever its dates (insecure, fingerprint)"),
    "tls.ends_soon": (Verdict.WARNING, "the peer's certificate expires within 30 days"),
    "tls.expired": (Verdict.FAULT, "the peer's certificate has expired"),
    "tls.not_yet": (Verdict.FAULT, "the peer's certificate is not valid yet"),
    "tls.name": (Verdict.FAULT, "the peer's certificate is for another name"),
    "tls.authority": (Verdict.FAULT, "nobody whom we trust has signed the peer's certificate"),
    "tls.fingerprint": (Verdict.FAULT, "the peer's certificate is not the one whose fingerprint is configured"),
    "tls.refused": (Verdict.FAULT, "the peer ended the TLS handshake: it wants another certificate or version"),
    "tls.plain": (Verdict.FAULT, "TLS is configured, and the port does not speak it"),
    "tls.needed": (Verdict.FAULT, "TLS is not configured, and the port speaks nothing else"),
    "tls.files": (Verdict.FAULT, "a certificate's or key's file, or a header, cannot be used"),
    # --- the broker
    "broker.ok": (Verdict.OK, "the broker lets us in"),
    "broker.silent": (Verdict.FAULT, "the broker's port takes the connection and answers nothing"),
    "broker.stranger": (Verdict.FAULT, "what listens on the broker's port is no MQTT broker"),
    "broker.password": (Verdict.FAULT, "the broker does not know this user, or not with this password"),
    "broker.unauthorised": (Verdict.FAULT, "the broker has banned this user or address"),
    "broker.client_id": (Verdict.WARNING, "the broker refuses the doctor's client id: the rest cannot be checked"),
    "broker.protocol": (Verdict.FAULT, "the broker does not speak this version of MQTT"),
    "broker.unavailable": (Verdict.FAULT, "the broker is busy, shutting down, or limits connections"),
    "broker.refused": (Verdict.FAULT, "the broker refuses the connection for another reason"),
    # --- what the broker allows
    "rights.ok": (Verdict.OK, "the bridge may read and write what it must"),
    "rights.write": (Verdict.FAULT, "the broker refuses what the bridge must publish"),
    "rights.read": (Verdict.FAULT, "the broker does not deliver what the bridge must read"),
    "rights.subscribe": (Verdict.FAULT, "the broker refuses a subscription that the bridge needs"),
    "rights.canary": (Verdict.FAULT, "what is written to the canary does not come back"),
    "rights.discovery": (Verdict.FAULT, "the broker refuses Home Assistant's discovery topics"),
    "rights.answers": (Verdict.WARNING, "the broker refuses answers under the response prefix"),
    "rights.unproved": (Verdict.NOTE, "with this version of MQTT, or beside a running daemon, it cannot be told"),
    "limits.ok": (Verdict.OK, "the broker's limits are wide enough"),
    "limits.retain": (Verdict.FAULT, "the broker keeps no retained messages"),
    "limits.qos": (Verdict.WARNING, "the broker takes nothing above QoS 0"),
    "limits.packet": (Verdict.WARNING, "the broker takes only small packets"),
    "limits.window": (Verdict.NOTE, "the broker takes few messages at a time"),
    # --- what the broker keeps, and who else is there
    "kept.command": (Verdict.WARNING, "a retained message lies on a command topic"),
    "bridge.offline": (Verdict.NOTE, "no daemon with this bridge's id is online"),
    "bridge.online": (Verdict.OK, "a daemon with this bridge's id is online"),
    "bridge.duplicate": (Verdict.FAULT, "two clients use this bridge's id or client id"),
    "bridge.trouble": (Verdict.WARNING, "the running daemon itself reports trouble"),
    "bridge.other_configuration": (Verdict.NOTE, "the running daemon has another configuration than this one"),
    "bridge.claimed": (Verdict.FAULT, "another bridge that is online has one of the devices"),
    "home_assistant.off": (Verdict.NOTE, "discovery is switched off"),
    "home_assistant.online": (Verdict.OK, "Home Assistant says that it is online"),
    "home_assistant.offline": (Verdict.NOTE, "Home Assistant says that it is offline"),
    "home_assistant.unheard": (Verdict.NOTE, "Home Assistant's birth message is not kept: it may be there or not"),
    # --- the devices
    "device.ok": (Verdict.OK, "the device answers as its driver expects"),
    "device.unproved": (Verdict.NOTE, "the device takes the connection; its kind says nothing unasked"),
    "device.held": (Verdict.OK, "the running daemon has the device, and it is ready"),
    "device.elsewhere": (Verdict.SKIPPED, "a daemon or another bridge may have the device: it is left alone"),
    "device.away": (Verdict.NOTE, "the device is away in a way that is usual for its kind"),
    "device.disabled": (Verdict.SKIPPED, "the device is switched off in the configuration"),
    "device.login": (Verdict.FAULT, "the device wants a login, or not this one"),
    "device.path": (Verdict.FAULT, "the device has no WebSocket at this path"),
    "device.version": (Verdict.FAULT, "the device does not speak this version of its protocol"),
    "device.busy": (Verdict.FAULT, "the device's server says that it cannot serve now"),
    "device.refused": (Verdict.FAULT, "the device refuses the WebSocket for another reason"),
    "device.handshake": (Verdict.FAULT, "the port takes the connection and does not answer the handshake"),
    "device.stranger": (Verdict.FAULT, "what listens on the device's port speaks no WebSocket"),
    "device.other": (Verdict.FAULT, "the peer is not the kind of device that the driver is for"),
    "device.greeting": (Verdict.FAULT, "the device takes the connection and never says what it has"),
    "device.gone": (Verdict.FAULT, "the device ended the connection before it was ready"),
    "device.filtered": (Verdict.WARNING, "Evok shows only a part of what it has"),
    "device.condition": (Verdict.WARNING, "the device is connected and cannot do all"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One verdict: `subject` is what it is about ("broker", "device io"), `says` what is wrong and what to do."""

    id: str
    subject: str
    says: str

    @property
    def verdict(self) -> Verdict:
        return CATALOGUE[self.id][0]


def skipped(subject: str, because: str) -> Finding:
    return Finding("doctor.skipped", subject, f"not checked, because {because}")


def exit_code(findings: Iterable[Finding]) -> int:
    """0 nothing to do, 20 warnings, 30 faults, 78 a configuration that cannot be used."""
    found = list(findings)
    if any(finding.id == "configuration.invalid" for finding in found):
        return Exit.CONFIGURATION
    verdicts = {finding.verdict for finding in found}
    if Verdict.FAULT in verdicts:
        return FAULTS
    return WARNINGS if Verdict.WARNING in verdicts else Exit.OK

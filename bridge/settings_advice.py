"""What is valid in a configuration and still unwise: `check` and the daemon's start tell it."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from bridge.settings import Settings, secrets_directory
from bridge.settings_device import DeviceSettings
from bridge.settings_models import DeviceTlsSettings, TlsSettings
from bridge.settings_secrets import secrets_of


def advice(settings: Settings, path: Path | None = None, secrets: Path | None = None) -> list[str]:
    """One sentence per doubt. `path`: the file that was read, whose permissions count if secrets stand in it.

    `secrets`: the directory of secrets that was named when the settings were loaded.
    """
    lines = [*_bridge(settings), *_broker(settings), *_http(settings)]
    for name, device in settings.devices.items():
        lines += _device(f"devices.{name}", device)
    return [*lines, *_permissions(settings, path), *_strangers(secrets_directory(secrets))]


def _bridge(settings: Settings) -> Iterator[str]:
    if settings.bridge.state_dir is None:
        yield "bridge.state_dir is not given: journal and results live in memory and end with the process"
    if not settings.enabled_devices:
        yield "no device is configured and enabled"


def _broker(settings: Settings) -> Iterator[str]:
    mqtt = settings.mqtt
    local = _is_local(mqtt.host)
    if mqtt.tls is None and mqtt.password is not None and not local:
        yield f"mqtt.password goes over the network in the clear: there is no mqtt.tls for {mqtt.host}"
    if mqtt.username is not None and mqtt.password is None:
        yield "mqtt.username is given and no mqtt.password: brokers seldom believe that"
    if mqtt.username is None and not local and not (mqtt.tls and mqtt.tls.certificate):
        yield f"mqtt: nothing tells {mqtt.host} who we are (no username, no certificate)"
    if local and any(Path(mark).exists() for mark in ("/.dockerenv", "/run/.containerenv")):
        yield f"mqtt.host is {mqtt.host}, which in a container is the container itself"
    if mqtt.protocol == "5" and mqtt.will_delay >= mqtt.session_expiry > 0:
        yield "mqtt.will_delay is not below mqtt.session_expiry: the last will may come after a reconnect"
    yield from _tls("mqtt.tls", mqtt.tls)


def _http(settings: Settings) -> Iterator[str]:
    http = settings.http
    if http.enabled and not _is_local(http.host):
        yield f"http.host is {http.host}: whoever reaches port {http.port} reads it, without TLS and password"


def _device(name: str, device: DeviceSettings) -> Iterator[str]:
    host = urlsplit(device.url).hostname or ""
    secret = device.password is not None or bool(device.headers) or any(secrets_of(device.options))
    if device.url.startswith("ws:") and secret and not _is_local(host):
        yield f"{name}: passwords, tokens or headers go over the network in the clear: the url is not wss://"
    if device.username is not None and device.password is None:
        yield f"{name}: a username is given and no password"
    if _is_local(host):
        yield f"{name}: the url is this machine itself: right if the instrument or a tunnel is here"
    yield from _tls(f"{name}.tls", device.tls)


def _tls(name: str, tls: TlsSettings | None) -> Iterator[str]:
    if tls is None:
        return
    if tls.insecure:
        pin = " (fingerprint pins one that no authority signed)" if isinstance(tls, DeviceTlsSettings) else ""
        yield f"{name}.insecure: anybody on the way can read and change everything{pin}"
    for option, file in tls.files():
        if not file.is_file():
            yield f"{name}.{option}: there is no file {file} here"


def _permissions(settings: Settings, path: Path | None) -> Iterator[str]:
    if path is None or not path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH):
        return
    text = path.read_text(encoding="utf-8")
    if any(secret in text for secret in secrets_of(settings)):
        yield f"{path} holds secrets and others may read it: chmod 600, or better a secrets directory"


def _strangers(directory: Path | None) -> Iterator[str]:
    """A file called mqtt_password would be passed over in silence; one called mqtt__pasword is refused anyway."""
    for file in sorted(directory.iterdir()) if directory is not None else ():
        section = file.name.partition("__")[0].lower()
        if section not in Settings.model_fields and not file.name.startswith(".") and file.is_file():
            yield f"{file} names no setting and is passed over (secrets are called SECTION__KEY: mqtt__password)"


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

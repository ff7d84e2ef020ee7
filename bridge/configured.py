"""From the configuration to the values that the core works with."""

from __future__ import annotations

import ssl

from bridge import plugins
from bridge.access import Limit, Rules
from bridge.device import Profile
from bridge.heartbeat import Pings
from bridge.mqtt import ConnectionSettings, Will
from bridge.overlay import Overlay, Preset
from bridge.plugins import AnyPlugin
from bridge.settings import ConfigurationError, Settings
from bridge.settings_device import DeviceSettings, PointSettings
from bridge.settings_models import DeviceTlsSettings, TlsSettings
from bridge.showcase import HIDDEN, Presentation
from bridge.tls import client_context
from bridge.topics import Topics
from bridge.websocket import Target

LARGEST_DOCUMENT = 16 << 20  # bytes: our own lists of points are read back; those of a large observatory are long


def broker(settings: Settings, topics: Topics) -> ConnectionSettings:
    """The broker's connection; ConfigurationError when a certificate's file is wrong."""
    mqtt, tls = settings.mqtt, settings.mqtt.tls
    try:
        context = None if tls is None else _context(tls)
    except ValueError as error:
        raise ConfigurationError([f"mqtt.tls: {error}"]) from None
    return ConnectionSettings(
        host=mqtt.host,
        port=mqtt.port,
        client_id=settings.client_id,
        protocol=mqtt.protocol,
        username=mqtt.username,
        password=None if mqtt.password is None else mqtt.password.get_secret_value(),
        tls=context,
        server_name=None if tls is None else tls.server_name,
        will=Will(topics.status, b"offline", delay=mqtt.will_delay),
        keepalive=mqtt.keepalive,
        session_expiry=mqtt.session_expiry,
        receive_maximum=mqtt.receive_maximum,
        packet_limit=LARGEST_DOCUMENT,
        timeout=mqtt.timeout,
    )


def target(settings: DeviceSettings, plugin: AnyPlugin) -> Target:
    """A device's connection; ValueError when a certificate's file is wrong, or a header is none."""
    secure = settings.url.startswith("wss:")
    own = {name: value.get_secret_value() for name, value in settings.headers.items()}
    return Target(
        url=settings.url,
        headers={**plugin.headers(settings.options), **own},
        username=settings.username,
        password=None if settings.password is None else settings.password.get_secret_value(),
        tls=_context(settings.tls or DeviceTlsSettings()) if secure else None,
        server_name=settings.tls.server_name if settings.tls else None,
        open_timeout=settings.open_timeout,
        frame_limit=settings.frame_limit or plugin.frame_limit,
    )


def _context(tls: TlsSettings) -> ssl.SSLContext:
    return client_context(
        ca=tls.ca,
        certificate=tls.certificate,
        key=tls.key,
        minimum_version=tls.minimum_version,
        insecure=tls.insecure,
        fingerprint=tls.fingerprint if isinstance(tls, DeviceTlsSettings) else None,
    )


def pings(settings: DeviceSettings, plugin: AnyPlugin) -> Pings:
    """The driver's, unless the configuration says otherwise; there 0 means never."""

    def chosen(own: float | None, default: float | None) -> float | None:
        return (default if own is None else own) or None

    return Pings(chosen(settings.ping_interval, plugin.ping), chosen(settings.ping_timeout, plugin.ping_timeout))


def profile(name: str, settings: Settings) -> Profile:
    """What the configuration says of a device, as its shell wants it."""
    device, bridge = settings.devices[name], settings.bridge
    return Profile(
        name=name,
        bridge=bridge.id,
        rules=Rules(
            read_only=device.read_only or bridge.read_only,
            allow=device.allow,
            deny=device.deny,
            limits={key: Limit(limit.minimum, limit.maximum) for key, limit in device.limits.items()},
            rate=device.rate,
            burst=device.burst or 10,
        ),
        overlays={pattern: _overlay(point) for pattern, point in device.points.items()},
        presets={key: Preset(preset.action, preset.args, preset.name) for key, preset in device.presets.items()},
        policies=(bridge.policy, device.policy),
        plain=device.payload == "plain",
        backlog=device.backlog or bridge.backlog,
        keep_live=bridge.keep_live,
        presentation=_presentation(name, settings),
        touches=plugins.load(device.driver).touches,
    )


def _presentation(name: str, settings: Settings) -> Presentation:
    shown, device = settings.home_assistant, settings.devices[name]
    if not shown.discovery:
        return HIDDEN
    return Presentation(
        shown.prefix,
        settings.bridge.root,
        settings.bridge.id,
        device.name or name,
        device.area,
        device.payload == "plain",
    )


def _overlay(point: PointSettings) -> Overlay:
    return Overlay(
        name=point.name,
        device_class=point.device_class,
        shown_as=point.shown_as,
        invert=point.invert,
        enabled=point.enabled,
        scale=point.scale,
        unit=point.unit,
        policy=point.policy,
    )

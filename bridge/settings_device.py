"""The section `[devices.NAME]`: what is common to all instruments, beside the keys of the device's driver."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, Self
from urllib.parse import unquote, urlsplit, urlunsplit

from pydantic import (
    BaseModel,
    Field,
    JsonValue,
    SecretStr,
    SerializeAsAny,
    ValidationInfo,
    field_validator,
    model_validator,
)

from bridge import plugins
from bridge.settings_models import DeviceTlsSettings, Id, Number, PolicyKeys, PositiveSeconds, Seconds, Section

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


class LimitSettings(Section):
    """The values that a point may be set to, narrower than the device's own limits."""

    minimum: Number | None = Field(default=None, description="The smallest value accepted")
    maximum: Number | None = Field(default=None, description="The largest value accepted")

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.minimum is None and self.maximum is None:
            raise ValueError("expected minimum, maximum or both")
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError("minimum is above maximum")
        return self


class PresetSettings(Section):
    """An action with its arguments: becomes the action `preset/NAME` and a button."""

    action: str = Field(min_length=1, description="The action's key")
    args: dict[str, JsonValue] = Field(default_factory=dict, description="Its arguments")
    name: str | None = Field(default=None, description="As a person calls it")


class PointSettings(PolicyKeys):
    """An overlay over one point, or over all whose key fits a pattern."""

    name: str | None = Field(default=None, description="As a person calls it")
    device_class: str | None = Field(
        default=None, alias="class", description="Home Assistant's word for what is measured"
    )
    shown_as: Literal["light", "fan", "valve", "lock"] | None = Field(
        default=None, alias="as", description="Show a switch as something else"
    )
    invert: bool = Field(default=False, description="Exchange on and off")
    enabled: bool | None = Field(default=None, description="Whether Home Assistant shows it at first")
    scale: Number | None = Field(default=None, description="The published value is the device's times this")
    unit: str | None = Field(default=None, description="The unit of the published value")

    @field_validator("scale")
    @classmethod
    def _invertible(cls, scale: float | None) -> float | None:
        if scale == 0:
            raise ValueError("expected a number other than 0")
        return scale


class DeviceSettings(PolicyKeys):
    """`[devices.NAME]`: one instrument. Keys that stand not here belong to its driver and end up in `options`."""

    driver: str = Field(description="Which protocol it speaks: the name of a driver")
    url: str = Field(description="Where it is: ws://host:port/path or wss://…")
    name: str | None = Field(default=None, description="As a person calls it")
    area: str | None = Field(default=None, description="The room, suggested to Home Assistant")
    enabled: bool = Field(default=True, description="false: as if it were not here")
    tls: DeviceTlsSettings | None = Field(default=None, description="How to verify a wss:// device")
    username: str | None = Field(default=None, description="HTTP Basic")
    password: SecretStr | None = Field(default=None, description="HTTP Basic")
    headers: dict[str, SecretStr] = Field(
        default_factory=dict, description="Further HTTP headers of the handshake"
    )
    open_timeout: PositiveSeconds = Field(default=10.0, description="Seconds for the connection and its handshake")
    ping_interval: Seconds | None = Field(
        default=None, description="Seconds between pings; 0: never; absent: the driver's"
    )
    ping_timeout: Seconds | None = Field(
        default=None, description="Seconds for a pong; 0: for ever; absent: the driver's"
    )
    frame_limit: int | None = Field(
        default=None, ge=1024, description="Bytes of one message; absent: the driver's"
    )
    read_only: bool = Field(default=False, description="Answer every command with `rejected`")
    allow: tuple[str, ...] = Field(
        default=(), description="Patterns of keys: what may be commanded; empty: all but guarded"
    )
    deny: tuple[str, ...] = Field(
        default=(), description="Patterns of keys that may not be commanded; wins over allow"
    )
    limits: dict[str, LimitSettings] = Field(
        default_factory=dict, description="Pattern of keys: the values accepted"
    )
    rate: Annotated[Number, Field(gt=0)] | None = Field(
        default=None, description="Commands per second; absent: unlimited"
    )
    burst: int | None = Field(default=None, ge=1, description="Commands at once before `rate` holds; absent: 10")
    backlog: int | None = Field(
        default=None, ge=1, le=10_000, description="Commands that may wait; absent: the bridge's"
    )
    payload: Literal["json", "plain"] = Field(
        default="json", description="plain: bare values instead of envelopes"
    )
    presets: dict[Id, PresetSettings] = Field(default_factory=dict, description="Actions with their arguments")
    points: dict[str, PointSettings] = Field(
        default_factory=dict, description="Overlays by key or pattern of keys"
    )
    options: SerializeAsAny[BaseModel] = Field(description="The driver's own keys")

    @model_validator(mode="before")
    @classmethod
    def _sort_keys(cls, data: object) -> object:
        if not isinstance(data, Mapping):
            return data
        common = {key: value for key, value in data.items() if key in COMMON_KEYS}
        own = {key: value for key, value in data.items() if key not in COMMON_KEYS}
        return {**_without_credentials(common), "options": own}

    @field_validator("driver")
    @classmethod
    def _installed(cls, name: str) -> str:
        plugins.load(name)
        return name

    @field_validator("url")
    @classmethod
    def _websocket(cls, url: str) -> str:
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:  # whose words quote the address, and a password in it
            raise ValueError("expected ws://host[:port][/path] or wss://…, with a port from 1 to 65535") from None
        if parts.scheme not in ("ws", "wss") or not parts.hostname or parts.fragment:
            raise ValueError("expected ws://host[:port][/path] or wss://…")
        if port == 0:
            raise ValueError("expected a port from 1 to 65535")
        return url

    @field_validator("headers")
    @classmethod
    def _one_line_each(cls, headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name) or not value.get_secret_value().isprintable():
                raise ValueError(f"expected header names and printable values on one line ({name!r} is not)")
        return headers

    @field_validator("options", mode="wrap")
    @classmethod
    def _by_the_driver(cls, own: object, _: object, info: ValidationInfo) -> BaseModel:
        if (name := info.data.get("driver")) is None:
            return Section()  # which driver is wrong has been said already
        options: BaseModel = plugins.load(name).options.model_validate(own)
        return options

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tls is not None and not self.url.startswith("wss:"):
            raise ValueError("tls needs a wss:// url")
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username")
        if self.username is not None and ":" in self.username:
            raise ValueError("HTTP Basic allows no colon in a username")
        if self.username is not None and any(name.lower() == "authorization" for name in self.headers):
            raise ValueError("give either username and password or an Authorization header")
        if self.burst is not None and self.rate is None:
            raise ValueError("burst needs rate")
        return self


COMMON_KEYS = frozenset(field.alias or name for name, field in DeviceSettings.model_fields.items()) - {"options"}


def _without_credentials(common: dict[str, object]) -> dict[str, object]:
    """Move `ws://user:password@…` to the keys made for it, so that the url can be shown to anybody."""
    url = common.get("url")
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        return common  # its own validator says what is wrong
    if parts is None or parts.username is None:
        return common
    given = {"username": unquote(parts.username)}
    if parts.password is not None:
        given["password"] = unquote(parts.password)
    if twice := given.keys() & common.keys():
        raise ValueError(f"{' and '.join(sorted(twice))} given both in the url and beside it")
    bare = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return {**common, **given, "url": bare}

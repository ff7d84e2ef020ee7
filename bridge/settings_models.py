"""`[bridge]`, `[mqtt]`, `[home_assistant]` and `[http]`: frozen models that refuse what they do not know."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from bridge.model import Policy

ID_PATTERN = r"^[a-z0-9]+(_[a-z0-9]+)*$"

Id = Annotated[str, StringConstraints(pattern=ID_PATTERN, max_length=32)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
PositiveSeconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Number = Annotated[float, Field(allow_inf_nan=False)]


def _topic(text: str) -> str:
    if not text or text[0] in "/$" or text[-1] == "/" or "//" in text:
        raise ValueError("expected topic levels joined by single slashes, the first without a leading $")
    if any(character in "+#" or not character.isprintable() for character in text):
        raise ValueError("expected a topic without wildcards and control characters")
    return text


Topic = Annotated[str, AfterValidator(_topic)]


class Section(BaseModel):
    """What every table of the configuration has in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: object, info: ValidationInfo) -> object:
        """Python takes it for 1."""
        if isinstance(value, bool) and info.field_name is not None:
            kinds = set(_kinds(cls.model_fields[info.field_name].annotation))
            if kinds & {int, float} and bool not in kinds:
                kind = "int_type" if int in kinds else "float_type"
                raise PydanticCustomError(kind, "expected a number")
        return value


def _kinds(annotation: object) -> Iterator[object]:
    """The types that an annotation allows."""
    yield annotation
    for part in get_args(annotation):
        yield from _kinds(part)


class PolicyKeys(Section):
    """How often values are published; what is not given is inherited (bridge, then device, then point)."""

    min_interval: Seconds | None = Field(default=None, description="Seconds between two publications of one value")
    deadband: Annotated[Number, Field(ge=0)] | None = Field(
        default=None, description="A change smaller than this, in the point's unit, is not published"
    )
    max_silence: PositiveSeconds | None = Field(
        default=None, description="Seconds after which an unchanged value is published again"
    )

    @property
    def policy(self) -> Policy:
        return Policy(deadband=self.deadband, min_interval=self.min_interval, max_silence=self.max_silence)


class BridgeSettings(PolicyKeys):
    """`[bridge]`: who this bridge is and what holds for all of its devices."""

    id: Id = Field(
        description="The name of this bridge; no default, because a second one of the same name makes ghosts"
    )
    root: Topic = Field(
        default="lab2mqtt", description="The topic above all others; {bridge} in it becomes the id"
    )
    state_dir: Path | None = Field(
        default=None, description="Where the journal and results are kept; absent: in memory"
    )
    read_only: bool = Field(default=False, description="Answer every command of every device with `rejected`")
    response_prefix: str = Field(default="response/", description="Where MQTT 5 response topics may lie")
    expires: PositiveSeconds = Field(
        default=5.0, description="Seconds until a command that was not yet sent has expired"
    )
    backlog: int = Field(default=32, ge=1, le=10_000, description="Commands that may wait per device")
    keep_live: bool = Field(
        default=False,
        description="Live data waits on disk for the broker, as events do (complete results do in any case)",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", description="What is logged")
    log_format: Literal["auto", "console", "json", "journal"] = Field(
        default="auto", description="auto: journal under systemd, console on a terminal, else json"
    )
    log_to_mqtt: Literal["off", "warning", "error"] = Field(
        default="off", description="From which level on the log is also published as the event `log`"
    )

    @field_validator("id")
    @classmethod
    def _no_verb(cls, name: str) -> str:
        if name in ("set", "call"):  # who may command devices ({root}/+/call/#) would reach all of this bridge
            raise ValueError("expected another name: set and call are levels of command topics")
        return name

    @field_validator("root")
    @classmethod
    def _name_the_bridge(cls, root: str, info: ValidationInfo) -> str:
        named = root.replace("{bridge}", info.data.get("id", ""))
        if "{" in named or "}" in named:
            raise ValueError("expected no braces except {bridge}")
        return named

    @field_validator("response_prefix")
    @classmethod
    def _whole_levels(cls, prefix: str) -> str:
        if not prefix.endswith("/"):
            raise ValueError("expected a topic that ends with a slash")
        _topic(prefix[:-1])
        return prefix


class TlsSettings(Section):
    """`tls`: an empty table means TLS with the system's certificate authorities."""

    ca: Path | None = Field(
        default=None, description="PEM file of the authorities to trust instead of the system's"
    )
    certificate: Path | None = Field(default=None, description="PEM file of our own certificate")
    key: Path | None = Field(
        default=None, description="PEM file of our own key, if it is not in the certificate's file"
    )
    server_name: str | None = Field(default=None, min_length=1, description="The name in the peer's certificate")
    minimum_version: Literal["1.2", "1.3"] = Field(default="1.2", description="The oldest TLS version to accept")
    insecure: bool = Field(default=False, description="Do not verify the peer at all")

    @model_validator(mode="after")
    def _no_contradiction(self) -> Self:
        if self.key and not self.certificate:
            raise ValueError("a key needs its certificate")
        if self.insecure and self.ca:
            raise ValueError("insecure contradicts ca")
        return self

    def files(self) -> Iterator[tuple[str, Path]]:
        """Those that are named, by their option."""
        for option, path in (("ca", self.ca), ("certificate", self.certificate), ("key", self.key)):
            if path is not None:
                yield option, path


class DeviceTlsSettings(TlsSettings):
    """`tls` of a device, which often has a certificate that no authority signed."""

    fingerprint: str | None = Field(
        default=None,
        description="SHA-256 of the peer's certificate in hex, with or without colons; replaces verification",
    )

    @field_validator("fingerprint")
    @classmethod
    def _plain_hex(cls, text: str | None) -> str | None:
        if text is None:
            return None
        digits = text.replace(":", "").lower()
        if not re.fullmatch("[0-9a-f]{64}", digits):
            raise ValueError("expected the 64 hex digits of a SHA-256")
        return digits

    @model_validator(mode="after")
    def _one_way_to_trust(self) -> Self:
        if self.fingerprint and (self.insecure or self.ca):
            raise ValueError("fingerprint contradicts ca and insecure")
        return self


class MqttSettings(Section):
    """`[mqtt]`: the broker."""

    host: str = Field(default="localhost", min_length=1, description="Name or address of the broker")
    tls: TlsSettings | None = Field(default=None, description="Absent: a plain connection")
    port: int = Field(
        default_factory=lambda data: 8883 if data.get("tls") else 1883,
        ge=1,
        le=65535,
        description="1883, or 8883 with tls",
    )
    protocol: Literal["5", "3.1.1"] = Field(default="5", description="Version of MQTT")
    username: str | None = Field(default=None, description="Absent: anonymous")
    password: SecretStr | None = Field(
        default=None, description="Better from the environment or the secrets directory"
    )
    client_id: str | None = Field(
        default=None, min_length=1, max_length=128, description="Default: lab2mqtt-{bridge.id}"
    )
    keepalive: int = Field(default=15, ge=1, le=65535, description="Seconds between signs of life")
    session_expiry: int = Field(
        default=30, ge=0, le=0xFFFFFFFE, description="Seconds the broker keeps our session (MQTT 5)"
    )
    will_delay: int = Field(
        default=5, ge=0, le=0xFFFFFFFE, description="Seconds before the last will is sent (MQTT 5)"
    )
    receive_maximum: int = Field(
        default=100, ge=1, le=65535, description="QoS 1 messages on the way to us (MQTT 5)"
    )
    timeout: PositiveSeconds = Field(default=10.0, description="Seconds for the broker to accept a connection")

    @field_validator("host")
    @classmethod
    def _host_only(cls, host: str) -> str:
        if any(character in "/@" or character.isspace() for character in host) or host.count(":") == 1:
            raise ValueError("expected a name or an address only; port, username and tls are keys of their own")
        return host

    @model_validator(mode="after")
    def _known_user(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username")
        return self


class HomeAssistantSettings(Section):
    """`[home_assistant]`: device discovery."""

    discovery: bool = Field(default=True, description="Announce the devices to Home Assistant")
    prefix: Topic = Field(default="homeassistant", description="Home Assistant's discovery prefix")
    birth: Topic = Field(
        default_factory=lambda data: f"{data.get('prefix', '')}/status",
        description="Where Home Assistant says that it has started; {prefix}/status",
    )


class HttpSettings(Section):
    """`[http]`: pages for probes and Prometheus."""

    enabled: bool = Field(default=False, description="Serve /livez, /readyz and /metrics")
    host: str = Field(
        default="127.0.0.1", min_length=1, description="Address to listen on; there is no TLS and no password"
    )
    port: int = Field(default=9464, ge=1, le=65535, description="TCP port to listen on")

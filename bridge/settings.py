"""The configuration: one TOML file, a secrets directory and the environment, read and checked."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)

from bridge.settings_device import DeviceSettings
from bridge.settings_errors import Origin, lines
from bridge.settings_models import BridgeSettings, HomeAssistantSettings, HttpSettings, Id, MqttSettings
from bridge.settings_secrets import SECRET_NAME

PREFIX = "LAB2MQTT_"
DOCKER_SECRETS = Path("/run/secrets")
OTHER_VARIABLES = frozenset({
    "LAB2MQTT_SECRETS_DIR", "LAB2MQTT_VENV", "LAB2MQTT_REQUIRE_MOSQUITTO",
    "LAB2MQTT_ZAHNER_LINK_12", "LAB2MQTT_ZAHNER_LINK_7", "LAB2MQTT_INSPECT_SCRIPT", "LAB2MQTT_LONG_TESTS",
    "LAB2MQTT_PROMETHEUS", "LAB2MQTT_NSPAWN_ROOT", "LAB2MQTT_WHEELS",
    "LAB2MQTT_DOCKER", "LAB2MQTT_DOCKER_IMAGE", "LAB2MQTT_DOCKER_COMPOSE",
    "LAB2MQTT_HA_URL", "LAB2MQTT_HA_TOKEN_FILE", "LAB2MQTT_HA_BROKER_PORT", "LAB2MQTT_HA_RESTART",
    "LAB2MQTT_NODE_RED", "LAB2MQTT_NODE_RED_NODE",
})  # fmt: skip
_QUERY = re.compile(r"(?<=[?&])([^=&]*=)[^&]*")  # values in a url may be tokens
# Kubernetes gives these to every container beside a service that is called lab2mqtt.
_SERVICE_LINK = re.compile(r"LAB2MQTT_(SERVICE_(HOST|PORT)|PORT)(_\w+)?")


class ConfigurationError(Exception):
    """The configuration cannot be used. `lines` say why, one problem each; no secret stands in them."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.lines = problems


class Settings(BaseSettings):
    """The whole configuration as it is in effect."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    bridge: BridgeSettings = Field(description="Who this bridge is and what holds for all of its devices")
    mqtt: MqttSettings = Field(default=MqttSettings(), description="The broker")
    home_assistant: HomeAssistantSettings = Field(default=HomeAssistantSettings(), description="Device discovery")
    http: HttpSettings = Field(default=HttpSettings(), description="Pages for probes and Prometheus")
    devices: dict[Id, DeviceSettings] = Field(default_factory=dict, description="The instruments, by id")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but the values given: `load` reads the sources, because its caller says which they are."""
        return (init_settings,)

    @model_validator(mode="after")
    def _topics_apart(self) -> Self:
        root, prefix = self.bridge.root + "/", self.home_assistant.prefix + "/"
        answers = self.bridge.response_prefix
        for ours, other in ((answers, root), (answers, prefix), (root, prefix)):
            if ours.startswith(other) or other.startswith(ours):
                raise ValueError(
                    "bridge.root, bridge.response_prefix and home_assistant.prefix must not lie "
                    f"under one another ({ours!r} and {other!r} do)"
                )
        return self

    @property
    def client_id(self) -> str:
        """The MQTT client id: the one given, or `lab2mqtt-{bridge.id}`."""
        return self.mqtt.client_id or f"lab2mqtt-{self.bridge.id}"

    @property
    def enabled_devices(self) -> list[str]:
        """By name, in the configuration's order."""
        return [name for name, device in self.devices.items() if device.enabled]

    def masked(self) -> dict[str, object]:
        """Everything in effect, for JSON, secrets as asterisks; a driver's keys stand beside the common ones."""
        values: dict[str, object] = self.model_dump(mode="json", by_alias=True)
        mqtt, devices = values["mqtt"], values["devices"]
        if isinstance(mqtt, dict):
            mqtt["client_id"] = self.client_id
        if isinstance(devices, dict):
            for device in devices.values():
                device.update(_masked(device.pop("options")))
                device["url"] = _QUERY.sub(r"\1**********", device["url"])
        return values

    def digest(self) -> str:
        """Twelve hex digits that change when the configuration does; secrets play no part."""
        text = json.dumps(self.masked(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def load(path: Path | None, environ: Mapping[str, str] | None = None, secrets: Path | None = None) -> Settings:
    """Read and check everything; ConfigurationError names each problem and where it stands.

    A value is taken from the environment if it is there, else from the secrets directory, else from the file.
    `secrets` is that directory; without it LAB2MQTT_SECRETS_DIR, systemd's CREDENTIALS_DIRECTORY, or /run/secrets.
    """
    environ = os.environ if environ is None else environ
    ours = {name: environ[name] for name in sorted(environ) if name.upper().startswith(PREFIX)}
    origins = [
        Origin(str(path or "configuration"), _read_file(path)),
        _read_secrets(secrets, environ),
        Origin("", _Variables(ours)(), variables=ours),
    ]
    problems = _unknown_variables(ours)
    values: dict[str, object] = {"bridge": {}}  # so that its keys are named when all of them are missing
    for origin in origins:
        _lay_over(values, origin.values)
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems += lines(error, Settings, origins)
    if problems:
        raise ConfigurationError(problems)
    return settings


# --- the sources ---------------------------------------------------------------------------------------


def _read_file(path: Path | None) -> dict[str, object]:
    if path is None:
        return {}
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError([f"{path}: {error.strerror or error}"]) from None
    except UnicodeDecodeError as error:
        raise ConfigurationError([f"{path}: not UTF-8 at byte {error.start}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError([f"{path}: {error}"]) from None


def _decoded(text: str) -> object:
    """Tables and lists are given as JSON; whatever is no such thing stays text, for the models to judge."""
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except ValueError:
            pass
    return text


class _Variables(EnvSettingsSource):
    """LAB2MQTT_MQTT__PORT=1884 and the like."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self._variables = variables
        super().__init__(Settings)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {name.lower(): text for name, text in self._variables.items()}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: str) -> object:
        return _decoded(value)


class _SecretFiles(NestedSecretsSettingsSource):
    """Files called mqtt__password and the like; surrounding white space does not count."""

    def __init__(self, directory: Path) -> None:
        files = SecretsSettingsSource(Settings, directory)
        super().__init__(files, secrets_prefix="", secrets_nested_delimiter="__")

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: str) -> object:
        return _decoded(value)


def secrets_directory(given: Path | None = None, environ: Mapping[str, str] | None = None) -> Path | None:
    """Where secrets are looked for; None: nobody named a directory, and the usual one is not there."""
    environ = os.environ if environ is None else environ
    named = given or environ.get("LAB2MQTT_SECRETS_DIR") or environ.get("CREDENTIALS_DIRECTORY")
    return Path(named) if named else DOCKER_SECRETS if DOCKER_SECRETS.is_dir() else None


def _read_secrets(given: Path | None, environ: Mapping[str, str]) -> Origin:
    directory = secrets_directory(given, environ)
    if directory is None:
        return Origin("", {})
    if not directory.is_dir():
        raise ConfigurationError([f"{directory}: no such directory of secrets"])
    try:
        return Origin(f"{directory}/", _SecretFiles(directory)())
    except OSError as error:
        raise ConfigurationError([f"{error.filename or directory}: {error.strerror or error}"]) from None
    except ValueError as error:  # not UTF-8, or larger than secrets are
        raise ConfigurationError([f"{directory}: secrets cannot be read: {type(error).__name__}"]) from None


def _unknown_variables(ours: Mapping[str, str]) -> list[str]:
    """A misspelt section in a variable's name would pass silently; a misspelt key in it does not."""
    sections = Settings.model_fields
    return [
        f"{name}: unknown variable (they are called {PREFIX}SECTION__KEY; sections: {', '.join(sections)})"
        for name in ours
        if name.upper().removeprefix(PREFIX).partition("__")[0].lower() not in sections
        and name not in OTHER_VARIABLES
        and not _SERVICE_LINK.fullmatch(name)
    ]


def _masked(options: Mapping[str, object]) -> dict[str, object]:
    """A driver's keys; one that is called like a secret is masked, whatever its type."""
    return {key: "**********" if value and SECRET_NAME.search(key) else value for key, value in options.items()}


def _lay_over(below: dict[str, object], above: Mapping[str, object]) -> None:
    """Tables are made anew: each source still says afterwards what it held itself."""
    for key, value in above.items():
        if isinstance(value, Mapping):
            present = below.get(key)
            table = dict(present) if isinstance(present, dict) else {}
            _lay_over(table, value)
            below[key] = table
        else:
            below[key] = value

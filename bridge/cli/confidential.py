"""All words of a configuration that nobody else must read, in the forms in which they may turn up elsewhere."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from bridge.settings import Settings
from bridge.settings_secrets import SECRET_NAME, secrets_of


def words(settings: Settings) -> list[str]:
    """Secrets, what has a name like one (in presets too), values in urls' queries, and HTTP Basic made of them."""
    return sorted(set(_words(settings)))


def _words(settings: Settings) -> Iterator[str]:
    for secret in secrets_of(settings):
        yield secret
        yield b64encode(secret.encode()).decode()
    logins = [(settings.mqtt.username, settings.mqtt.password)]
    for device in settings.devices.values():
        logins.append((device.username, device.password))
        yield from (value for _, value in parse_qsl(urlsplit(device.url).query) if value)
    yield from _called_secret(settings.model_dump())
    for user, password in logins:
        if user is not None and password is not None:
            yield b64encode(f"{user}:{password.get_secret_value()}".encode()).decode()


def _called_secret(table: Mapping[str, object]) -> Iterator[str]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _called_secret(value)
        elif isinstance(value, str) and SECRET_NAME.search(name):
            yield value

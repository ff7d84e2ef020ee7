"""A small client of a real Home Assistant: states, services, registries and log, over its HTTP and WebSocket API.

Whoever has a Home Assistant for tests can run the opt-in tests with it; these variables tell where it is.

    LAB2MQTT_HA_URL          http://127.0.0.1:8123
    LAB2MQTT_HA_TOKEN_FILE   a file with a long-lived access token of an administrator
    LAB2MQTT_HA_BROKER_PORT  the port on 127.0.0.1 where its MQTT integration looks for a broker. The tests start
                             mosquitto there, restart it and kill it, so nobody else may listen on it
    LAB2MQTT_HA_RESTART      a command that restarts it and may return before it is back, or `service`: it comes
                             back by itself after its own service homeassistant.restart
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from websockets.sync.client import ClientConnection, connect

NEEDED = ("LAB2MQTT_HA_URL", "LAB2MQTT_HA_TOKEN_FILE", "LAB2MQTT_HA_BROKER_PORT")
RESTART = "LAB2MQTT_HA_RESTART"
DEADLINE = 20.0  # seconds for anything but a restart
RESTARTED = 120.0
OURS = ("components.mqtt", "lab2mqtt", "value_json", "MQTT")
ABOUT_ITSELF = (
    "connection was lost",
    "Failed to connect",
    "not currently connected",
    "logging too frequently",
    "No device components to cleanup",  # it hears the empty announcement that it publishes for each removed entity
)


@dataclass(frozen=True, slots=True)
class Entity:
    """An entity of the MQTT integration, as its registries have it; `device` is the identifier that we gave."""

    id: str
    unique_id: str
    name: str
    device: str
    category: str | None
    disabled: bool

    @property
    def domain(self) -> str:
        return self.id.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Device:
    """A device of the MQTT integration; `via` is the identifier of the device behind which it stands."""

    id: str
    identifier: str
    name: str
    via: str | None
    area: str | None
    model: str | None
    manufacturer: str | None


@dataclass(frozen=True, slots=True)
class State:
    value: str
    attributes: Mapping[str, Any]
    changed: str  # when the value did


class HomeAssistant:
    """Every call blocks until it is answered; AssertionError: it was refused."""

    def __init__(self, url: str, token: str) -> None:
        self._url, self._token = url.rstrip("/"), token

    @classmethod
    def from_environment(cls) -> Self:
        token = Path(os.environ["LAB2MQTT_HA_TOKEN_FILE"]).read_text(encoding="ascii").strip()
        return cls(os.environ["LAB2MQTT_HA_URL"], token)

    # --- what it shows -----------------------------------------------------------------------------------

    def states(self) -> dict[str, State]:
        """All states, by entity id."""
        return {one["entity_id"]: _state(one) for one in self.get("states")}

    def state(self, entity: str) -> State | None:
        """One state; None: there is no such entity, or it is disabled."""
        try:
            return _state(self.get(f"states/{entity}"))
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            raise

    def value(self, entity: str) -> str | None:
        found = self.state(entity)
        return None if found is None else found.value

    def entities(self) -> dict[str, Entity]:
        """The MQTT integration's entities, disabled ones too, by unique id."""
        with self._connected() as call:
            entries = call("config/entity_registry/list")
            devices = {one["id"]: one for one in call("config/device_registry/list")}
        return {
            one["unique_id"]: Entity(
                one["entity_id"],
                one["unique_id"],
                one["name"] or one["original_name"] or "",
                _identifier(devices.get(one["device_id"], {})) or "",
                one["entity_category"],
                one["disabled_by"] is not None,
            )
            for one in entries
            if one["platform"] == "mqtt"
        }

    def devices(self) -> dict[str, Device]:
        """The MQTT integration's devices, by the identifier that was announced."""
        with self._connected() as call:
            listed = {one["id"]: one for one in call("config/device_registry/list")}
        found = {}
        for id_, one in listed.items():
            if (identifier := _identifier(one)) is not None:
                via = listed.get(one.get("via_device_id") or "")
                found[identifier] = Device(
                    id_,
                    identifier,
                    one["name_by_user"] or one["name"],
                    None if via is None else _identifier(via),
                    one["area_id"],
                    one["model"],
                    one["manufacturer"],
                )
        return found

    def complaints(self) -> list[str]:
        """Warnings and errors in its log that are about us or come from its MQTT code, but not about itself."""
        with self._connected() as call:
            entries = call("system_log/list")
        texts = [
            f"{one['level']} {one['name']}: {' / '.join(one['message'])} {one['exception']}" for one in entries
        ]
        ours = [text for text in texts if any(word in text for word in OURS)]
        return [text for text in ours if not any(word in text for word in ABOUT_ITSELF)]

    def forget_complaints(self) -> None:
        self.call("system_log", "clear")

    @property
    def version(self) -> str:
        return str(self.get("config")["version"])

    # --- what it does ------------------------------------------------------------------------------------

    def call(self, domain: str, service: str, entity: str | None = None, **data: object) -> float:
        """Call a service; when it was called, on time.monotonic()'s clock."""
        begun = time.monotonic()
        if entity is not None:
            data["entity_id"] = entity
        self._http("POST", f"services/{domain}/{service}", data)
        return begun

    def fire(self, event: str, **data: object) -> None:
        self._http("POST", f"events/{event}", data)

    def command(self, kind: str, **data: object) -> Any:
        """A command of its WebSocket API; the result."""
        with self._connected() as call:
            return call(kind, **data)

    def until(self, condition: Callable[[], object], within: float = DEADLINE, what: object = "") -> float:
        """Wait until it holds; the seconds that it took. AssertionError: it does not."""
        begun = time.monotonic()
        while not condition():
            shown = what() if callable(what) else what
            assert time.monotonic() < begun + within, f"not within {within:g} s: {shown}"
            time.sleep(0.02)
        return time.monotonic() - begun

    def until_value(self, entity: str, value: str, within: float = DEADLINE) -> float:
        """Wait until the entity shows this; the seconds that it took."""
        return self.until(
            lambda: self.value(entity) == value, within, lambda: f"{entity} {value}: {self.value(entity)}"
        )

    def history(self, entity: str) -> list[str]:
        """The values of the last day, oldest first, as its recorder has them."""
        found = self.get(f"history/period?filter_entity_id={entity}&minimal_response")
        return [one["state"] for one in (found[0] if found else [])]

    def remove(self, device: Device) -> None:
        """Delete a device as a person does it in the browser."""
        with self._connected() as call:
            entry = call("config_entries/get", domain="mqtt")[0]["entry_id"]
            call("config/device_registry/remove_config_entry", device_id=device.id, config_entry_id=entry)

    # --- its own life ------------------------------------------------------------------------------------

    def runs(self) -> bool:
        """Whether it has started completely."""
        try:
            return bool(self.get("config")["state"] == "RUNNING")
        except (OSError, ValueError):
            return False

    def until_runs(self) -> None:
        self.until(self.runs, RESTARTED, "Home Assistant runs")

    def restart(self) -> None:
        """Restart it as the environment says, until it has started completely."""
        how = os.environ[RESTART]
        if how == "service":
            with suppress(OSError):  # gone before it could answer
                self.call("homeassistant", "restart")
            self.until(lambda: not self.runs(), RESTARTED, "Home Assistant stops")
        else:
            subprocess.run(how, shell=True, check=True, timeout=RESTARTED)
        self.until_runs()

    # --- the two APIs ------------------------------------------------------------------------------------

    def get(self, path: str) -> Any:
        return self._http("GET", path, None)

    def _http(self, method: str, path: str, body: object) -> Any:
        request = urllib.request.Request(
            f"{self._url}/api/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as reply:
            return json.load(reply)

    @contextmanager
    def _connected(self) -> Iterator[Callable[..., Any]]:
        """A connection of the WebSocket API for a few commands: `call(type, **data)`."""
        url = self._url.replace("http", "ws", 1) + "/api/websocket"
        with connect(url, max_size=None, open_timeout=DEADLINE) as socket:
            assert _received(socket)["type"] == "auth_required"
            socket.send(json.dumps({"type": "auth", "access_token": self._token}))
            assert (greeting := _received(socket))["type"] == "auth_ok", greeting
            count = 0

            def call(kind: str, **data: object) -> Any:
                nonlocal count
                count += 1
                socket.send(json.dumps({"id": count, "type": kind, **data}))
                while (answer := _received(socket)).get("id") != count or answer["type"] != "result":
                    pass
                assert answer["success"], f"{kind}: {answer['error']}"
                return answer["result"]

            yield call


def _received(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(DEADLINE))
    return message


def _state(one: Mapping[str, Any]) -> State:
    return State(one["state"], one["attributes"], one["last_changed"])


def _identifier(device: Mapping[str, Any]) -> str | None:
    """What the MQTT integration calls the device; None: it is not one of its devices."""
    return next((str(text) for domain, text in device.get("identifiers", ()) if domain == "mqtt"), None)

"""Broker, OST simulator, daemon and observer, all of them running, and what the scenarios ask of them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.system.mosquitto import HOST, Mosquitto
from tests.system.observer import Observer
from tests.system.processes import DEADLINE, Daemon, Simulator, assert_no_faults

USUAL = ["Allsky", "Focuser", "Guider", "Navigator", "Parkmanager", "Planner", "Sequencer"]
STEPS = "MyFocuser/parameters/steps"
GONE_AFTER = 10.0  # seconds that a removed module is offline


class World:
    """The daemon has one device, `dome`.

    `simulator` are options of its command line, `device` further lines of the device's table, `others` further
    tables.
    """

    def __init__(
        self, directory: Path, simulator: tuple[str, ...] = ("--dry", "0"), device: str = "", others: str = ""
    ) -> None:
        self.broker = Mosquitto(directory, ["set_tcp_nodelay true"])
        self.ost = Simulator("ost", directory, *simulator)
        self.observer = Observer(self.broker.port)
        self._directory, self._device, self._others = directory, device, others
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for part in (self.broker, self.ost, self.observer):
                stack.enter_context(part)
            self.daemon = Daemon(self._directory, self._configuration())
            stack.enter_context(self.daemon)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()
        if error is None:
            assert_no_faults(self.daemon)

    def _configuration(self) -> str:
        return f"""
[bridge]
id = "gate"
log_level = "info"
log_format = "json"
state_dir = "{self._directory / "state"}"

[mqtt]
host = "{HOST}"
port = {self.broker.port}

[devices.dome]
driver = "ost"
url = "ws://{HOST}:{self.ost.port}"
{self._device}
{self._others}
"""

    # --- what is asked ---------------------------------------------------------------------------------

    def set(self, key: str, value: object) -> tuple[str, str]:
        """Set a point; outcome and sentence."""
        return self._told(self.observer.command(f"dome/set/{key}", {"value": value}))

    def call(self, key: str, **args: Any) -> tuple[str, str]:
        """Call an action; outcome and sentence."""
        return self._told(self.observer.command(f"dome/call/{key}", {"args": args}))

    def set_property(self, module: str, prop: str, values: Mapping[str, object]) -> tuple[str, str]:
        return self.call("set_property", module=module, property=prop, values=values)

    @staticmethod
    def _told(answer: Mapping[str, Any]) -> tuple[str, str]:
        return answer["outcome"], answer.get("detail") or ""

    # --- what the server holds -------------------------------------------------------------------------

    def held(self, module: str, prop: str, element: str) -> Any:
        return self.ost.state["modules"][module][prop][element]

    @property
    def executed(self) -> list[dict[str, Any]]:
        """The sets that the server carried out."""
        found: list[dict[str, Any]] = self.ost.state["executed"]
        return found

    # --- what is seen ----------------------------------------------------------------------------------

    def shown(self, key: str) -> Any:
        return self.observer.document(f"dome/state/{key}").get("value")

    def until_shown(self, key: str, value: object, within: float = DEADLINE) -> None:
        self.observer.until(
            lambda: self.shown(key) == value, within, lambda: f"{key} = {value!r}: {self.shown(key)!r}"
        )

    def until_link(self, state: str, within: float = DEADLINE, reason: str = "") -> None:
        """Wait until the link is in this state, for a reason with these words."""

        def link() -> dict[str, Any]:
            found: dict[str, Any] = self.observer.document("dome/link")
            return found

        self.observer.until(
            lambda: link().get("state") == state and reason in (link().get("reason") or ""),
            within,
            lambda: f"link {state}: {link()}\n{self.daemon.log[-3000:]}",
        )

    def until_module(self, module: str, status: str | None, within: float = DEADLINE) -> float:
        """Wait until the module's retained status is this, None: there is none; the time that it came."""
        wanted = None if status is None else status.encode()
        topic = f"dome/status/{module}"
        self.observer.until(
            lambda: self.observer.retained(topic) == wanted,
            within,
            lambda: f"{module} {status}: {self.observer.retained(topic)!r}",
        )
        return time.monotonic()

    def topics(self, module: str) -> list[str]:
        """Where something of this module is retained, in Home Assistant's discovery too."""
        return self.observer.topics(module)

    def announced(self, module: str) -> list[str]:
        """Wait until Home Assistant's discovery of this module is retained, which comes last; the topics."""
        self.observer.until(
            lambda: [topic for topic in self.topics(module) if topic.startswith("homeassistant/")],
            what=lambda: f"discovery of {module}: {self.topics(module)}",
        )
        return self.topics(module)

    def until_only(self, *modules: str) -> None:
        """Wait until these modules are online, and nothing is left of the others that there are usually."""
        for module in modules:
            self.until_module(module, "online")

        def ghosts() -> list[str]:
            others = [f"My{name}" for name in USUAL if f"My{name}" not in modules]
            return [topic for name in others for topic in self.topics(name)]

        self.observer.until(lambda: not ghosts(), 2 * GONE_AFTER, ghosts)

    @property
    def links(self) -> list[str]:
        """The states that the link went through."""
        return [one.json["state"] for one in self.observer.on("dome/link")]

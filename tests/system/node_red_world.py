"""Everything that a Node-RED user has: broker, daemon, four simulated instruments, and all flows deployed."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from tests.system.mosquitto import HOST, Mosquitto
from tests.system.node_red import FLOWS, Node, NodeRed, flow
from tests.system.observer import Observer
from tests.system.processes import Daemon, Simulator, waited

CORE = sorted(path.stem for path in FLOWS.glob("*.json") if not path.stem.endswith("-dashboard"))
PATIENCE = 20.0  # seconds; the flows themselves wait 15 for an answer
UNIPI, IM7, INSPECT = "Unipi (Evok)", "Zahner IM7", "ZEISS INSPECT"
OBSERVATORY, BRIDGE = "Observatory (OST)", "lab2mqtt itself"

CONFIGURATION = """
[bridge]
id = "demo"
log_format = "json"
state_dir = "{state}"
[mqtt]
host = "{host}"
port = {broker}
will_delay = 0
[devices.io]
driver = "evok"
url = "ws://{host}:{unipi}/ws"
[devices.cell]
driver = "im7"
url = "ws://{host}:{im7}/default"
[devices.inspect]
driver = "zeiss_inspect"
url = "ws://{host}:{inspect}"
path_map = {{ "{images}" = "D:/images" }}
[devices.dome]
driver = "ost"
url = "ws://{host}:{observatory}"
"""


class World:
    """Everything runs, every flow is deployed; the watched folder is `images`."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.images = directory / "images"
        self.images.mkdir()
        self.broker = stack.enter_context(Mosquitto(directory))
        self.observer = stack.enter_context(Observer(self.broker.port))
        self.unipi = stack.enter_context(Simulator("evok", directory, "--no-lively"))
        self.im7 = stack.enter_context(Simulator("im7", directory, "--on", "0.1"))
        self.inspect = stack.enter_context(Simulator("zeiss_inspect", directory))
        self.observatory = stack.enter_context(Simulator("ost", directory, "--dry", "0"))
        ports = {name: getattr(self, name).port for name in ("broker", "unipi", "im7", "inspect", "observatory")}
        text = CONFIGURATION.format(host=HOST, state=directory / "state", images=self.images, **ports)
        self.daemon = stack.enter_context(Daemon(directory, text))
        self.red = stack.enter_context(NodeRed(directory))
        self.deploy()
        waited(lambda: all(map(self.available, (UNIPI, IM7, INSPECT, OBSERVATORY))), "all devices are available")

    def deploy(self) -> None:
        self.red.deploy(*(node for name in CORE for node in self.nodes(name)))

    def nodes(self, name: str) -> list[Node]:
        """With what a user would set: the folder that is watched, and shorter times."""
        nodes = flow(name, self.broker.port, SECONDS=1)
        for node in nodes:
            if node["type"] == "watch":
                node |= {"files": str(self.images), "d": False}
        return nodes

    def available(self, tab: str) -> bool:
        return bool(self.red.context(tab, "available") == "true")

    def ask(self, tab: str, button: str) -> str:
        """Press it; the final answer in words, without the button's name."""
        before = len(self.red.answers(tab))
        self.red.press(tab, button)
        return self.answered(tab, button, before)

    def answered(self, tab: str, asked: str, before: int = 0) -> str:
        start = f"{asked}: "

        def finals() -> list[str]:
            new = self.red.answers(tab)[before:]
            return [one for one in new if one.startswith(start) and not one.startswith(start + "accepted")]

        waited(finals, f"an answer to {asked}; {self.red.answers(tab)[before:]}", PATIENCE)
        return finals()[0].removeprefix(start)

"""A real Node-RED in a directory of its own, spoken to by its admin API."""

from __future__ import annotations

import json
import os
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.system.mosquitto import HOST, free_port
from tests.system.processes import REPOSITORY, Process, waited

PROGRAM = "LAB2MQTT_NODE_RED"  # red.js, or a directory whose node_modules have it
NODE = "LAB2MQTT_NODE_RED_NODE"  # the Node.js that runs it, where that is not the one on PATH
FLOWS = REPOSITORY / "config" / "node-red"
DASHBOARD = Path("@flowfuse", "node-red-dashboard")

SETTINGS = """
module.exports = {
  uiHost: %(host)s, uiPort: %(port)d, userDir: %(directory)s, flowFile: "flows.json", credentialSecret: "test",
  telemetry: { enabled: false, updateNotification: false },
  externalModules: { autoInstall: false, palette: { allowInstall: false } },
  logging: { console: { level: "info", metrics: false, audit: false } },
};
"""
Node = dict[str, Any]


def program() -> Path:
    """red.js."""
    given = Path(os.environ[PROGRAM])
    return given if given.suffix == ".js" else given / "node_modules" / "node-red" / "red.js"


def flow(name: str, broker: int, **environment: object) -> list[Node]:
    """One file's nodes, for a broker on this port; the environment is laid over that of the flow's tab."""
    nodes: list[Node] = json.loads((FLOWS / f"{name}.json").read_text(encoding="utf-8"))
    for node in nodes:
        if node["type"] == "mqtt-broker":
            node["port"] = str(broker)
        if node["type"] == "tab":
            for one in node["env"]:
                one["value"] = str(environment.get(one["name"], one["value"]))
    return nodes


def node_named(name: str, node: str) -> str:
    """The id of the node of this name in a file."""
    (found,) = [one["id"] for one in flow(name, 0) if one.get("name") == node]
    return str(found)


class NodeRed(Process):
    """Runs with an empty flow file until something is deployed."""

    development = False

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        own = directory / "node-red"
        own.mkdir()
        modules = program().parents[1]
        if (modules / DASHBOARD).exists():  # found by Node-RED as what a user has installed
            (own / "node_modules").symlink_to(modules)
            wanted = {str(DASHBOARD): "*"}
            (own / "package.json").write_text(json.dumps({"name": "test", "dependencies": wanted}))
        settings = own / "settings.js"
        given = {"host": json.dumps(HOST), "port": self.port, "directory": json.dumps(str(own))}
        settings.write_text(SETTINGS % given)
        node = os.environ.get(NODE) or shutil.which("node") or "node"
        self.program = [node, str(program())]
        self._nodes: dict[str, list[Node]] = {}
        super().__init__("node-red", directory, ["-s", str(settings)])

    def start(self) -> None:
        super().start()
        waited(lambda: "Started flows" in self.log, f"Node-RED's flows:\n{self.log[-2000:]}", 60.0)

    @property
    def types(self) -> set[str]:
        """What can be used in a flow."""
        return {name for one in self._call("GET", "/nodes") for name in one["types"] if one["enabled"]}

    def deploy(self, *nodes: Node) -> None:
        """Everything at once, instead of what ran before."""
        once = {node["id"]: node for node in nodes}
        before = self.log.count("Started flows")
        self._call("POST", "/flows", {"flows": list(once.values())})
        waited(lambda: self.log.count("Started flows") > before, f"a deploy:\n{self.log[-2000:]}")

    def press(self, tab: str, name: str) -> None:
        """What a click on the button of an inject node does."""
        self._call("POST", f"/inject/{self._node(tab, name)['id']}")

    def context(self, tab: str, key: str) -> Any:
        """A value of the flow's context, or None; scalars as text."""
        return self._context(f"flow/{self._tab(tab)}/{key}")

    def node_context(self, id_: str, key: str) -> Any:
        """A value of a node's own context, or None."""
        return self._context(f"node/{id_}/{key}")

    def answers(self, tab: str) -> list[str]:
        """The sentences of what was answered, in order."""
        return self.context(tab, "answers") or []

    # --- the admin API ------------------------------------------------------------------------------

    def _context(self, path: str) -> Any:
        found = self._call("GET", f"/context/{path}")
        held = found.get("msg")
        if found.get("format") == "undefined":
            return None
        return json.loads(held) if held.startswith(("{", "[")) else held

    def _node(self, tab: str, name: str) -> Node:
        own = self._tab(tab)
        (node,) = [one for one in self._flows() if one.get("z") == own and one.get("name") == name]
        return node

    def _tab(self, label: str) -> str:
        (tab,) = [one["id"] for one in self._flows() if one["type"] == "tab" and one["label"] == label]
        return str(tab)

    def _flows(self) -> list[Node]:
        found: list[Node] = self._call("GET", "/flows")["flows"]
        return found

    def _call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> Any:
        headers = {
            "Node-RED-API-Version": "v2",
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        data = json.dumps(body or {}).encode() if method == "POST" else None
        request = urllib.request.Request(
            f"http://{HOST}:{self.port}{path}", data=data, headers=headers, method=method
        )
        with urllib.request.urlopen(request, timeout=10.0) as reply:
            text = reply.read()
        return json.loads(text) if text.startswith((b"{", b"[")) else text

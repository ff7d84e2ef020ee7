"""The WebSocket server under all instrument simulators: frames in order, HTTP beside it, faults on demand.

    async with serve(EvokSimulator(), port=0) as server:
        ...  # server.url, server.faults.stall(5), server.connections[0].drop()

Besides what the simulator answers, the port answers `GET /_fault` (list), `GET /_fault/<name>?<parameters>` and
`GET /_state`, whatever the faults are doing (except while TCP connections are refused).
"""

from bridge.simulators.server.connection import Connection
from bridge.simulators.server.faults import Fault, Faults
from bridge.simulators.server.gate import Gate
from bridge.simulators.server.listener import Reply, Server, Simulator, serve

__all__ = ["Connection", "Fault", "Faults", "Gate", "Reply", "Server", "Simulator", "serve"]

"""A bench lamp without a lamp: `python -m lab2mqtt_lamp.simulator PORT`."""

from __future__ import annotations

import asyncio
import json
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

status: dict[str, object] = {"on": False, "level": 40, "hours": 12.5}
connections: set[ServerConnection] = set()


async def talk(connection: ServerConnection) -> None:
    connections.add(connection)
    try:
        async for text in connection:
            request = json.loads(text)
            match request:
                case {"get": "status"}:
                    await connection.send(json.dumps({"status": status, "serial": "L-042"}))
                case {"id": id_, "set": {"level": 0}}:
                    await connection.send(json.dumps({"id": id_, "error": "0 % is off: switch it off"}))
                case {"id": id_, "set": dict(values)}:
                    status.update(values)
                    broadcast(connections, json.dumps({"status": values}))
                    await connection.send(json.dumps({"id": id_, "ok": True}))
                case {"id": id_, "do": "cool_down"}:
                    broadcast(connections, json.dumps({"status": {"on": False}}))
                    broadcast(connections, json.dumps({"alarm": "overheated"}))
                    await connection.send(json.dumps({"id": id_, "ok": True}))
    finally:
        connections.discard(connection)


async def main(port: int) -> None:
    async with serve(talk, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))

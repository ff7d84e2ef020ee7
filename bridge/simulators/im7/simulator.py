"""The IM7 on a port: WebSocket and HTTP, one command set; and its ways to fail."""

import base64
import json
from typing import Annotated, ClassVar, Literal
from urllib.parse import parse_qsl, urlsplit

from bridge.simulators.im7.errors import Error, JsonObject, Refused
from bridge.simulators.im7.instrument import Instrument, Temper
from bridge.simulators.im7.mishaps import Mishaps
from bridge.simulators.im7.protocol import Answer, Commands, failure
from bridge.simulators.im7.visitors import Passenger, Visitor, Visitors
from bridge.simulators.server import Connection, Fault, Reply, Server

PATHS = {"/", "/default", ""}  # of the WebSocket
VERSION_HEADER = "Z-Supported-Protocol-Version"
JSON = "application/json"


class Im7Simulator:
    """A Zahner IM7x with a cell: a queue of jobs, live data that is lossy, results that are complete.

    `GET /_state` shows jobs, counts of starts and of fetched results; `GET /_result/<job_id>` gives the exact
    numbers of a result (little-endian float64, column after column); `GET /_fault` lists the faults.
    """

    banner: ClassVar[str] = "zahner"
    max_size: ClassVar[int | None] = 64 * 2**20

    def __init__(
        self,
        *,
        protocol: Annotated[int, "protocol version: 12 (results by /JOB_RESULT), 7 or 2 (by /job/data)"] = 12,
        speed: Annotated[float, "simulated seconds per second"] = 1.0,
        seed: Annotated[int, "seed of the noise"] = 1,
        user: Annotated[str, "user name that HTTP Basic must bring"] = "",
        password: Annotated[str, "and its password"] = "",
        queue: Annotated[int, "jobs that can wait"] = 10,
        bypass: Annotated[
            Literal["controls", "all", "none"], "which jobs may bypass a queue that measures"
        ] = "controls",
        jobs: Annotated[int, "jobs it remembers"] = 64,
        results: Annotated[int, "results it keeps"] = 16,
        loss: Annotated[float, "share of the live rows that is lost"] = 0.08,
        live_rows: Annotated[int, "rows in a live message, at most; the rest is left out"] = 100,
        limit_status: Annotated[
            Literal["FAILED", "FINISHED"], "status of a job that met a stop condition"
        ] = "FAILED",
        twice: Annotated[bool, "JOB_DONE also as an event to who started the job"] = False,
        channels: Annotated[str, "names of further columns, separated by commas"] = "",
        on: Annotated[float | None, "switch the main potentiostat on from the beginning, at so many volts"] = None,
    ) -> None:
        if speed <= 0:
            raise ValueError("speed must be greater than 0")
        names = tuple(name for name in channels.split(",") if name)
        self._visitors = Visitors()
        self.instrument = Instrument(
            Temper(
                protocol=protocol,
                speed=speed,
                queue=queue,
                bypass=bypass,
                jobs=jobs,
                results=results,
                loss=loss,
                live_rows=live_rows,
                limit_status=limit_status,
                tells_twice=twice,
                channels=names,
                seed=seed,
            ),
            self._visitors.publish,
        )
        if on is not None:
            main = self.instrument.hardware.main
            main.switched_on, main.bias = True, on
        self._commands = Commands(self.instrument, self._visitors, _identity(protocol))
        self._mishaps = Mishaps(self.instrument)
        self._protocol = protocol
        self._expected = f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}" if user else ""

    # --- the server's side --------------------------------------------------------------------------------------

    def respond(self, connection: Connection) -> Reply | None:
        url = urlsplit(connection.path)
        if url.path.startswith("/_result/"):
            return self._exact(url.path.removeprefix("/_result/"))
        if self._expected and connection.headers.get("Authorization") != self._expected:
            return Reply(401, headers=(("WWW-Authenticate", 'Basic realm="im7"'),))
        if connection.headers.get("Upgrade", "").lower() != "websocket":
            return self._http(connection, url.path, dict(parse_qsl(url.query)))
        if url.path not in PATHS:
            return Reply(404, json.dumps(failure(Error("ENDPOINT_NOT_FOUND", (url.path,)))), JSON)
        if connection.headers.get(VERSION_HEADER, str(self._protocol)) != str(self._protocol):
            return Reply(409, f"protocol version {self._protocol} is spoken here\n")
        return None

    async def talk(self, connection: Connection) -> None:
        visitor = Visitor(connection)
        self._visitors.enter(visitor)
        try:
            async for message in connection:
                self._obey(visitor, message)
        finally:
            self._visitors.leave(visitor)

    async def run(self, server: Server) -> None:
        self._mishaps.server = server
        await self.instrument.run()

    def state(self) -> JsonObject:
        instrument = self.instrument
        starts = {kind: count for kind, count in instrument.counts.items() if not kind.startswith("/")}
        return {
            "protocol": self._protocol,
            "connections": len(self._visitors.listed()),
            "running": [job.id for job in instrument.running],
            "queue": [job.id for job in instrument.queue],
            "jobs": instrument.listed(open_only=False),
            "starts": {"count": sum(starts.values()), "by_type": starts, "recent": list(instrument.starts)},
            "stops": instrument.counts["/stop"],
            "results": [result.job.id for result in instrument.results.all()],
            "fetched": dict(instrument.results.fetched),
            "potentiostats": {urn: pot.shape() for urn, pot in instrument.hardware.potentiostats.items()},
            "properties": {"/".join(key): value for key, value in instrument.hardware.properties.items()},
            "led": instrument.hardware.led,
            "settings": instrument.settings,
        }

    def faults(self) -> list[Fault]:
        return self._mishaps.all()

    # --- WebSocket ----------------------------------------------------------------------------------------------

    def _obey(self, visitor: Visitor, message: str | bytes) -> None:
        request = _parsed(message)
        if isinstance(request, Refused):
            visitor.tell(failure(request.error))
            return
        answer = self._commands.answer(request, visitor)
        if request.get("do") == "/job/start" and self._mistreated(visitor, answer):
            return
        if request.get("do") != "/stop" or "request_id" in request:  # the client does not wait for it
            visitor.tell(answer.reply)
        if answer.binary is not None:
            visitor.socket.send(answer.binary)
        if answer.after is not None:
            answer.after()

    def _mistreated(self, visitor: Visitor, answer: Answer) -> bool:
        """Start the job, but lose or delay the reply, where a fault asks for it."""
        match answer.reply:
            case {"job_info": {"job_id": str(job_id)}} if answer.after is not None:
                job = self.instrument.jobs[job_id]
            case _:
                return False
        if self._mishaps.late_replies:
            self._mishaps.late_replies -= 1
            if job.starter is not None:
                job.starter.late = answer.reply
        elif self._mishaps.lost_replies:
            self._mishaps.lost_replies -= 1
            if self._mishaps.does_drop:
                visitor.socket.drop()
        else:
            return False
        answer.after()
        return True

    # --- HTTP ---------------------------------------------------------------------------------------------------

    def _http(self, connection: Connection, path: str, query: dict[str, str]) -> Reply:
        request: JsonObject | Refused = {**query}
        if connection.body:
            request = _parsed(connection.body)
        if isinstance(request, Refused):
            return Reply(400, json.dumps(failure(request.error)), JSON)
        answer = self._commands.answer({**_typed(request), "do": path}, Passenger())
        if answer.after is not None:
            answer.after()
        if answer.binary is not None:
            return Reply(200, answer.binary, "application/octet-stream")
        status = 404 if answer.reply.get("error") == Error("ENDPOINT_NOT_FOUND", (path,)).shape() else 200
        return Reply(status, json.dumps(answer.reply), JSON)

    def _exact(self, job_id: str) -> Reply:
        """A result's numbers as they are, without counting that they were fetched."""
        try:
            return Reply(200, self.instrument.results.of_job(job_id).raw(), "application/octet-stream")
        except Refused as refusal:
            return Reply(404, json.dumps(failure(refusal.error)), JSON)


def _parsed(message: str | bytes) -> JsonObject | Refused:
    """The request in a message; NaN and Infinity are allowed, as the client sends them."""
    try:
        request = json.loads(message)
    except (ValueError, RecursionError) as error:
        return Refused("JSON_MALFORMED", str(error))
    return request if isinstance(request, dict) else Refused("JSON_OBJECT_EXPECTED")


def _typed(query: JsonObject) -> JsonObject:
    """Words of a URL's query that are JSON: `exclude_finished=true`."""
    words: JsonObject = {"true": True, "false": False}
    return {key: words.get(value, value) if isinstance(value, str) else value for key, value in query.items()}


def _identity(protocol: int) -> JsonObject:
    """Who it is; newer firmware says more."""
    identity: JsonObject = {
        "protocol_version": protocol,
        "serial_number": "73000000",
        "model_name": "IM7x",
        "firmware_version": "p2",
        "cpu_card_uuid": "106096c6-203d-47a1-86e8-d2e671c93b9e",
        "system_mac": "00C06AFFFFFE",
        "system_name": "My Zahner Workstation",
    }
    return {**identity, "firmware_build_id": "0", "mode": "EMULATION"} if protocol >= 8 else identity

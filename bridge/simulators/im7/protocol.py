"""The IM7's commands: from a request to its reply, the same for WebSocket and HTTP."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bridge.simulators.im7.errors import Error, JsonObject, Refused
from bridge.simulators.im7.instrument import Instrument
from bridge.simulators.im7.jobs import Starter
from bridge.simulators.im7.orders import order_of
from bridge.simulators.im7.resources import READABLE, WRITABLE, piece


class Caller(Protocol):
    """Who asks: a WebSocket connection, which has an id and can be notified, or an HTTP request."""

    @property
    def connection(self) -> JsonObject: ...
    def starter(self, request_id: object) -> Starter | None: ...


class Visitors(Protocol):
    """All WebSocket connections."""

    def listed(self) -> list[JsonObject]: ...
    def drop(self, connection_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply, the binary frame that goes with it, and what happens after it was sent."""

    reply: JsonObject
    binary: bytes | None = None
    after: Callable[[], None] | None = None


class Commands:
    """The commands of one generation: protocol 2, 7 or 12 (others behave as the next older of these)."""

    def __init__(self, instrument: Instrument, visitors: Visitors, identity: JsonObject) -> None:
        self._instrument, self._visitors, self._identity = instrument, visitors, identity
        protocol = instrument.temper.protocol
        self._has_results, self._has_info = protocol >= 8, protocol >= 7
        self._readable = READABLE if self._has_results else ()

    def answer(self, request: JsonObject, caller: Caller) -> Answer:
        """Do what is asked for; a refusal is an answer, too."""
        try:
            answer = self._done(request, caller)
            reply: JsonObject = {"type": "REPLY", "status": "SUCCESS", **answer.reply}
        except Refused as refusal:
            answer = Answer({})
            reply = failure(refusal.error)
        if "request_id" in request:
            reply["request_id"] = request["request_id"]
        return Answer(reply, answer.binary, answer.after)

    def _done(self, request: JsonObject, caller: Caller) -> Answer:
        instrument = self._instrument
        match request.get("do"):
            case "/id":
                return Answer({"workstation": self._identity})
            case "/status":
                return Answer({"workstation_status": self._status()})
            case "/job/start":
                job = instrument.accept(order_of(request), caller.starter(request.get("request_id")))
                return Answer({"job_info": job.info()}, after=lambda: instrument.submit(job))
            case "/job/check_parameters":
                order_of(request)
                return Answer({})
            case "/job/list":
                return Answer({"jobs": instrument.listed(open_only=request.get("exclude_finished") is True)})
            case "/job/info" if self._has_info:
                return Answer({"job_info": instrument.find(request.get("job_id")).info()})
            case "/job/data" if not self._has_results:
                result = instrument.results.of_job(str(request.get("job_id")))
                return Answer({"data": instrument.results.fetch(result).events()})
            case "/stop":
                return Answer({}, after=lambda: instrument.stop(flush=request.get("queue") == "flush"))
            case "/settings/get":
                return Answer({"settings": instrument.settings})
            case "/settings/set":
                return Answer({"settings": self._set(request.get("settings"))})
            case "/connection/id":
                return Answer({"connection": caller.connection})
            case "/connection/list":
                return Answer({"connections": self._visitors.listed()})
            case "/connection/drop":
                connection_id = str(request.get("connection_id"))
                if connection_id not in {shape["connection_id"] for shape in self._visitors.listed()}:
                    raise Refused("ID_NOT_FOUND", "connection", "connection_id", connection_id)
                return Answer({}, after=lambda: self._visitors.drop(connection_id))
            case str(path):
                return self._on_resource(path, request)
        raise Refused("PARAMETER_MISSING", "do")

    def _status(self) -> JsonObject:
        return {
            "busy": bool(self._instrument.running),
            "uptime": int(self._instrument.uptime),
            "last_dc_calibration": "2026-01-12T09:30:00.000000Z",
        }

    def _set(self, given: object) -> JsonObject:
        """Per key an error, number 0 where it was taken over; the device's shape is unknown."""
        if not isinstance(given, dict):
            raise Refused("PARAMETER_MISSING", "settings")
        settings = self._instrument.settings
        known = {key: value for key, value in given.items() if key in settings}
        settings.update(known)
        return {
            key: Error().shape() if key in known else Error("SETTINGS_NOT_APPLIED", (key,)).shape()
            for key in given
        }

    # --- resources ----------------------------------------------------------------------------------------------

    def _on_resource(self, path: str, request: JsonObject) -> Answer:
        match path.split("/"):
            case ["", "JOB_RESULT", verb] if self._has_results:
                return self._on_result(path, verb, request)
            case ["", kind, verb] if kind in (*WRITABLE, *self._readable):
                pass
            case _:
                raise Refused("ENDPOINT_NOT_FOUND", path)
        resources = self._instrument.resources
        match verb:
            case "list":
                return Answer({"resources": resources.list(kind)})
            case "create":
                return Answer({"resource": resources.create(request.get("name"), kind).shape()})
        if verb not in {"info", "append", "get", "download", "delete"}:
            raise Refused("ENDPOINT_NOT_FOUND", path)
        resource = resources.find(request.get("resource_id"), kind)
        match verb:
            case "append":
                resources.append(resource, request.get("data"))
            case "get":
                return Answer(piece(resource.content, request.get("offset"), request.get("limit")))
            case "download":
                return Answer({}, bytes(resource.content))
            case "delete":
                resources.delete(resource)
                return Answer({})
        return Answer({"resource": resource.shape()})

    def _on_result(self, path: str, verb: str, request: JsonObject) -> Answer:
        results = self._instrument.results
        if verb == "list":
            return Answer({"resources": [result.resource() for result in results.all()]})
        if verb in {"create", "append"}:
            raise Refused("RESOURCE_NOT_WRITABLE", "JOB_RESULT")
        if verb not in {"info", "get", "download", "delete"}:
            raise Refused("ENDPOINT_NOT_FOUND", path)
        result = results.by_id(str(request.get("resource_id")))
        match verb:
            case "get":
                return Answer(piece(results.raw(result), request.get("offset"), request.get("limit")))
            case "download":
                return Answer({}, results.raw(results.fetch(result)))
            case "delete":
                results.forget(result.job.id)
                return Answer({})
        return Answer({"resource": result.resource()})


def failure(error: Error) -> JsonObject:
    """A reply that refuses; the device's word for it is unknown, the client takes any but SUCCESS."""
    return {"type": "REPLY", "status": "FAILURE", "error": error.shape()}

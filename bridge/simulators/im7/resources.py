"""Resources that clients upload and take back: waves, firmware, meshes."""

import base64
import binascii
import uuid
from dataclasses import dataclass, field

from bridge.simulators.im7.errors import JsonObject, Refused
from bridge.simulators.im7.jobs import now

WRITABLE = ("WAVE", "CALIB_MESH", "FIRMWARE_UPDATE", "ISC")
READABLE = ("ZAHNER_BINARY", "DEBUG_INFO")
LARGEST_PIECE = 393_216  # bytes of one `get`
LONGEST_NAME = 128


@dataclass(slots=True)
class Resource:
    """A named piece of bytes on the instrument."""

    name: str
    type: str
    content: bytearray = field(default_factory=bytearray)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    created: str = field(default_factory=now)
    updated: str = field(default_factory=now)

    def shape(self) -> JsonObject:
        return {
            "resource_id": self.id,
            "name": self.name,
            "type": self.type,
            "size": len(self.content),
            "created": self.created,
            "updated": self.updated,
        }


class Resources:
    """All of them but the results of jobs."""

    def __init__(self) -> None:
        self._kept: dict[str, Resource] = {}
        log = Resource("system.log", "DEBUG_INFO", bytearray(b"simulated\n"))
        self._kept[log.id] = log

    def list(self, kind: str) -> list[JsonObject]:
        return [resource.shape() for resource in self._kept.values() if resource.type == kind]

    def find(self, resource_id: object, kind: str) -> Resource:
        resource = self._kept.get(str(resource_id))
        if resource is None:
            raise Refused("ID_NOT_FOUND", "resource", "resource_id", str(resource_id))
        if resource.type != kind:
            raise Refused("RESOURCE_TYPE_MISMATCH", resource.id, kind)
        return resource

    def create(self, name: object, kind: str) -> Resource:
        if kind not in WRITABLE:
            raise Refused("RESOURCE_NOT_WRITABLE", kind)
        if not isinstance(name, str) or not name:
            raise Refused("PARAMETER_MISSING", "name")
        if len(name) > LONGEST_NAME:
            raise Refused("PARAMETER_STRING_LENGTH_INVALID", "name", len(name), LONGEST_NAME)
        resource = Resource(name, kind)
        self._kept[resource.id] = resource
        return resource

    def append(self, resource: Resource, data: object) -> None:
        if resource.type not in WRITABLE:
            raise Refused("RESOURCE_NOT_WRITABLE", resource.type)
        try:
            resource.content += base64.b64decode(str(data), validate=True)
        except binascii.Error:
            raise Refused("PARAMETER_FORMAT_INVALID_HINT", "data", "not base64") from None
        resource.updated = now()

    def delete(self, resource: Resource) -> None:
        del self._kept[resource.id]

    def wave(self, resource_id: str) -> bytes:
        """The content of a wave; ID_NOT_FOUND otherwise."""
        return bytes(self.find(resource_id, "WAVE").content)


def piece(content: bytes | bytearray, offset: object, limit: object) -> JsonObject:
    """The reply to `get`: some bytes as base64, and how many there are in all."""
    if not isinstance(offset, int) or not isinstance(limit, int):
        raise Refused("PARAMETER_MISSING", "offset, limit")
    if offset < 0 or limit < 0:
        raise Refused("PARAMETER_VALUE_TOO_LOW", "offset", min(offset, limit), 0)
    if limit > LARGEST_PIECE:
        raise Refused("PARAMETER_VALUE_TOO_HIGH", "limit", limit, LARGEST_PIECE)
    part = bytes(content[offset : offset + limit])
    return {"data": base64.b64encode(part).decode("ascii"), "resource_total_size": len(content)}

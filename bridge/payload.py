"""The encodings of values, replies and blocks, and the reading of commands: CONTRACT "Values" and "Commands"."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from bridge.model import Block, Json, Quality, Reply, Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_encode = msgspec.json.Encoder(enc_hook=str).encode
MAX_ID = 128  # characters of a command's id


def json(value: object) -> bytes:
    """Compact JSON. Non-finite numbers become null, as everywhere on our topics.

    Half a surrogate pair, which some decoders let into a text and UTF-8 has no bytes for, becomes a question mark:
    what one instrument says must not keep the others' documents from being made.
    """
    try:
        return _encode(value)
    except UnicodeEncodeError:
        return _encode(_whole(msgspec.to_builtins(value, enc_hook=str)))


def _whole(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode()
        case dict():
            return {_whole(key): _whole(item) for key, item in value.items()}
        case list() | tuple():
            return [_whole(item) for item in value]
    return value


@lru_cache(maxsize=256)
def rfc3339(milliseconds: int) -> str:
    """Milliseconds since the epoch as `2026-11-21T10:00:00.123Z`."""
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 with milliseconds, UTC."""
    return rfc3339(int(seconds * 1000))


class StateFormat:
    """The envelope of one point's values, its constant parts made once: this runs for every value."""

    __slots__ = ("_middle", "_plain")

    def __init__(self, unit: str | None, plain: bool) -> None:
        self._plain = plain
        self._middle = b',"unit":' + json(unit) + b',"time":"' if unit else b',"time":"'

    def encode(self, value: Scalar, time: str, quality: Quality = Quality.GOOD) -> bytes:
        """`{"value", "unit", "time"}`, with `quality` only when it is not good; or the bare scalar."""
        if self._plain:
            return _plain(value)
        text = json(value) if type(value) is str else _encode(value)
        if quality is Quality.GOOD:
            return b"%b%b%b%b%b" % (b'{"value":', text, self._middle, time.encode(), b'"}')
        return b'{"value":%b%b%b","quality":"%b"}' % (text, self._middle, time.encode(), quality.encode())


def _plain(value: Scalar) -> bytes:
    match value:
        case None:
            return b"null"
        case bool():
            return b"ON" if value else b"OFF"
        case str():
            return value.encode("utf-8", "replace")
    return _encode(value)


# --- commands ----------------------------------------------------------------------------------------


class Wish(Struct, frozen=True):
    """What a command's payload says. Times in seconds; `sent` in seconds since the epoch."""

    value: Json = None
    args: Mapping[str, Json] = {}
    id: str | None = None
    expires: float | None = None
    timeout: float | None = None
    sent: float | None = None
    expect: Json = None


class _Envelope(Struct, forbid_unknown_fields=True):
    id: str | None = None
    expires: float | None = None
    timeout: float | None = None
    sent: str | None = None


class _SetEnvelope(_Envelope, forbid_unknown_fields=True):
    value: Any = None  # any JSON; msgspec cannot spell a recursive type
    expect: Any = None


class _CallEnvelope(_Envelope, forbid_unknown_fields=True):
    args: dict[str, Any] = {}


def read_set(payload: bytes) -> Wish:
    """A bare value (left as text for the point to read) or an envelope. ValueError says what is wrong."""
    text = _text(payload)
    if not text.lstrip().startswith("{"):
        return Wish(value=text)
    fields = _object(text)
    if "expect" in fields and fields["expect"] is None:
        raise ValueError("`expect` is null: leave it out, or give the value that is expected")
    if "value" not in fields:
        raise ValueError('an object for `set` needs the key "value"')
    envelope = _envelope(fields, _SetEnvelope)
    return _wish(envelope, value=envelope.value, expect=envelope.expect)


def read_call(payload: bytes) -> Wish:
    """An object: an envelope when it has the key `args`, else the arguments themselves. Empty: no arguments."""
    text = _text(payload).strip()
    if not text:
        return Wish()
    fields = _object(text)
    if "args" not in fields:
        return Wish(args=fields)
    envelope = _envelope(fields, _CallEnvelope)
    return _wish(envelope, args=envelope.args)


class _Named(Struct):
    id: str = ""


def id_of(payload: bytes) -> str:
    """The id of a payload that `read_set` or `read_call` turned down; "" when it has none to speak of."""
    try:
        id_ = msgspec.json.decode(payload, type=_Named).id
    except (msgspec.DecodeError, ValueError, RecursionError):  # the id is no text, or no UTF-8, or below a pile
        return ""
    return id_ if len(id_) <= MAX_ID else ""


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise ValueError("the payload is not UTF-8 text") from None


def _object(text: str) -> dict[str, Json]:
    try:
        fields = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        what = str(error).removeprefix("JSON is malformed: ")
        raise ValueError(f"the payload is not valid JSON: {what}") from None
    except RecursionError:
        raise ValueError("the payload is nested too deep") from None
    if not isinstance(fields, dict):
        raise ValueError("the payload is not a JSON object")
    return fields


EnvelopeT = TypeVar("EnvelopeT", bound=_Envelope)


def _envelope(fields: dict[str, Json], kind: type[EnvelopeT]) -> EnvelopeT:
    try:
        return msgspec.convert(fields, kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"the envelope does not fit: {error}") from None


def _wish(
    envelope: _Envelope,
    value: Json = None,
    args: Mapping[str, Json] | None = None,
    expect: Json = None,
) -> Wish:
    if envelope.id is not None and not 0 < len(envelope.id) <= MAX_ID:
        raise ValueError(f"the id has {len(envelope.id)} characters, not 1 to {MAX_ID}")
    for name in ("expires", "timeout"):
        seconds = getattr(envelope, name)
        if seconds is not None and not 0 <= seconds < math.inf:
            raise ValueError(f"`{name}` is a number of seconds, not {seconds}")
    return Wish(
        value=value,
        args=args or {},
        id=envelope.id,
        expires=envelope.expires,
        timeout=envelope.timeout,
        sent=None if envelope.sent is None else _moment(envelope.sent),
        expect=expect,
    )


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"`sent` is no RFC 3339 time: {text!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"`sent` has no time zone: {text!r}")
    return moment.timestamp()


# --- answers and measured data -----------------------------------------------------------------------


class Times(Struct, frozen=True, omit_defaults=True):
    """When a command was received, sent to the device and answered; RFC 3339."""

    received: str | None = None
    sent: str | None = None
    answered: str | None = None


def answer(reply: Reply, *, action: bool, times: Times) -> bytes:
    """`{"id", "outcome", "final", "detail", "value"|"data", "times"}`."""
    outcome = reply.outcome
    fields: dict[str, object] = {
        "id": reply.id,
        "outcome": outcome,
        "final": outcome.final,
        "detail": reply.detail,
    }
    if reply.data is not None:
        fields["data" if action else "value"] = reply.data
    fields["times"] = times
    return json(fields)


def live_block(block: Block) -> bytes:
    """`{"job", "offset", "columns": {name: [values]}, "units": {name: unit}}`; NaN becomes null."""
    return json(
        {
            "job": block.job,
            "offset": block.offset,
            "columns": {name: _column(block.rows, index) for index, name in enumerate(block.columns)},
            "units": dict(zip(block.columns, block.units, strict=False)),
        }
    )


def _column(rows: NDArray[np.float64], index: int) -> Sequence[float]:
    values: list[float] = rows[:, index].tolist()
    return values

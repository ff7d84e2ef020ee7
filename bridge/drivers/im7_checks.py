"""Job objects checked before they are sent: known types, their parameters, finite numbers, texts as meta.

The instrument checks ranges itself and says what is wrong; here a job fails that it would misread.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

from bridge.driver import Touch
from bridge.drivers.im7_forms import CHOICES, CONDITIONS, DANGEROUS, FORMS, SPECTRUM, SWEEP
from bridge.drivers.im7_frames import DEEPEST
from bridge.model import Command, Json, point_key

TAG = "mqtt_id"  # the entry of `job_meta` that says which command started a job
_KEYS = ("type", "parameters", "stop_conditions", "job_meta", "bypass_queue", "discard_result_data")


def touches(command: Command) -> tuple[Touch, ...]:
    """The type of the job that a command starts; dangerous and unknown ones need an `allow`."""
    if command.key != "job_start" or not isinstance(job := command.args.get("job"), Mapping):
        return ()
    kind = job.get("type")
    if not isinstance(kind, str):
        return ()
    guarded = kind in DANGEROUS or kind not in FORMS
    return (Touch(point_key("job_type", kind), point=False, guarded=guarded),)


def start_fields(args: Mapping[str, Json], tag: str | None) -> dict[str, Json]:
    """The fields of `/job/start` or `/job/check_parameters`; ValueError names what is wrong."""
    job = _object(args.get("job"), "job")
    for name in job:
        if name not in _KEYS:
            raise ValueError(f"job.{name} is unknown (a job has {', '.join(_KEYS)})")
    kind = job.get("type")
    if not isinstance(kind, str) or not kind:
        raise ValueError("job.type is missing or no text")
    parameters = _object(job.get("parameters", {}), "parameters")
    if (form := FORMS.get(kind)) is not None:
        _check(parameters, form.needed, form.optional, "")
    _finite(parameters, "parameters")
    conditions = _list(job.get("stop_conditions", []), "stop_conditions")
    for turn, condition in enumerate(conditions):
        _condition(condition, f"stop_conditions[{turn}]")
    meta = {**_meta(job.get("job_meta", {})), **({TAG: tag} if tag else {})}
    sent: Json = {"type": kind, "parameters": parameters, "stop_conditions": conditions, "job_meta": meta}
    return {"job": sent, **_flags(args, job)}


def _flags(args: Mapping[str, Json], job: Mapping[str, Json]) -> dict[str, Json]:
    """They stand beside the job on the wire, and are sent only when true."""
    found: dict[str, Json] = {}
    for name in ("bypass_queue", "discard_result_data"):
        value = args.get(name, job.get(name, False))
        if not isinstance(value, bool):
            raise ValueError(f"{name} is neither true nor false")
        if value:
            found[name] = True
    return found


def _meta(value: Json) -> Mapping[str, Json]:
    meta = _object(value, "job_meta")
    for name, content in meta.items():
        if not isinstance(content, str):
            raise ValueError(f"job_meta.{name} is not a text")
    return {name: content for name, content in meta.items() if name != TAG}  # it may be a copy of an earlier job


def _condition(value: Json, path: str) -> None:
    condition = _object(value, path)
    kind = condition.get("type")
    if not isinstance(kind, str) or not kind:
        raise ValueError(f"{path}.type is missing or no text")
    parameters = _object(condition.get("parameters", {}), f"{path}.parameters")
    _check(parameters, CONDITIONS.get(kind, {}), {}, f"{path}.")
    _finite(condition, path)


def _check(values: Mapping[str, Json], needed: Mapping[str, str], optional: Mapping[str, str], path: str) -> None:
    for name in needed:
        if name not in values:
            raise ValueError(f"parameter {path}{name} is missing")
    for name, kind in {**needed, **optional}.items():
        if name in values:
            _kind(kind, values[name], f"{path}{name}")


def _kind(kind: str, value: Json, path: str) -> None:
    if kind in CHOICES:
        if value not in CHOICES[kind]:
            raise ValueError(f"parameter {path} is not one of {', '.join(CHOICES[kind])}")
        return
    wrong = _WRONG.get(kind)
    if wrong is not None and not wrong[0](value):
        raise ValueError(f"parameter {path} is {wrong[1]}")
    match kind:
        case "sweep":
            _check(_object(value, path), SWEEP, {}, f"{path}.")
        case "table":
            spectrum = _object(value, path).get("spectrum")
            for turn, row in enumerate(_list(spectrum, f"{path}.spectrum")):
                row_path = f"{path}.spectrum[{turn}]"
                _check(_object(row, row_path), SPECTRUM, {}, f"{row_path}.")


def _is_number(value: Json) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_whole(value: Json) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_Test: TypeAlias = Callable[[Json], bool]
_WRONG: Mapping[str, tuple[_Test, str]] = {
    "number": (_is_number, "not a number"),
    "whole": (_is_whole, "not a whole number"),
    "flag": (lambda value: isinstance(value, bool), "neither true nor false"),
    "text": (lambda value: isinstance(value, str), "not a text"),
    "list": (lambda value: isinstance(value, list | tuple), "not a list"),
    "object": (lambda value: isinstance(value, Mapping), "not an object"),
    "numbers": (lambda v: isinstance(v, list | tuple) and all(map(_is_number, v)), "not a list of numbers"),
    "indexes": (lambda v: isinstance(v, list | tuple) and all(map(_is_whole, v)), "not a list of whole numbers"),
}


def _finite(value: Json, path: str, depth: int = DEEPEST) -> None:
    """Every number in it; and that it is not nested without end."""
    if depth == 0:
        raise ValueError(f"{path} is nested too deep")
    match value:
        case float() if not math.isfinite(value):
            raise ValueError(f"{path} is not a finite number")
        case Mapping():
            for name, item in value.items():
                _finite(item, f"{path}.{name}", depth - 1)
        case list() | tuple():
            for turn, item in enumerate(value):
                _finite(item, f"{path}[{turn}]", depth - 1)


def _object(value: Json, path: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{path} is {'missing' if value is None else 'not an object'}")
    return value


def _list(value: Json, path: str) -> list[Json]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{path} is {'missing' if value is None else 'not a list'}")
    return list(value)

"""The points of an IM7: its workstation, its current job, what that measures, and what can be asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bridge.drivers.im7_job import STATES
from bridge.model import Argument, Category, Kind, Point, Policy, point_key

POTENTIOSTAT = "MAIN:1:POT"  # the main one of every instrument
SEVERITIES: Mapping[str, str] = {
    "DEBUG": "debug",
    "MESSAGE": "info",
    "WARNING": "warning",
    "CRITICAL_ERROR": "error",
}
LIVE = "live"
_STALE = 300.0  # seconds without a new row
_CALM = Policy(min_interval=0.5)
_DIAGNOSTIC = Category.DIAGNOSTIC
_CLASSES = {"V": "voltage", "A": "current", "Hz": "frequency", "s": "duration", "°C": "temperature"}
_DIGITS = {"V": 6, "A": 9, "Hz": 3, "s": 2, "°C": 2}  # decimals: currents go down to nanoamperes

# Dimensions that only an expert looks at, by the last word of their name; what else there is, is shown by default.
_MINOR = frozenset(
    {"bandwith", "debug", "direction", "drift", "error", "filter", "gain", "periods", "shunt", "thd"}
)

_WORKSTATION = (
    Point("workstation/busy", Kind.BINARY, "Busy", device_class="running"),
    Point("workstation/mode", Kind.SENSOR, "Mode", text=True, category=_DIAGNOSTIC),
    Point("workstation/model", Kind.SENSOR, "Model", text=True, category=_DIAGNOSTIC, enabled=False),
    Point("workstation/firmware", Kind.SENSOR, "Firmware", text=True, category=_DIAGNOSTIC),
    Point(
        "workstation/uptime",
        Kind.SENSOR,
        "Uptime",
        unit="s",
        device_class="duration",
        category=_DIAGNOSTIC,
        enabled=False,
        policy=Policy(min_interval=60.0),
    ),
    Point(
        "workstation/last_dc_calibration",
        Kind.SENSOR,
        "Last DC calibration",
        text=True,
        category=_DIAGNOSTIC,
    ),
)
_JOB = (
    Point("job/state", Kind.SENSOR, "Job", choices=STATES),
    Point("job/type", Kind.SENSOR, "Job type", text=True),
    Point("job/name", Kind.SENSOR, "Job name", text=True, enabled=False),
    Point("job/id", Kind.SENSOR, "Job id", text=True, category=_DIAGNOSTIC, enabled=False),
    Point("job/detail", Kind.SENSOR, "Job detail", text=True, category=_DIAGNOSTIC, enabled=False),
    Point("job/started", Kind.SENSOR, "Job started", text=True, device_class="timestamp", enabled=False),
    Point("job/ended", Kind.SENSOR, "Job ended", text=True, device_class="timestamp", enabled=False),
    Point(
        "job/progress",
        Kind.SENSOR,
        "Job progress",
        unit="%",
        minimum=0,
        maximum=100,
        precision=0,
        policy=Policy(min_interval=1.0),
    ),
    Point("job/queue", Kind.SENSOR, "Jobs waiting", precision=0, category=_DIAGNOSTIC),
    Point("job/last_error", Kind.SENSOR, "Last error", text=True, category=_DIAGNOSTIC),
)
_EVENTS = (
    Point("job", Kind.EVENT, "Job event", choices=STATES),
    Point("message", Kind.EVENT, "Message", choices=tuple(SEVERITIES.values()), category=_DIAGNOSTIC),
)
_JOB_ARGUMENT = Argument(
    "job",
    "object",
    required=True,
    help="type, parameters, stop_conditions, job_meta; its `name` names the result",
)
_JOB_ID = Argument("job_id", required=True)


def actions(result_timeout: float) -> tuple[Point, ...]:
    return (
        Point(
            "job_start",
            Kind.ACTION,
            "Start job",
            arguments=(
                _JOB_ARGUMENT,
                Argument("bypass_queue", "boolean", help="past the jobs that wait"),
                Argument("discard_result_data", "boolean", help="the instrument keeps no result"),
            ),
            timeout=None,
        ),
        Point(
            "job_stop",
            Kind.ACTION,
            "Stop job",
            arguments=(
                Argument(
                    "mode",
                    choices=("flush", "continue"),
                    help="flush: cancel the waiting jobs too; continue: go on with the next one. "
                    "By default flush, and with job_id continue",
                ),
                Argument("job_id", help="stop only if this is the running one: a stop is for whoever's job runs"),
            ),
            urgent=True,
        ),
        Point("job_check", Kind.ACTION, "Check job", arguments=(_JOB_ARGUMENT,)),
        Point(
            "job_list",
            Kind.ACTION,
            "List jobs",
            arguments=(Argument("exclude_finished", "boolean"),),
            enabled=False,  # nothing but an answer comes of it
        ),
        Point("job_info", Kind.ACTION, "Job information", arguments=(_JOB_ID,)),
        Point("job_data", Kind.ACTION, "Fetch result", arguments=(_JOB_ID,), timeout=2 * result_timeout),
        Point(
            "switch_off",
            Kind.ACTION,
            "Switch off",
            arguments=(Argument("potentiostat", help=f"{POTENTIOSTAT} by default"),),
            urgent=True,
            timeout=30.0,
        ),
        Point("switch_all_off", Kind.ACTION, "Switch all off", urgent=True, timeout=30.0),
    )


def live_key(dimension: str) -> str:
    return point_key(LIVE, dimension)


def _live(dimension: str, unit: str) -> Point:
    name = dimension[:1].upper() + dimension[1:]
    return Point(
        live_key(dimension),
        Kind.SENSOR,
        f"Live {name}",
        unit=unit or None,
        device_class=_CLASSES.get(unit),
        state_class="measurement",
        precision=_DIGITS.get(unit),
        max_age=_STALE,
        policy=_CALM,
        enabled=dimension.rpartition(" ")[2] not in _MINOR and not dimension.startswith("wave_"),
    )


def points(dimensions: Iterable[tuple[str, str]], result_timeout: float) -> tuple[Point, ...]:
    """All points; `dimensions`: the names and units of what jobs have measured so far."""
    live = tuple(_live(dimension, unit) for dimension, unit in dimensions)
    return (*_WORKSTATION, *_JOB, *_EVENTS, *actions(result_timeout), *live)

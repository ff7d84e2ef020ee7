"""What probes and Prometheus are told of the daemon, read at the moment of asking from the objects that have it.

docs/metrics.md is the table of these names, and a test holds it to them.
"""

from __future__ import annotations

import os
import platform
import resource
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from time import time

from bridge import __version__, health, metrics, payload
from bridge.device import Device
from bridge.herald import Herald
from bridge.http import Page, Pages
from bridge.intake import BRIDGE
from bridge.journal_file import NAME as JOURNAL
from bridge.link import State
from bridge.metrics import Family, Sample, counter, gauge, labelled
from bridge.model import Json, Outcome
from bridge.settings import Settings
from bridge.shipping import Shipping

JSON = "application/json"


class Vitals:
    """`stuck()` names the parts of the daemon that do not turn any more."""

    def __init__(
        self,
        settings: Callable[[], Settings],
        herald: Herald,
        shipping: Shipping,
        stuck: Callable[[], Sequence[str]],
    ) -> None:
        self._settings, self._herald, self._shipping, self._stuck = settings, herald, shipping, stuck
        self._started = time()

    @property
    def pages(self) -> Pages:
        return {"/livez": self._livez, "/readyz": self._readyz, "/metrics": self._metrics}

    # --- probes --------------------------------------------------------------------------------------

    def _livez(self, query: str) -> Page:
        """503: the process should be started again. Nothing outside of it plays a part."""
        stuck = ", ".join(self._stuck())
        status = HTTPStatus.SERVICE_UNAVAILABLE if stuck else HTTPStatus.OK
        return Page(f"stuck: {stuck}\n".encode() if stuck else b"alive\n", status=status)

    def _readyz(self, query: str) -> Page:
        """503: devices are not started yet or not any more; with `?strict` also: something is not connected."""
        fleet, uplink = self._herald.fleet, self._herald.uplink
        whole = uplink.announced and all(device.ready for device in fleet.devices.values())
        devices: dict[str, Json] = {
            name: {"state": device.link.shown or device.link.state.value, "reason": device.link.reason}
            for name, device in fleet.devices.items()
        }
        for name, rival in fleet.conflicts.items():
            devices[name] = {"state": "conflict", "reason": f"the bridge {rival} has this device"}
        ready = fleet.opened and (whole or "strict" not in query.split("&"))
        document: Json = {
            "ready": ready,
            "broker": {"state": "online" if uplink.announced else "offline", "reason": uplink.reason},
            "devices": devices,
        }
        status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
        return Page(payload.json(document) + b"\n", JSON, status)

    def _metrics(self, query: str) -> Page:
        return Page(metrics.render(self.families()), metrics.CONTENT_TYPE)

    # --- metrics -------------------------------------------------------------------------------------

    def families(self) -> Iterator[Family]:
        yield from self._process()
        yield from self._bridge()
        yield from self._configuration()
        yield from self._storage()
        yield from self._broker()
        yield from self._messages()
        yield from self._commands()
        yield from self._devices(self._herald.fleet.devices)

    def _process(self) -> Iterator[Family]:
        """The names that Prometheus' own libraries use."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        yield counter(
            "process_cpu_seconds_total", "User and system CPU time spent.", used.ru_utime + used.ru_stime
        )
        yield gauge("process_resident_memory_bytes", "Resident memory.", health.memory())
        yield gauge("process_start_time_seconds", "When the daemon started, since the epoch.", self._started)
        yield gauge("process_open_fds", "Open file descriptors.", len(os.listdir("/proc/self/fd")))
        yield gauge(
            "process_max_fds", "Most open file descriptors.", resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        )

    def _bridge(self) -> Iterator[Family]:
        settings, fleet = self._settings(), self._herald.fleet
        build = {"version": __version__, "python": platform.python_version()}
        yield Family("lab2mqtt_build_info", "gauge", "What runs; always 1.", [Sample(1, build)])
        name = {"bridge": settings.bridge.id, "root": settings.bridge.root, "configuration": settings.digest()}
        yield Family("lab2mqtt_bridge_info", "gauge", "Who runs, with what; always 1.", [Sample(1, name)])
        yield gauge("lab2mqtt_alive", "1 while /livez says 200.", not self._stuck())
        yield gauge("lab2mqtt_ready", "1 while /readyz says 200.", fleet.opened)
        help_ = "How much later than asked the event loop came back, at each tick (0.25 s or less apart)."
        yield Family("lab2mqtt_loop_lag_seconds", "histogram", help_, list(metrics.buckets(fleet.lags)))

    def _configuration(self) -> Iterator[Family]:
        herald = self._herald
        reloads = [(outcome.value, herald.reloads[outcome]) for outcome in (Outcome.DONE, Outcome.REJECTED)]
        yield labelled("lab2mqtt_reloads_total", "counter", "Reloads of the configuration.", "outcome", reloads)
        good, help_ = not herald.reload_failed, "0 while the last reload was refused."
        yield gauge("lab2mqtt_configuration_last_reload_successful", help_, good)
        name, help_ = "lab2mqtt_configuration_applied_timestamp_seconds", "Since when what is in effect is."
        yield gauge(name, help_, herald.configured)

    def _storage(self) -> Iterator[Family]:
        journal, results = self._herald.journal, self._shipping.stored
        size = _size(self._settings().bridge.state_dir)
        yield gauge("lab2mqtt_journal_durable", "1 while what is kept would survive a crash.", journal.durable)
        yield gauge("lab2mqtt_journal_trouble", "1 while something is wrong with it.", bool(journal.trouble))
        yield counter("lab2mqtt_journal_failures_total", "Transactions that the disk refused.", journal.failures)
        yield gauge("lab2mqtt_journal_size_bytes", "Size of the journal's files.", size)
        yield counter("lab2mqtt_results_stored_total", "Complete results stored as files.", results)

    def _broker(self) -> Iterator[Family]:
        uplink = self._herald.uplink
        trip = uplink.proof.round_trip
        yield gauge("lab2mqtt_broker_up", "1 while connected to the broker and announced.", uplink.announced)
        yield counter("lab2mqtt_broker_connections_total", "Connections to the broker.", uplink.connections)
        samples = [] if trip is None else [Sample(trip)]
        help_ = "The last message to ourselves and back."
        yield Family("lab2mqtt_broker_round_trip_seconds", "gauge", help_, samples)

    def _messages(self) -> Iterator[Family]:
        outbox, publisher, gaps = self._herald.outbox, self._herald.publisher, self._herald.gaps
        lanes = [("answers", outbox.answers), ("states", outbox.states), ("occurrences", outbox.occurrences)]
        yield labelled("lab2mqtt_messages_waiting", "gauge", "Messages not yet published.", "lane", lanes)
        flying, dropped, refused = publisher.in_flight, outbox.dropped.total(), publisher.refused.total()
        yield gauge("lab2mqtt_messages_unacknowledged", "Published and not yet acknowledged.", flying)
        yield counter("lab2mqtt_messages_published_total", "Messages given to the broker.", publisher.published)
        yield counter("lab2mqtt_messages_refused_total", "Messages that the broker would never take.", refused)
        yield counter("lab2mqtt_states_merged_total", "Overwritten while they waited.", outbox.merged)
        yield counter(
            "lab2mqtt_occurrences_dropped_total", "Events and blocks lost, for too many waited.", dropped
        )
        yield counter("lab2mqtt_gaps_total", "Times that such a loss was told of (event/gap).", gaps)

    def _commands(self) -> Iterator[Family]:
        intake, devices = self._herald.intake, self._herald.fleet.devices
        answers = [
            Sample(intake.answers[asked, outcome], {"device": asked, "outcome": outcome.value})
            for asked in (BRIDGE, *devices)
            for outcome in Outcome
        ]
        yield Family("lab2mqtt_command_answers_total", "counter", "Answers given to commands.", answers)
        took = [(name, intake.durations[name]) for name in devices]
        name, help_ = "lab2mqtt_command_duration_seconds", "From a command to its final answer."
        yield labelled(name, "histogram", help_, "device", took)
        kinds = self._herald.turned_down.items()
        help_ = "Messages on set and call not carried out, and response topics not used."
        yield labelled("lab2mqtt_turned_down_total", "counter", help_, "kind", kinds)

    def _devices(self, devices: Mapping[str, Device]) -> Iterator[Family]:
        fleet = self._herald.fleet
        runners = fleet.runners

        def each(name: str, type_: metrics.Type, help_: str, value: Callable[[Device], float | None]) -> Family:
            values = ((device.name, value(device)) for device in devices.values())
            return labelled(f"lab2mqtt_device_{name}", type_, help_, "device", values)

        states = [
            Sample(device.link.state is state, {"device": device.name, "state": state.value})
            for device in devices.values()
            for state in State
        ]
        yield Family("lab2mqtt_device_link_state", "gauge", "1 for the state that the link is in.", states)
        yield each("up", "gauge", "1 while the device is ready.", lambda d: d.ready)
        yield each("conflict", "gauge", "1 while another bridge has it.", lambda d: d.name in fleet.conflicts)
        yield each("connections_total", "counter", "Times it became ready.", lambda d: d.link.times_ready)
        help_ = "Connections tried."
        yield each("connection_attempts_total", "counter", help_, lambda d: runners[d.name].connections)
        help_ = "Connections ended by a fault in its driver."
        yield each("faults_total", "counter", help_, lambda d: runners[d.name].bugs)
        yield each("round_trip_seconds", "gauge", "Its last ping and pong.", lambda d: d.link.round_trip)
        yield each("updates_total", "counter", "Values that it reported.", lambda d: d.events)
        help_ = "When it last reported anything, since the epoch."
        yield each("last_event_timestamp_seconds", "gauge", help_, lambda d: d.heard or None)
        yield each("points", "gauge", "Points that it shows.", lambda d: len(d.catalogue.points))
        yield each("commands_waiting", "gauge", "Commands not yet sent.", lambda d: d.commands.waiting)
        yield each("commands_open", "gauge", "Commands without a final answer.", lambda d: len(d.commands))


def _size(state_dir: Path | None) -> int:
    """The database, and what is not yet merged into it."""
    if state_dir is None:
        return 0
    sizes = []
    for path in state_dir.glob(f"{JOURNAL}*"):
        try:
            sizes.append(path.stat().st_size)
        except OSError:  # merged and gone in between
            continue
    return sum(sizes)

"""What can be said of a command without asking the device, and what its driver gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from bridge.access import Rules
from bridge.admission import Admission
from bridge.catalogue import Catalogue
from bridge.commands import Ticket
from bridge.driver import Touch
from bridge.model import (
    Argument,
    Command,
    Declared,
    GroupState,
    GroupStatus,
    Json,
    Kind,
    Outcome,
    Point,
    Update,
)
from bridge.overlay import Overlay, Preset
from bridge.topics import DeviceTopics
from bridge.values import Values

POINTS = (
    Point("ro", Kind.SWITCH, "Relay", timeout=3.0),
    Point("ao", Kind.NUMBER, "Output", minimum=0, maximum=10),
    Point("di", Kind.BINARY, "Input"),
    Point("log", Kind.EVENT, "Log"),
    Point(
        "pulse",
        Kind.ACTION,
        "Pulse",
        arguments=(Argument("point", "point", required=True), Argument("seconds", "number", required=True)),
        timeout=None,
    ),
    Point("burn", Kind.ACTION, "Burn", arguments=(Argument("kind"),)),
)
PRESETS = {"bell": Preset("pulse", {"point": "ro", "seconds": 1}), "odd": Preset("pulse", {"point": "ro", "x": 1})}


def touches(command: Command) -> Sequence[Touch]:
    return (Touch("ao", command.args.get("kind")),) if command.key == "burn" else ()


class Counter:
    """The desk where commands are admitted."""

    def __init__(self, rules: Rules | None = None, overlays: Mapping[str, Overlay] | None = None) -> None:
        topics = DeviceTopics("root", "io")
        self.rules = rules or Rules()
        self.values = Values(topics, lambda item: None, plain=False)
        self.catalogue = Catalogue(topics, self.values, lambda item: None, self.rules, overlays or {}, PRESETS, ())
        self.catalogue.declare(Declared(POINTS))
        self.catalogue.declare(Declared((Point("far", Kind.SWITCH, "Far", "2"),), "2"))
        self.admission = Admission(topics, self.catalogue, self.values, self.rules, PRESETS, touches)

    def refuse(self, verb: str, key: str) -> tuple[str, str] | None:
        reply = self.admission.refuse(verb, Command("id", key))
        return None if reply is None else (reply.outcome.value, reply.detail)

    def prepare(self, key: str, value: Json = None, timeout: float | None = None, **args: Json) -> Command:
        view = self.catalogue.view(key)
        assert view is not None
        return self.admission.prepare(view, Command("id", key, value, args, timeout=timeout))


def test_the_right_verb_for_the_right_kind() -> None:
    desk = Counter()
    assert desk.refuse("set", "ro") is None
    assert desk.refuse("call", "pulse") is None
    assert desk.refuse("call", "preset/bell") is None
    assert desk.refuse("set", "pulse") == ("rejected", "use root/io/call/pulse")
    assert desk.refuse("call", "ro") == ("rejected", "use root/io/set/ro")
    assert desk.refuse("set", "nowhere") == ("rejected", "there is no point 'nowhere'")


def test_a_group_that_is_away_makes_its_points_unavailable() -> None:
    desk = Counter()
    assert desk.refuse("set", "far") is None
    desk.catalogue.enter(GroupStatus("2", GroupState.OFFLINE, "unplugged"))
    assert desk.refuse("set", "far") == (Outcome.UNAVAILABLE.value, "unplugged")
    assert desk.refuse("set", "ro") is None


def test_a_value_is_read_as_its_point_wants_it() -> None:
    desk = Counter()
    assert desk.prepare("ro", "ON").value is True
    assert desk.prepare("ao", "5.2").value == 5.2
    for key, value in (("ro", "maybe"), ("ao", 11), ("di", "1"), ("log", "x")):
        with pytest.raises(ValueError, match=r"\w"):
            desk.prepare(key, value)


def test_the_instrument_gets_what_it_wants_after_the_rules_saw_what_users_mean() -> None:
    overlays = {"ro": Overlay(invert=True), "ao": Overlay(scale=10.0)}
    desk = Counter(overlays=overlays)
    assert desk.prepare("ro", "ON").value is False
    assert desk.prepare("ao", "50").value == 5.0
    with pytest.raises(ValueError, match="above the maximum of 100"):
        desk.prepare("ao", "101")


def test_a_command_has_the_timeout_of_its_point_unless_it_says_another() -> None:
    desk = Counter()
    assert desk.prepare("ro", 1).timeout == 3.0
    assert desk.prepare("ro", 1, timeout=0.5).timeout == 0.5
    assert desk.prepare("pulse", point="ro", seconds=1).timeout is None
    assert desk.prepare("pulse", timeout=9.0, point="ro", seconds=1).timeout == 9.0


def test_arguments_are_read_and_what_they_name_is_checked() -> None:
    desk = Counter(Rules(deny=("ao",)))
    assert desk.prepare("pulse", point="ro", seconds="2").args == {"point": "ro", "seconds": 2.0}
    with pytest.raises(ValueError, match="ao is denied"):
        desk.prepare("pulse", point="ao", seconds=1)
    with pytest.raises(ValueError, match="ao is denied"):
        desk.prepare("burn")
    with pytest.raises(ValueError, match="'seconds' is missing"):
        desk.prepare("pulse", point="ro")


def test_a_preset_becomes_its_action() -> None:
    desk = Counter()
    command = desk.prepare("preset/bell", seconds=5)
    assert (command.key, command.args) == ("pulse", {"point": "ro", "seconds": 5.0})
    with pytest.raises(ValueError, match="unknown argument 'x'"):
        desk.prepare("preset/odd", seconds=1)
    with pytest.raises(ValueError, match="ro is denied"):
        Counter(Rules(deny=("ro",))).prepare("preset/bell")
    with pytest.raises(ValueError, match="preset/bell is denied"):
        Counter(Rules(deny=("preset/b*",))).prepare("preset/bell")
    assert Counter(Rules(allow=("pulse", "ro"))).prepare("preset/bell").key == "pulse"


def test_what_a_command_shows_is_where_its_proof_is() -> None:
    admission = Counter().admission
    assert admission.shown_by(Command("id", "ro", True)) == ("ro",)
    pulse = Command("id", "pulse", args={"point": "ro", "seconds": 1})
    assert admission.shown_by(pulse) == ("pulse", "ro")
    assert admission.shown_by(Command("id", "burn")) == ("burn", "ao")


def admitted(
    desk: Counter, verb: str, key: str, value: Json = None, now: float = 0.0, **args: Json
) -> Ticket | str:
    """The ticket as it is after its admission, or why there is none."""
    ticket = desk.admission.ticket(verb, Command("id", key, value, args), 1.7e9, "me")
    refused = desk.admission.admit(verb, ticket, now)
    return ticket if refused is None else refused.detail


def test_a_ticket_that_is_admitted_says_what_goes_out_and_what_proves_it() -> None:
    desk = Counter(overlays={"ro": Overlay(invert=True)})
    desk.values.update(Update("ao", 1.0), 0.0, 1.7e9)
    ticket = admitted(desk, "set", "ro", "ON")
    assert isinstance(ticket, Ticket)
    assert (ticket.command.value, ticket.point.name, ticket.origins) == (False, "Relay", ["me"])
    assert (ticket.shows, ticket.proofs, ticket.urgent) == (("ro",), ("root/io/state/ro",), False)
    burn = admitted(desk, "call", "burn")
    assert isinstance(burn, Ticket)
    assert burn.shows == ("ao",)  # an action shows nothing itself


def test_more_commands_than_the_rate_are_not_admitted_but_for_urgent_ones() -> None:
    desk = Counter(Rules(rate=1.0, burst=2))
    desk.catalogue.declare(Declared((*POINTS, Point("stop", Kind.ACTION, "Stop", urgent=True))))
    assert [isinstance(admitted(desk, "set", "ro", "ON"), Ticket) for _ in range(3)] == [True, True, False]
    assert admitted(desk, "set", "ro", "ON") == "more than 1 commands a second"
    stop = admitted(desk, "call", "stop")
    assert isinstance(stop, Ticket)
    assert stop.urgent
    assert isinstance(admitted(desk, "set", "ro", "ON", now=1.0), Ticket)


def test_what_is_refused_has_a_ticket_to_be_answered_by() -> None:
    admission = Counter().admission
    for verb, kind in (("call", Kind.ACTION), ("set", Kind.TEXT)):
        ticket = admission.ticket(verb, Command("id", "nowhere"), 1.7e9, None)
        assert (ticket.point.kind, ticket.point.key) == (kind, "nowhere")
        refused = admission.admit(verb, ticket, 0.0)
        assert refused is not None
        assert refused.detail == "there is no point 'nowhere'"


def test_where_a_command_belongs_is_known_before_its_payload_is_read() -> None:
    desk = Counter()
    assert desk.admission.misplaced("set", "pulse") == "use root/io/call/pulse"
    assert desk.admission.misplaced("call", "di") == "di is read-only"
    assert desk.admission.misplaced("set", "ro") is None
    assert desk.admission.misplaced("set", "nowhere") is None  # whether its payload can be read matters more
    desk.catalogue.enter(GroupStatus("2", GroupState.OFFLINE, "unplugged"))
    assert desk.admission.misplaced("set", "far") is None

"""What can be said of a command without asking the device, and what its driver gets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from bridge.access import Rules
from bridge.admission import Admission
from bridge.catalogue import Catalogue
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
        values = Values(topics, lambda item: None, plain=False)
        self.catalogue = Catalogue(topics, values, lambda item: None, self.rules, overlays or {}, PRESETS, ())
        self.catalogue.declare(Declared(POINTS))
        self.catalogue.declare(Declared((Point("far", Kind.SWITCH, "Far", "2"),), "2"))
        self.admission = Admission(topics, self.catalogue, self.rules, PRESETS, touches)

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

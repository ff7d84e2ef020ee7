"""Pulses: by Evok's timer where it has one, by ours where not, and their end whatever happens."""

from __future__ import annotations

import pytest

from bridge.driver import Hold, Remember, Send
from bridge.drivers.evok_commands import touches
from bridge.model import Command, Happened, Json, Reply
from tests.drivers.evok_talk import Object, Talk, do, host, ro, slave

ON: Object = {"cmd": "set", "dev": "ro", "circuit": "2_01", "value": 1}
OFF: Object = {"cmd": "set", "dev": "ro", "circuit": "2_01", "value": 0}
REMEMBERED = ("pulse:ro/2_01", {"id": "c1", "seconds": 2.0})
FORGOTTEN = ("pulse:ro/2_01", None)
MEMORY: dict[str, Json] = {"_durable": True, "pulse:ro/2_01": {"id": "c1", "seconds": 2.0}}


def test_a_digital_output_is_pulsed_by_evok_itself() -> None:
    talk = Talk()
    talk.call("pulse", point="do/1_01", seconds=2)
    assert talk.sent == [{"cmd": "set", "dev": "do", "circuit": "1_01", "value": {"value": 1, "timeout": 2}}]
    assert talk.remembered == []
    talk.pass_fence()
    talk.hear(do("1_01", 1, pending=True))
    assert talk.outcomes == ["accepted"]
    talk.wait(2)
    talk.hear(do("1_01", 0, pending=True))
    assert talk.outcomes == ["accepted", "done"]
    assert len(talk.sent) == 1


def test_a_digital_output_that_stays_on_is_unknown() -> None:
    talk = Talk()
    talk.wait(2.1)
    talk.hear(*host())
    talk.call("pulse", point="do/1_01", seconds=2)
    talk.pass_fence()
    talk.hear(do("1_01", 1))
    talk.wait(2.8)
    talk.hear(*host(do("1_01", 1)))
    assert talk.outcomes == ["accepted", "unknown"]
    assert "does not show OFF" in talk.replies[1][2]


def test_a_pulse_that_never_shows_is_unknown() -> None:
    talk = Talk()
    talk.wait(2.1)
    talk.hear(*host())
    talk.call("pulse", point="do/1_01", seconds=0.1)
    talk.pass_fence()
    talk.wait(0.8)
    talk.hear(*host())
    assert talk.outcomes == ["unknown"]
    assert talk.driver.wake_at is not None
    talk.wait(100)
    assert talk.outcomes == ["unknown"]


def test_the_end_of_a_relay_pulse_is_on_record_before_it_begins() -> None:
    talk = Talk()
    events = talk.call("pulse", point="ro/2_01", seconds=2)
    kinds = [type(event) for event in events]
    assert kinds.index(Remember) < kinds.index(Send)
    assert kinds.index(Hold) < kinds.index(Send)
    assert talk.remembered == [REMEMBERED]
    assert talk.sent == [ON]


def test_a_relay_pulse_from_on_to_off() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=2)
    talk.pass_fence()
    assert not talk.driver.busy
    talk.hear(ro("2_01", 1), after=0.02)
    assert talk.outcomes == ["accepted"]
    talk.wait(1.97)
    assert talk.sent == [ON]
    talk.wait(0.02)
    assert talk.sent == [ON, OFF]
    assert talk.driver.busy
    talk.pass_fence()
    assert talk.outcomes == ["accepted"]
    talk.hear(ro("2_01", 0))
    assert talk.outcomes == ["accepted", "done"]
    assert talk.remembered == [REMEMBERED, FORGOTTEN]


def test_the_time_counts_from_the_fence() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=2)
    talk.wait(4)
    assert talk.sent == [ON]
    talk.pass_fence()
    talk.hear(ro("2_01", 1))
    talk.wait(1.9)
    assert talk.sent == [ON]
    talk.wait(0.2)
    assert talk.sent == [ON, OFF]


def test_off_goes_out_though_on_was_never_seen() -> None:
    talk = Talk()
    talk.wait(2.1)
    talk.hear(*host())
    talk.call("pulse", point="ro/2_01", seconds=0.1)
    talk.pass_fence()
    talk.wait(0.2)
    assert talk.sent == [ON, OFF]
    talk.pass_fence()
    assert talk.replies == []  # OFF is shown, but it may be the OFF from before the pulse
    talk.wait(0.8)
    talk.hear(*host())
    assert talk.outcomes == ["unknown"]
    assert "never showed ON" in talk.replies[0][2]
    assert talk.remembered[-1] == FORGOTTEN


def test_off_goes_out_though_the_caller_waits_no_longer() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=5, within=1)
    talk.pass_fence()
    talk.hear(ro("2_01", 1))
    talk.wait(1.1)
    assert talk.outcomes == ["accepted", "unknown"]
    talk.wait(5)
    assert talk.sent == [ON, OFF]
    talk.pass_fence()
    talk.hear(ro("2_01", 0))
    assert talk.outcomes == ["accepted", "unknown"]
    assert talk.remembered[-1] == FORGOTTEN


def test_an_off_that_does_not_show_is_tried_again_and_not_forgotten() -> None:
    talk = Talk()
    talk.wait(2.1)
    talk.hear(*host())
    talk.call("pulse", point="ro/2_01", seconds=1)
    talk.pass_fence()
    talk.hear(ro("2_01", 1))
    talk.wait(1)
    talk.pass_fence()
    talk.wait(0.8)
    talk.hear(*host(ro("2_01", 1)))
    assert talk.outcomes == ["accepted", "unknown"]
    assert talk.remembered == [("pulse:ro/2_01", {"id": "c1", "seconds": 1.0})]
    assert talk.sent == [ON, OFF, OFF]
    talk.pass_fence()
    talk.hear(ro("2_01", 0))
    assert talk.remembered[-1] == FORGOTTEN
    assert [event.name for event in talk.of(Happened)] == ["pulse_late"]
    assert talk.outcomes == ["accepted", "unknown"]


def test_the_last_word_of_a_lost_board_does_not_end_a_pulse() -> None:
    talk = Talk(memory=MEMORY)
    talk.wait(2.1)
    talk.pass_fence()
    talk.hear(*host())
    talk.wait(0.8)
    talk.hear(*host(slave("2", 7.0)))
    assert talk.sent == [OFF]
    assert talk.remembered == []
    talk.wait(30)
    talk.hear(*host())
    assert talk.sent == [OFF, OFF]
    talk.pass_fence()
    talk.wait(0.8)
    talk.hear(*host())
    assert talk.remembered == [FORGOTTEN]


def test_a_newer_write_ends_the_pulse_and_its_memory_when_processed() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=2)
    talk.pass_fence()
    talk.hear(ro("2_01", 1))
    talk.ask("ro/2_01", True, "stay")
    assert talk.replies[-1] == ("c1", "unknown", "overtaken by a later write")
    assert talk.remembered == [REMEMBERED]
    talk.pass_fence()
    assert talk.remembered == [REMEMBERED, FORGOTTEN]
    talk.wait(10)
    assert talk.sent == [ON, ON]
    assert talk.outcomes == ["accepted", "unknown", "done"]


def test_a_newer_pulse_takes_the_place_of_the_older() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=2)
    talk.pass_fence()
    talk.hear(ro("2_01", 1))
    talk.wait(1)
    talk.call("pulse", "c2", point="ro/2_01", seconds=2)
    talk.pass_fence()
    assert talk.outcomes == ["accepted", "unknown", "accepted"]
    talk.wait(1.5)
    assert talk.sent == [ON, ON]
    talk.wait(0.6)
    talk.pass_fence()
    talk.hear(ro("2_01", 0))
    assert talk.replies[-1] == ("c2", "done", "")
    assert [key for key, value in talk.remembered if value is None] == ["pulse:ro/2_01"]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({"point": "ro/9_99", "seconds": 1}, "there is no"),
        ({"point": "di/1_01", "seconds": 1}, "cannot be pulsed"),
        ({"point": "do/1_01/pwm_duty", "seconds": 1}, "cannot be pulsed"),
        ({"point": "ro/2_01", "seconds": 0}, "minimum"),
        ({"point": "ro/2_01", "seconds": 1e9}, "maximum"),
        ({"point": "ro/2_01"}, "missing"),
        ({"seconds": 1}, "missing"),
    ],
)
def test_what_cannot_be_pulsed_is_rejected(args: Object, why: str) -> None:
    talk = Talk()
    talk.call("pulse", **args)
    ((_, outcome, detail),) = talk.replies
    assert outcome == "rejected"
    assert why in detail
    assert talk.sent == []
    assert talk.remembered == []


def test_without_a_state_directory_only_evok_may_time() -> None:
    talk = Talk(memory={"_durable": False})
    talk.call("pulse", "relay", point="ro/2_01", seconds=1)
    talk.call("pulse", "output", point="do/1_01", seconds=1)
    assert talk.outcomes == ["rejected"]
    assert "state directory" in talk.replies[0][2]
    assert [message["dev"] for message in talk.sent] == ["do"]
    allowed = Talk(memory={"_durable": False}, pulse_without_state=True)
    allowed.call("pulse", point="ro/2_01", seconds=1)
    assert allowed.sent == [ON]


# --- after a lost connection or a restart ---------------------------------------------------------------


def test_a_pulse_left_over_is_ended_first_and_reported() -> None:
    talk = Talk(memory=MEMORY, reply=host(ro("2_01", 1)))
    assert talk.sent == [OFF]
    assert talk.driver.busy
    talk.pass_fence()
    assert not talk.of(Happened)
    talk.hear(ro("2_01", 0))
    (late,) = talk.of(Happened)
    assert late.name == "pulse_late"
    assert late.data == {"point": "ro/2_01", "id": "c1", "seconds": 2.0}
    assert talk.remembered == [FORGOTTEN]
    assert talk.replies == []


def test_the_command_of_a_left_over_pulse_is_settled_when_it_is_off() -> None:
    command = Command("c1", "pulse", args={"point": "ro/2_01", "seconds": 2})
    talk = Talk(memory=MEMORY, carried=[command], reply=host(ro("2_01", 1)))
    assert [hold.id for hold in talk.of(Hold)] == ["c1"]
    talk.pass_fence()
    talk.hear(ro("2_01", 0))
    assert talk.outcomes == ["unknown"]
    assert "connection was lost" in talk.replies[0][2]


def test_other_carried_commands_are_settled_at_once() -> None:
    talk = Talk(carried=[Command("x", "ro/2_01", True)], reply=None)
    assert talk.outcomes == ["unknown"]


def test_a_left_over_pulse_waits_for_its_board() -> None:
    command = Command("c1", "pulse", args={"point": "ro/2_01", "seconds": 2})
    talk = Talk(memory=MEMORY, carried=[command], reply=host(slave("2", 60.0)))
    assert talk.sent == []
    assert talk.outcomes == ["unknown"]
    talk.wait(2)
    talk.hear(*host(ro("2_01", 1)))
    assert talk.sent == [OFF]
    talk.pass_fence()
    talk.hear(ro("2_01", 0))
    assert talk.remembered == [FORGOTTEN]
    assert talk.outcomes == ["unknown"]


@pytest.mark.parametrize("memory", [{"pulse:ro/9_99": {"id": "c1"}}, {"pulse:ro/2_01": 7}, {"pulse:": None}])
def test_odd_memories_do_no_harm(memory: dict[str, Json]) -> None:
    command = Command("c1", "pulse", args={})
    talk = Talk(memory=memory, carried=[command])
    assert talk.outcomes == ["unknown"]


def test_a_left_over_pulse_is_overtaken_by_a_write() -> None:
    talk = Talk(memory=MEMORY, reply=host(slave("2", 60.0)))
    talk.wait(2)
    talk.hear(*host(slave("2", 60.0)))
    talk.wait(30)
    late = talk.hear(*host(ro("2_01", 1)))
    assert len(talk.of(Send, late)) == 1
    talk.pass_fence()
    talk.ask("ro/2_01", True, "stay")
    talk.pass_fence()
    assert talk.replies == [("stay", "done", "it showed that already")]
    assert talk.remembered == [FORGOTTEN]
    assert not talk.of(Happened)


# --- access ---------------------------------------------------------------------------------------------


def test_a_pulse_touches_its_point() -> None:
    (touch,) = touches(Command("c", "pulse", args={"point": "ro/2_01", "seconds": 1}))
    assert (touch.key, touch.value, touch.point, touch.guarded) == ("ro/2_01", True, True, False)
    assert touches(Command("c", "ro/2_01", True)) == ()


def test_evok_set_touches_every_field() -> None:
    args: Object = {"dev": "output", "circuit": "1_01", "value": 1, "timeout": 5, "alias": "x"}
    touched = [(t.key, t.value, t.point, t.guarded) for t in touches(Command("c", "evok_set", args=args))]
    assert touched == [
        ("do/1_01", 1, True, False),
        ("do/1_01/timeout", None, False, False),
        ("do/1_01/alias", None, False, True),
    ]


@pytest.mark.parametrize(
    ("dev", "field", "point", "guarded"),
    [
        ("di", "counter", True, False),
        ("di", "mode", True, True),
        ("di", "ds_mode", True, True),
        ("ai", "mode", True, True),
        ("wd", "reset", False, True),
        ("wd", "nv_save", True, True),
        ("nv_save", "value", True, True),
        ("register", "value", True, True),
        ("owbus", "do_scan", False, False),
        ("nosuch", "anything", False, True),
    ],
)
def test_dangerous_fields_are_guarded(dev: str, field: str, point: bool, guarded: bool) -> None:
    (touch,) = touches(Command("c", "evok_set", args={"dev": dev, "circuit": "1_01", field: 1}))
    assert (touch.point, touch.guarded) == (point, guarded)


def test_reply_is_the_last_word() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=1)
    talk.wait(60)
    talk.pass_fence()
    talk.wait(60)
    assert len([reply for reply in talk.of(Reply) if reply.outcome.final]) == 1


# --- what the disk did not take -------------------------------------------------------------------------


def test_a_pulse_that_was_not_sent_has_no_end() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=2)
    talk.take(talk.driver.unsent("c1", talk.now))
    assert talk.remembered == [REMEMBERED, FORGOTTEN]
    talk.pass_fence()
    talk.wait(60)
    assert OFF not in talk.sent


def test_a_pulse_that_was_not_sent_does_not_take_away_the_end_of_the_one_before() -> None:
    talk = Talk()
    talk.call("pulse", point="ro/2_01", seconds=2)
    talk.pass_fence()
    talk.hear(ro("2_01", 1))
    talk.call("pulse", "c2", point="ro/2_01", seconds=2)
    talk.take(talk.driver.unsent("c2", talk.now))
    assert FORGOTTEN not in talk.remembered
    talk.pass_fence()
    talk.wait(2)
    assert talk.sent[-1] == OFF

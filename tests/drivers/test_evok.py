"""The Evok driver in conversation: greeting, polls, boards, frames of every shape."""

from __future__ import annotations

import json

import pytest

from bridge.driver import Close, Fence, ProtocolError, Remember, Send
from bridge.drivers.evok import Evok, plugin
from bridge.drivers.evok_options import EvokOptions
from bridge.model import (
    Condition,
    Declared,
    GroupState,
    GroupStatus,
    Happened,
    Kind,
    Quality,
    Ready,
    Reply,
    Update,
)
from tests.drivers.evok_talk import RUN, Talk, ai, di, do, host, info, ro, slave, temp


def test_all_is_asked_on_connect_after_two_seconds_and_then_at_intervals() -> None:
    talk = Talk(poll=30)
    assert talk.asked == 1
    talk.wait(1.9)
    assert talk.asked == 1
    talk.wait(0.2)
    assert talk.asked == 2
    talk.wait(29.8)
    assert talk.asked == 2
    talk.wait(0.2)
    assert talk.asked == 3


def test_greeting_declares_before_it_reports_and_is_ready_once() -> None:
    talk = Talk()
    kinds = [type(event) for event in talk.events]
    assert kinds.index(Declared) < kinds.index(GroupStatus) < kinds.index(Update) < kinds.index(Ready)
    (ready,) = talk.of(Ready)
    assert ready.info == {
        "family": "Neuron",
        "model": "L533",
        "sn": 123,
        "serial_number": "123",
        "manufacturer": "Unipi",
        "board_count": 2,
        "boards": ["1", "2", "xS51"],
        "evok": "v3",
        "sw_version": "Evok v3",
    }
    talk.hear(*host())
    assert len(talk.of(Ready)) == 1


def test_boards_are_groups_with_names_and_circuits_go_to_the_longest_match() -> None:
    talk = Talk(reply=[*host(), slave("xS51_2"), ro("xS51_2_01")])
    points = talk.points
    assert points["do/1_01"].group == "1"
    assert points["ro/xS51_01"].group == "xS51"
    assert points["ro/xS51_2_01"].group == "xS51_2"
    assert points["nv_save/1"].group == "1"
    assert points["temp/2867"].group == ""
    assert points["modbus_slave/1"].group == ""
    names = {status.group: status.name for status in talk.of(GroupStatus)}
    assert names["1"] == "L533 board 1"
    assert names["xS51"] == "Extension xS51"


def test_an_event_is_one_update_and_nothing_else() -> None:
    talk = Talk()
    assert talk.hear(di("1_01", 1)) == [Update("di/1_01", True)]
    assert talk.hear(di("1_01", 0, 1)) == [Update("di/1_01", False), Update("di/1_01/counter", 1)]


def test_the_same_object_again_repeats_its_value_only() -> None:
    talk = Talk()
    assert talk.hear(do("1_01", 1, pwm_freq=100.0))[1:] == [Update("do/1_01/pwm_freq", 100.0)]
    assert talk.hear(do("1_01", 1, pwm_freq=100.0)) == [Update("do/1_01", True)]


def test_a_second_all_declares_nothing_that_is_known() -> None:
    talk = Talk()
    talk.wait(2)
    again = talk.hear(*host())
    assert not talk.of(Declared, again)
    assert not talk.of(GroupStatus, again)


def test_nothing_goes_because_one_all_lacks_it() -> None:
    talk = Talk()
    talk.wait(2)
    fewer = talk.hear(slave("1"), info("L533", "Neuron", "L533"), RUN)
    assert not talk.of(Declared, fewer)
    assert not talk.of(GroupStatus, fewer)
    talk.hear(do("1_01", 1))
    assert talk.last("do/1_01").value is True


def test_objects_that_come_later_are_added_to_their_board() -> None:
    early = [slave("1"), slave("2", 1.79e9), info("L533", "Neuron", "L533"), RUN]
    talk = Talk(reply=early)
    assert "do/1_01" not in talk.points
    talk.wait(2)
    talk.hear(*host())
    assert talk.points["do/1_01"].group == "1"
    statuses = [(s.group, s.state) for s in talk.of(GroupStatus) if s.group == "2"]
    assert statuses == [("2", GroupState.OFFLINE), ("2", GroupState.ONLINE)]


def test_an_unknown_circuit_in_an_event_is_declared() -> None:
    talk = Talk()
    events = talk.hear(ro("2_07", 1))
    (declared,) = talk.of(Declared, events)
    assert declared.group == "2"
    assert {"ro/2_01", "ro/2_07"} <= {point.key for point in declared.points}
    assert events[-1] == Update("ro/2_07", True)


def test_a_mode_change_declares_the_new_unit_and_range() -> None:
    talk = Talk()
    events = talk.hear(ai("1_01", 12.0, "Current"))
    point = talk.points["ai/1_01"]
    assert (point.unit, point.maximum, point.device_class) == ("mA", 20, "current")
    assert talk.of(Update, events) == [Update("ai/1_01", 12.0), Update("ai/1_01/mode", "Current")]


def test_one_bare_object_is_a_frame_too() -> None:
    talk = Talk()
    assert talk.raw(json.dumps(temp(47.5, 101.0))) == [Update("temp/2867", 47.5)]


def test_text_and_bytes_are_the_same() -> None:
    talk = Talk()
    frame = json.dumps([ro("2_01", 1)])
    assert talk.raw(frame) == talk.raw(frame.encode()) == [Update("ro/2_01", True)]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_bare_words_are_bad_values(word: str) -> None:
    talk = Talk()
    frame = json.dumps([ai("1_01", 0.123), ro("2_01", 1)]).replace("0.123", word)
    assert talk.raw(frame) == [Update("ai/1_01", None, Quality.BAD), Update("ro/2_01", True)]
    assert talk.hear(ai("1_01", 1.5)) == [Update("ai/1_01", 1.5)]


def test_unknown_types_pass_and_are_mentioned_once() -> None:
    talk = Talk()
    strange = {"dev": "light_channel", "circuit": "1_01", "value": 3}
    first = talk.hear(strange, ro("2_01", 1))
    assert [event.name for event in talk.of(Happened, first)] == ["unexpected"]
    assert Update("ro/2_01", True) in first
    assert talk.hear(strange, ro("2_01", 0)) == [Update("ro/2_01", False)]


def test_broken_entries_are_skipped_and_the_rest_counts() -> None:
    talk = Talk()
    events = talk.raw(json.dumps([1, None, {"dev": ["a"], "circuit": {}}, {"value": 1}, ro("2_01", 1)]))
    assert Update("ro/2_01", True) in events
    assert len(talk.of(Happened, events)) == 2


def test_a_malformed_range_does_not_cost_the_value() -> None:
    talk = Talk()
    events = talk.hear(ai("1_01", 3.0, range=[0, {"a": []}]))
    assert talk.of(Update, events)[-1] == Update("ai/1_01", 3.0)


def test_no_json_is_tolerated_from_evok_but_not_from_a_stranger() -> None:
    talk = Talk()
    for _ in range(5):
        talk.raw(b"<html>")
    assert len(talk.of(Happened)) == 1
    stranger = Talk(reply=None)
    stranger.raw("hello")
    stranger.raw(b"\xff\xfe")
    with pytest.raises(ProtocolError, match="not Evok"):
        stranger.raw("")


def test_v2_names_are_translated_and_sent_back_as_they_came() -> None:
    objects = [
        {"dev": "input", "circuit": "1_01", "value": 1, "counter": 3, "debounce": 50, "modes": ["Simple"]},
        {"dev": "relay", "circuit": "1_01", "value": 0, "relay_type": "digital", "modes": ["Simple", "PWM"]},
        {"dev": "relay", "circuit": "2_01", "value": 1, "relay_type": "physical"},
        {"dev": "relay", "circuit": "UART_3_3_02", "value": 0, "relay_type": "physical"},
        {
            "dev": "ai",
            "circuit": "1_01",
            "value": 2.0,
            "unit": "V",
            "range": "10.0",
            "modes": ["Voltage", "Current"],
            "mode": "Voltage",
        },
        {
            "dev": "unit_register",
            "circuit": "UART_3_3_5",
            "value": 3,
            "valid": "false",
            "unit": "N/A",
            "name": "x",
        },
        {"dev": "neuron", "circuit": "1", "model": "M503", "sn": 5, "last_comm": 0.1},
        {"dev": "neuron", "circuit": "UART_3_3", "model": "xS51", "last_comm": 0.1},
    ]
    talk = Talk(reply=objects)
    points = talk.points
    assert talk.of(Ready)[0].info["evok"] == "v2"
    assert points["di/1_01"].kind is Kind.BINARY
    assert points["do/1_01"].kind is Kind.SWITCH
    assert points["ro/UART_3_3_02"].group == "UART_3_3"
    assert points["ai/1_01"].maximum == 10
    assert points["ai/1_01/mode"].choices == ("Voltage", "Current")
    assert talk.last("data_point/UART_3_3_5") == Update("data_point/UART_3_3_5", None, Quality.BAD)
    talk.ask("ro/2_01", False)
    assert talk.sent == [{"cmd": "set", "dev": "relay", "circuit": "2_01", "value": 0}]


# --- boards ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last_comm", "scan_interval", "online"),
    [(4.9, 0.02, True), (5.1, 0.02, False), (29.0, 10.0, True), (31.0, 10.0, False), (1.79e9, 0.02, False)],
)
def test_a_board_is_lost_when_its_last_contact_is_too_old(
    last_comm: float, scan_interval: float, online: bool
) -> None:
    talk = Talk(reply=host(slave("xS51", last_comm, scan_interval)))
    (status,) = [status for status in talk.of(GroupStatus) if status.group == "xS51"]
    assert status.state is (GroupState.ONLINE if online else GroupState.OFFLINE)
    assert bool(status.reason) is not online
    assert talk.last("modbus_slave/xS51").value is online
    assert talk.last("modbus_slave/xS51/last_comm").value == (None if last_comm > 1e6 else last_comm)


def test_what_a_lost_board_showed_is_not_reported_again() -> None:
    talk = Talk()
    talk.wait(2)
    lost = talk.hear(*host(slave("xS51", 9.0)))
    assert not [update for update in talk.of(Update, lost) if update.key.startswith("ro/xS51")]
    assert [update for update in talk.of(Update, lost) if update.key.startswith("ro/2")]


def test_nothing_is_sent_to_a_lost_board() -> None:
    talk = Talk(reply=host(slave("xS51", 9.0)))
    talk.ask("ro/xS51_01", True)
    talk.call("pulse", point="ro/xS51_01", seconds=1)
    talk.call("evok_set", dev="ro", circuit="xS51_01", value=1)
    assert talk.outcomes == ["unavailable"] * 3
    assert talk.sent == []
    assert "not answered for 9 s" in talk.replies[0][2]


def test_a_sign_of_life_from_a_lost_board_brings_the_next_poll_forward() -> None:
    talk = Talk(reply=host(slave("xS51", 9.0)))
    talk.wait(10)
    asked = talk.asked
    talk.hear(di("xS51_01", 1))
    talk.wait(0.0)
    assert talk.asked == asked + 1
    online = talk.hear(*host())
    assert [status.state for status in talk.of(GroupStatus, online)] == [GroupState.ONLINE]


def test_a_later_version_may_push_the_loss_of_a_board() -> None:
    talk = Talk()
    talk.hear(slave("xS51", 8.0))
    assert talk.of(GroupStatus)[-1].state is GroupState.OFFLINE
    assert len(talk.of(Ready)) == 1


# --- 1-Wire ---------------------------------------------------------------------------------------------


def test_a_repeated_onewire_reading_is_not_reported() -> None:
    talk = Talk()
    assert talk.points["temp/2867"].max_age == 45
    assert talk.hear(temp(22.0, 115.0)) == [Update("temp/2867", 22.0)]
    assert talk.hear(temp(22.0, 130.0)) == [Update("temp/2867", 22.0)]  # read again: it is alive
    assert talk.hear(temp(22.0, 130.0)) == []  # only shown again
    assert talk.hear(temp(22.0, 130.0, lost=True)) == [Update("temp/2867", None, Quality.BAD)]


def test_a_ds2438_shows_its_readings() -> None:
    sensor = {
        "dev": "1wdevice",
        "circuit": "26",
        "humidity": 46.1,
        "vdd": 5.0,
        "vad": 3.0,
        "temp": 21.0,
        "vis": 0.1,
    }
    sensor |= {"lost": False, "time": 5.0, "interval": 60, "type": "DS2438"}
    talk = Talk(reply=host(sensor))
    assert talk.last("1wdevice/26/humidity") == Update("1wdevice/26/humidity", 46.1)
    assert talk.points["1wdevice/26/temp"].device_class == "temperature"
    assert talk.points["1wdevice/26/vis"].enabled is False
    talk.wait(2)
    repeated = talk.hear(*host(sensor))
    assert not [update for update in talk.of(Update, repeated) if update.key.startswith("1wdevice")]


# --- filters --------------------------------------------------------------------------------------------


def test_only_the_chosen_types_are_shown_and_boards_are_watched_all_the_same() -> None:
    talk = Talk(devices=("input", "ro"), reply=host(slave("xS51", 9.0)))
    assert {key.partition("/")[0] for key in talk.points} == {"di", "ro", "pulse", "evok_set"}
    assert talk.hear(ai("1_01", 3.0)) == []
    talk.ask("ro/xS51_01", True)
    assert talk.outcomes == ["unavailable"]
    assert talk.sent == []


def test_a_board_of_which_nothing_is_wanted_has_no_points_once_that_is_sure() -> None:
    all_of = host(slave("xS51"), slave("IAQ"), {"dev": "data_point", "circuit": "IAQ_0", "value": 21.0})
    talk = Talk(devices=("ro",), reply=all_of)
    assert "IAQ" not in {declared.group for declared in talk.of(Declared)}
    talk.wait(2)
    talk.hear(*all_of)
    assert Declared((), "IAQ") in talk.of(Declared)


def test_the_filter_of_evok_is_only_used_when_wished_and_with_names_it_knows() -> None:
    talk = Talk(devices=("di", "temp", "1wdevice"), filter_on_evok=True)
    assert talk.sent == [{"cmd": "filter", "devices": ["di", "temp"]}]
    talk.wait(2)
    talk.hear(*host())
    assert len(talk.sent) == 1


def test_unknown_types_and_keys_are_no_configuration() -> None:
    with pytest.raises(ValueError, match="unknown type"):
        EvokOptions(devices=("relais",))
    with pytest.raises(ValueError, match="extra"):
        EvokOptions.model_validate({"filter": ["di"]})


def test_all_filtered_is_noticed_and_said() -> None:
    talk = Talk(reply=None)
    talk.hear(di("1_01", 1), ro("2_01", 0))  # the reply to `all`, without boards
    assert talk.of(Ready) == []
    talk.pass_fence()
    talk.wait(1.5)
    assert [condition.state for condition in talk.of(Condition)] == ["filtered"]
    assert "all_filtered" in talk.of(Condition)[0].reason
    assert len(talk.of(Ready)) == 1
    assert {"di/1_01", "ro/2_01"} <= talk.points.keys()
    talk.wait(2)
    talk.hear(*host())
    assert talk.of(Condition)[-1].state == ""
    assert talk.points["ro/2_01"].group == "2"
    groups = {declared.group: {point.key for point in declared.points} for declared in talk.of(Declared)}
    assert "ro/2_01" not in groups[""]


@pytest.mark.parametrize("frame", ["Unknown request", '{"hello": 1}'])
def test_who_answers_otherwise_is_no_evok(frame: str) -> None:
    talk = Talk(reply=None)
    talk.raw(frame)
    talk.pass_fence()
    talk.wait(1.5)
    assert talk.of(Ready) == []
    assert "another device" in talk.of(Close)[0].reason


def test_events_before_the_first_all_make_no_points() -> None:
    talk = Talk(reply=None)
    assert talk.hear(di("1_01", 1)) == []
    talk.hear(*host(), after=0.01)
    talk.pass_fence()
    talk.wait(1.5)
    assert talk.of(Condition) == []
    assert talk.last("di/1_01").value is False


# --- counters -------------------------------------------------------------------------------------------


def test_pulses_counted_during_the_gap_are_reported() -> None:
    talk = Talk(
        memory={"counters": {"di/1_01/counter": 5, "di/xS51_01/counter": 0}}, reply=host(di("1_01", 0, 17))
    )
    (gap,) = [event for event in talk.of(Happened) if event.name == "gap"]
    assert gap.data == {
        "pulses": {"di/1_01/counter": 12},
        "counters": {"di/1_01/counter": {"before": 5, "now": 17, "reset": False}},
    }
    talk.wait(2)
    assert not talk.of(Happened, talk.hear(*host(di("1_01", 0, 20))))


def test_a_first_connection_reports_no_gap() -> None:
    assert not Talk(reply=host(di("1_01", 0, 17))).of(Happened)


def test_counters_are_remembered_at_most_every_thirty_seconds() -> None:
    talk = Talk()
    saved = talk.of(Remember)
    assert [item.key for item in saved] == ["counters"]
    for count in range(1, 50):
        talk.hear(di("1_01", 0, count), after=0.1)
    assert len(talk.of(Remember)) == 1
    talk.wait(26)
    assert len(talk.of(Remember)) == 2
    value = talk.of(Remember)[-1].value
    assert isinstance(value, dict)
    assert value["di/1_01/counter"] == 49
    talk.wait(100)
    assert len(talk.of(Remember)) == 2


# --- the plugin -----------------------------------------------------------------------------------------


def test_a_token_is_a_header_and_no_text() -> None:
    options = EvokOptions.model_validate({"token": "geheim"})
    assert plugin.headers(options) == {"Authorization": "Bearer geheim"}
    assert "geheim" not in repr(options)
    assert plugin.headers(EvokOptions()) == {}


def test_error_replies_of_a_coming_version_are_accepted() -> None:
    talk = Talk()
    errors = {"success": False, "errors": {"Exception": "no such circuit"}}
    assert [event.name for event in talk.of(Happened, talk.hear(errors))] == ["unexpected"]
    talk.ask("ro/2_01", True)
    talk.raw(json.dumps(errors))
    (reply,) = talk.of(Reply)
    assert reply.outcome.value == "failed"
    assert "no such circuit" in reply.detail
    talk.pass_fence()
    assert len(talk.of(Reply)) == 1
    assert talk.raw('{"success": true}') == []


def test_the_driver_says_when_it_gives_up() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True)
    talk.wait(4.9)
    assert not talk.of(Condition)
    talk.wait(0.2)
    assert [condition.state for condition in talk.of(Condition)] == ["stuck"]
    talk.wait(24.8)
    assert not talk.of(Close)
    talk.wait(0.2)
    assert len(talk.of(Close)) == 1
    talk.wait(20)
    assert len(talk.of(Close)) == 1


def test_a_fence_that_passes_late_clears_the_condition_and_is_reported() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True)
    talk.wait(12)
    assert talk.outcomes == ["unknown"]
    assert "not processed" in talk.replies[0][2]
    assert talk.driver.busy
    talk.pass_fence()
    assert talk.of(Condition)[-1].state == ""
    assert talk.of(Happened)[-1] == Happened("processed", {"id": "c1", "point": "ro/2_01", "late": True})
    assert not talk.driver.busy
    assert talk.outcomes == ["unknown"]


def test_constructing_does_nothing() -> None:
    driver = Evok(EvokOptions(), {}, [])
    assert driver.wake_at is None
    assert not driver.busy
    sends = [effect for effect in driver.start(0.0) if isinstance(effect, Send | Fence)]
    assert sends == [Send('{"cmd": "all"}'), Fence("all")]

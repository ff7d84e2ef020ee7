"""Writes to Evok: the fence, what proves them, and what is said when nothing does."""

from __future__ import annotations

import pytest

from bridge.driver import Fence, Send
from bridge.model import Quality, Reply, Update
from tests.drivers.evok_talk import Object, Talk, ai, ao, di, do, host, ro, slave


def test_a_write_is_sent_with_its_id_and_a_fence_behind() -> None:
    talk = Talk()
    assert not talk.driver.busy
    send, fence = talk.ask("ro/2_01", True)
    assert isinstance(send, Send)
    assert send.id == "c1"
    assert isinstance(fence, Fence)
    assert talk.sent == [{"cmd": "set", "dev": "ro", "circuit": "2_01", "value": 1}]
    assert talk.driver.busy
    talk.pass_fence()
    assert not talk.driver.busy


def test_done_needs_the_fence_and_the_value() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True)
    assert talk.pass_fence() == []
    events = talk.hear(ro("2_01", 1), after=0.01)
    assert events[0] == Update("ro/2_01", True)
    assert talk.of(Reply, events) == [events[-1]]
    assert talk.replies == [("c1", "done", "")]
    assert talk.of(Reply)[0].data is True


def test_an_event_before_the_fence_counts_when_the_fence_has_passed() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True)
    talk.hear(ro("2_01", 1))
    assert talk.replies == []
    talk.pass_fence()
    assert talk.outcomes == ["done"]


def test_what_is_shown_already_is_done_when_processed() -> None:
    talk = Talk()
    talk.ask("ro/2_01", False)
    assert talk.replies == []
    events = talk.pass_fence()
    assert talk.replies == [("c1", "done", "it showed that already")]
    assert events[0] == Update("ro/2_01", False)
    assert len(talk.sent) == 1


def test_a_value_that_does_not_show_is_unknown_and_the_real_one_is_reported() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True)
    talk.pass_fence()
    asked = talk.asked
    talk.wait(0.74)
    assert talk.asked == asked
    talk.wait(0.02)
    assert talk.asked == asked + 1
    talk.hear(*host())
    assert talk.replies == [("c1", "unknown", "processed, but ro/2_01 does not show it: value is OFF")]
    reply = talk.events.index(talk.of(Reply)[0])
    assert talk.events[reply - 1] == Update("ro/2_01", False)


def test_a_write_that_does_not_show_brings_the_next_poll_forward() -> None:
    talk = Talk()
    talk.wait(2.1)
    talk.hear(*host())
    talk.ask("ro/2_01", True)
    talk.pass_fence()
    talk.wait(0.8)
    talk.hear(*host())
    assert talk.outcomes == ["unknown"]
    asked = talk.asked
    talk.wait(5.1)
    assert talk.asked == asked + 1


def test_an_all_that_was_asked_for_too_early_judges_nothing() -> None:
    talk = Talk()
    talk.wait(1.99)
    talk.ask("ro/2_01", True)
    talk.pass_fence()
    talk.wait(0.02)  # the second `all` goes out now, and may be answered from before the write
    talk.hear(*host())
    assert talk.replies == []
    talk.wait(1)
    talk.hear(*host(ro("2_01", 1)))
    assert talk.outcomes == ["done"]


def test_an_old_all_that_happens_to_show_it_is_welcome() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True)
    talk.pass_fence()
    talk.hear(*host(ro("2_01", 1)))
    assert talk.outcomes == ["done"]


def test_without_any_reply_it_ends_after_its_time() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True, timeout=3)
    talk.pass_fence()
    talk.wait(2.9)
    assert talk.replies == []
    talk.wait(0.2)
    assert talk.replies == [("c1", "unknown", "processed, but ro/2_01 does not show it: value is OFF")]
    talk.hear(ro("2_01", 1))
    assert len(talk.replies) == 1


def test_slow_buses_get_more_time_before_the_verdict() -> None:
    talk = Talk(reply=host(slave("2", kind="RTU")))
    talk.ask("ro/2_01", True)
    talk.pass_fence()
    asked = talk.asked
    talk.wait(1.9)
    assert talk.asked == asked
    talk.wait(1.2)
    assert talk.asked > asked


def test_an_analogue_output_of_a_slow_board_is_judged_after_its_tenth_scan() -> None:
    talk = Talk()
    talk.wait(2.5)
    talk.hear(*host())
    asked = talk.asked
    talk.ask("ao/xS51_01", 5.0)
    talk.pass_fence()
    talk.wait(1.1)
    assert talk.asked == asked
    talk.wait(0.2)
    assert talk.asked == asked + 1


@pytest.mark.parametrize(
    ("shown", "outcome"), [(5.9025, ["done"]), (5.9, ["done"]), (5.88, []), (10.238, []), (None, [])]
)
def test_analogue_outputs_are_quantised(shown: float | None, outcome: list[str]) -> None:
    talk = Talk()
    talk.ask("ao/2_01", 5.9)
    talk.pass_fence()
    talk.hear(ao("2_01", shown))
    assert talk.outcomes == outcome


def test_a_newer_write_of_the_same_point_overtakes_the_one_that_waits() -> None:
    talk = Talk()
    talk.ask("ao/2_01", 5.0, "old")
    talk.pass_fence()
    talk.ask("ao/2_01", 6.0, "new")
    assert talk.replies == [("old", "unknown", "overtaken by a later write")]
    talk.pass_fence()
    talk.hear(ao("2_01", 5.0))
    talk.hear(ao("2_01", 6.0))
    assert talk.outcomes == ["unknown", "done"]


def test_writes_of_other_fields_do_not_overtake() -> None:
    talk = Talk()
    talk.ask("do/1_01/pwm_duty", 25, "duty")
    talk.pass_fence()
    talk.ask("do/1_01/pwm_freq", 100, "freq")
    talk.pass_fence()
    talk.hear(do("1_01", pwm_duty=25.0, mode="PWM"))
    assert talk.replies == [("duty", "done", "")]
    talk.hear(do("1_01", pwm_duty=25.0, mode="PWM", pwm_freq=100.0))
    assert talk.outcomes == ["done", "done"]


def test_an_output_with_a_pulse_width_is_on() -> None:
    talk = Talk()
    talk.hear(do("1_01", 0, pwm_duty=25.0, mode="PWM"))
    assert talk.last("do/1_01").value is True
    talk.ask("do/1_01", False)
    talk.pass_fence()
    assert talk.replies == []
    talk.hear(do("1_01", 0, pwm_duty=0))
    assert talk.outcomes == ["done"]


def test_settings_that_are_never_pushed_are_confirmed_by_a_later_all() -> None:
    talk = Talk()
    talk.wait(2.5)
    talk.hear(*host())
    talk.ask("di/1_01/debounce", 100)
    assert talk.sent == [{"cmd": "set", "dev": "di", "circuit": "1_01", "debounce": 100}]
    talk.pass_fence()
    talk.wait(0.8)
    talk.hear(*host(di("1_01", debounce=100)))
    assert talk.outcomes == ["done"]
    assert talk.last("di/1_01/debounce").value == 100


def test_a_mode_that_evok_ignores_is_unknown() -> None:
    talk = Talk()
    talk.wait(2.5)
    talk.hear(*host())
    talk.ask("ai/1_01/mode", "Current")
    talk.pass_fence()
    talk.wait(0.8)
    talk.hear(*host())
    assert talk.replies == [("c1", "unknown", "processed, but ai/1_01 does not show it: mode is Voltage")]


def test_a_mode_is_done_when_pushed() -> None:
    talk = Talk()
    talk.ask("ai/1_01/mode", "Current")
    talk.pass_fence()
    talk.hear(ai("1_01", 4.0, "Current"))
    assert talk.outcomes == ["done"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ro/9_99", True),
        ("di/1_01", True),
        ("di/1_01/counter", 1),
        ("ai/1_01", 5.0),
        ("ao/2_01", 10.5),
        ("ao/2_01", "NaN"),
        ("ro/2_01", "maybe"),
        ("do/1_01/pwm_duty", 150),
        ("di/1_01/debounce", 50.5),
        ("ai/1_01/mode", "Nonsense"),
        ("owbus/OWFS", 1),
        ("register/1_5", 70000),
    ],
)
def test_what_evok_would_ignore_is_rejected_and_not_sent(key: str, value: float | str) -> None:
    talk = Talk()
    talk.ask(key, value)
    assert talk.outcomes == ["rejected"]
    assert talk.sent == []
    assert not talk.driver.busy


# --- evok_set -------------------------------------------------------------------------------------------

WIRE = {"cmd": "set", "dev": "do", "circuit": "1_01"}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"value": 1}, {**WIRE, "value": 1}),
        ({"value": "ON"}, {**WIRE, "value": 1}),
        ({"value": 1, "timeout": 1.5}, {**WIRE, "value": {"value": 1, "timeout": 1.5}}),
        ({"pwm_duty": 25}, {**WIRE, "pwm_duty": 25}),
        ({"pwm_duty": 25, "pwm_freq": 100}, {**WIRE, "pwm_duty": 25, "pwm_freq": 100}),
        ({"value": 0, "pwm_freq": 100}, {**WIRE, "value": {"value": 0, "pwm_freq": 100}}),
        ({"dev": "output", "value": 1}, {**WIRE, "value": 1}),
        ({"dev": "di", "counter": 1000}, {**WIRE, "dev": "di", "counter": 1000}),
        ({"dev": "owbus", "circuit": "OWFS", "do_scan": True}, {"dev": "owbus", "circuit": "OWFS", "do_scan": 1}),
        ({"dev": "run", "circuit": "alias", "save": True}, {"dev": "run", "circuit": "alias", "save": 1}),
    ],
)
def test_evok_set_uses_a_value_object_where_evok_needs_one(args: Object, message: Object) -> None:
    talk = Talk()
    talk.call("evok_set", **{"dev": "do", "circuit": "1_01", **args})
    assert talk.sent == [{"cmd": "set", **message}]


@pytest.mark.parametrize(
    ("args", "why"),
    [
        ({}, "nothing to set"),
        ({"circuit": "9_99", "value": 1}, "there is no do/9_99"),
        ({"circuit": "1_01/pwm_duty", "value": 1}, "there is no do/1_01%2Fpwm_duty"),
        ({"dev": "nosuch", "value": 1}, "'dev'"),
        ({"value": 1, "pwm_duty": 50}, "exclude each other"),
        ({"timeout": 5}, "needs a value"),
        ({"cmd": "full"}, "unknown argument 'cmd'"),
        ({"mode": "PWM"}, "no 'mode' to set"),
        ({"dev": "ro", "circuit": "2_01", "value": 1, "timeout": 5}, "no 'timeout'"),
        ({"dev": "di", "value": 5}, "no 'value'"),
        ({"dev": "di", "counter": -1}, "counter"),
        ({"dev": "di", "ds_mode": "Toggle"}, "does not have it now"),
        ({"dev": "wd", "reset": False}, "only true"),
        ({"dev": "ro", "circuit": "2_01", "alias": "x+#/y"}, "alias"),
        ({"dev": "ao", "circuit": "2_01", "value": 99}, "maximum"),
    ],
)
def test_evok_set_rejects_what_evok_would_ignore(args: Object, why: str) -> None:
    talk = Talk()
    talk.call("evok_set", **{"dev": "do", "circuit": "1_01", **args})
    ((_, outcome, detail),) = talk.replies
    assert outcome == "rejected"
    assert why in detail
    assert talk.sent == []


def test_evok_set_is_done_when_all_fields_show() -> None:
    talk = Talk()
    talk.call("evok_set", dev="do", circuit="1_01", pwm_duty=25, pwm_freq=100)
    talk.pass_fence()
    talk.hear(do("1_01", pwm_duty=25.0))
    assert talk.replies == []
    talk.hear(do("1_01", pwm_duty=25.0, pwm_freq=100.0))
    assert talk.outcomes == ["done"]


def test_a_timed_value_is_done_when_the_value_shows() -> None:
    talk = Talk()
    talk.call("evok_set", dev="do", circuit="1_01", value=1, timeout=5)
    talk.pass_fence()
    talk.hear(do("1_01", 1, pending=True))
    assert talk.outcomes == ["done"]


def test_what_evok_never_shows_is_unknown_when_processed() -> None:
    talk = Talk()
    talk.call("evok_set", dev="wd", circuit="1_01", reset=True)
    assert talk.sent == [{"cmd": "set", "dev": "wd", "circuit": "1_01", "reset": 1}]
    talk.pass_fence()
    assert talk.replies == [("c1", "unknown", "processed, but Evok does not report reset")]


def test_an_alias_is_confirmed_by_a_later_all() -> None:
    talk = Talk()
    talk.wait(2.5)
    talk.hear(*host())
    talk.call("evok_set", dev="ro", circuit="2_01", alias="pump")
    talk.pass_fence()
    talk.wait(0.8)
    talk.hear(*host(ro("2_01", alias="pump")))
    assert talk.outcomes == ["done"]
    assert talk.points["ro/2_01"].name == "pump"


def test_counters_are_set_and_shown() -> None:
    talk = Talk()
    talk.call("evok_set", dev="di", circuit="1_01", counter=1000)
    talk.pass_fence()
    talk.hear(di("1_01", 0, 1000))
    assert talk.outcomes == ["done"]


def test_a_null_value_is_bad_and_never_done() -> None:
    talk = Talk()
    talk.ask("ro/2_01", True)
    talk.pass_fence()
    assert talk.hear(ro("2_01", None)) == [Update("ro/2_01", None, Quality.BAD)]
    assert talk.replies == []

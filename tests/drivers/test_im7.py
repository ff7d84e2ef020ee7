"""The IM7 driver's connection: greeting, readings, what is not understood."""

from __future__ import annotations

import pytest

from bridge.driver import Close, ProtocolError, Send
from bridge.drivers.im7 import IM7, plugin
from bridge.drivers.im7_options import IM7Options
from bridge.model import Condition, Happened, Ready, Update
from tests.drivers.im7_talk import OCV, Talk, ended, event, info, status, workstation


def test_it_begins_with_id_status_and_list() -> None:
    talk = Talk(jobs=None)
    assert [request["do"] for request in talk.sent] == ["/id", "/status", "/job/list"]
    assert talk.sent[2]["exclude_finished"] is False
    assert not talk.of(Ready)
    talk.greet()
    (ready,) = talk.of(Ready)
    assert ready.info["model_name"] == "IM7x"
    assert talk.last("workstation/busy") is False
    assert talk.last("workstation/uptime") == 12
    assert talk.last("workstation/mode") == "NORMAL"
    assert talk.last("job/state") == "none"
    assert not talk.of(Condition)


def test_request_ids_differ() -> None:
    talk = Talk()
    talk.wait(60)
    talk.call("job_list", name="lab2mqtt/1")
    talk.call("job_list", name="lab2mqtt/2")
    ids = [request["request_id"] for request in talk.sent]
    assert len(set(ids)) == len(ids)


def test_errors_in_the_greeting_do_not_keep_it_from_being_ready() -> None:
    talk = Talk(jobs=None)
    for do in ("/id", "/status", "/job/list"):
        talk.refuse(do, 16399, "parameter {0} invalid", "bias")
    assert len(talk.of(Ready)) == 1
    assert len(talk.of(Happened)) == 3


def test_a_silent_instrument_is_given_up() -> None:
    talk = Talk(jobs=None)
    talk.wait(11)
    assert talk.of(Close)
    assert not talk.of(Ready)


def test_one_silent_answer_does_not_keep_it_from_being_ready() -> None:
    talk = Talk(jobs=None)
    talk.reply("/id", workstation=workstation())
    talk.reply("/job/list", jobs=[])
    talk.wait(11)
    assert len(talk.of(Ready)) == 1
    assert not talk.of(Close)


def test_it_looks_again_and_says_when_nobody_answers() -> None:
    talk = Talk()
    talk.wait(10.5)
    assert len(talk.asked("/job/list")) == 2
    talk.wait(15)
    assert talk.of(Condition)[-1].state == "stuck"
    talk.reply("/status", workstation_status={"busy": True, "uptime": 1e9, "last_dc_calibration": "x"})
    talk.wait(1)
    talk.reply("/status", workstation_status={"busy": True})
    assert talk.last("workstation/busy") is True


def test_an_instrument_in_recovery_says_so() -> None:
    talk = Talk(jobs=None)
    talk.reply("/id", workstation=workstation(mode="RECOVERY"))
    assert talk.of(Condition) == [Condition("recovery", "the instrument is in the mode RECOVERY")]


def test_what_a_status_lacks_is_not_made_up() -> None:
    talk = Talk(jobs=None)
    talk.reply("/status", workstation_status={"busy": "yes", "uptime": None, "last_dc_calibration": 5, "new": 1})
    assert not [update for update in talk.of(Update) if update.key.startswith("workstation/")]


def test_the_first_frames_must_be_messages() -> None:
    talk = Talk(jobs=None)
    talk.raw("hello")
    talk.raw("[1]")
    with pytest.raises(ProtocolError, match="no IM7"):
        talk.raw("hello")


def test_later_rubbish_is_reported_once() -> None:
    talk = Talk()
    for _ in range(5):
        talk.raw("hello")
        talk.hear({"type": "NEWS"}, {"type": "EVENT", "event": {"type": "NEWS"}}, {"type": "EVENT"}, {})
    told = [happened.data["what"] for happened in talk.of(Happened)]
    assert told == [
        "frame that is no JSON object",
        "message of type 'NEWS'",
        "event of type 'NEWS'",
        "event of type None",
        "message of type None",
    ]


def test_a_preview_of_waves_is_passed_over() -> None:
    talk = Talk()
    assert talk.hear(event("LIVE_DATA_WAVES", paths_waves=[[0.1]], offset=0, full_wave_size=256)) == []


@pytest.mark.parametrize(
    ("severity", "told"),
    [
        ("DEBUG", "debug"),
        ("MESSAGE", "info"),
        ("WARNING", "warning"),
        ("CRITICAL_ERROR", "error"),
        ("NEW", "info"),
    ],
)
def test_messages_become_events(severity: str, told: str) -> None:
    talk = Talk()
    message = {"job_id": "j1", "severity": severity, "date_time": "2026", "message": "hot"}
    (happened,) = talk.hear(event("MESSAGE_FROM_JOB", message=message))
    assert isinstance(happened, Happened)
    assert (happened.name, happened.key) == (told, "message")
    assert told in talk.points["message"].choices
    assert happened.data == {
        "message": "hot",
        "source": "job",
        "severity": severity,
        "job": "j1",
        "said_at": "2026",
    }


def test_jobs_of_others_are_shown() -> None:
    talk = Talk(jobs=[ended("old"), info("theirs", "RUNNING")])
    assert [job.id for job in talk.jobs] == ["theirs"]
    assert talk.last("job/id") == "theirs"
    assert talk.last("job/state") == "running"
    talk.hear(status(info("next")))
    assert talk.last("job/queue") == 1
    assert talk.last("job/id") == "theirs"
    talk.hear(status(ended("theirs")))
    assert talk.last("job/id") == "theirs"
    assert talk.last("job/state") == "finished"
    assert talk.jobs[-1].final
    assert not talk.asked("/JOB_RESULT/list")


def test_the_newest_job_is_shown_when_none_runs() -> None:
    talk = Talk(jobs=[ended("new", created="2026-02"), ended("old", created="2026-01")])
    assert talk.last("job/id") == "new"
    assert not talk.jobs


def test_the_version_is_asked_for_only_when_configured() -> None:
    assert plugin.headers(IM7Options()) == {}
    assert plugin.headers(IM7Options(protocol_version=12)) == {"Z-Supported-Protocol-Version": "12"}


def test_it_never_makes_others_wait() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    assert not talk.driver.busy
    assert talk.driver.fenced("x", talk.now) == ()


def test_a_new_driver_wants_nothing() -> None:
    assert IM7(IM7Options(), {}, []).wake_at is None
    assert all(isinstance(effect, Send) for effect in list(IM7(IM7Options(), {}, []).start(0.0))[1:])

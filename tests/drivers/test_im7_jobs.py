"""Jobs of the IM7: started once, accepted, ended, over whatever the connection does."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.driver import Hold, Remember, Send
from bridge.model import Command, Happened, Reply
from tests.drivers.im7_talk import OCV, STOPPED, Object, Talk, ended, event, info, status

BEEP: Object = {"type": "beep", "parameters": {"frequency": 1000, "duration": 0.5}}
INTEGRAL: Object = {"type": "measure_integral", "parameters": {"channel": "MAIN:1:POT:U", "duration": 0.3}}


def test_a_start_is_on_disk_and_held_before_it_is_sent() -> None:
    talk = Talk()
    remember, hold, send = talk.call("job_start", job=OCV)
    assert remember == Remember("start:c1", {"before": [], "fetch": True})
    assert hold == Hold("c1", None)
    assert isinstance(send, Send)
    assert send.id == "c1"
    assert talk.sent[-1] == {
        "do": "/job/start",
        "job": {**OCV, "stop_conditions": [], "job_meta": {"mqtt_id": "c1"}},
        "request_id": "c1",
    }


def test_from_start_to_done() -> None:
    talk = Talk()
    talk.started()
    assert talk.replies == [("c1", "accepted", "job j1")]
    assert talk.of(Reply)[0].data == {"job_id": "j1"}
    assert talk.last("job/state") == "running"
    assert talk.remembered.keys() == {"job:j1"}
    talk.hear(status(ended()))
    talk.done(ended())
    talk.done(ended())
    talk.hear(event("JOB_DONE", job_info=ended()))
    assert talk.replies[1:] == [("c1", "done", "")]
    assert talk.of(Reply)[1].data == {"job_id": "j1", "state": "finished", "detail": "RUN_TO_COMPLETION"}
    assert [job.data["state"] for job in talk.jobs[:3]] == ["queued", "running", "finished"]
    assert talk.jobs[-1].final
    names = [happened.name for happened in talk.of(Happened) if happened.key == "job"]
    assert names == ["queued", "running", "finished"]
    assert talk.last("job/progress") == 100


def test_the_flags_stand_beside_the_job_and_only_when_true() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV, bypass_queue=True, discard_result_data=True)
    talk.call("job_start", name="c2", job={**OCV, "bypass_queue": True}, discard_result_data=False)
    assert talk.sent[-2]["bypass_queue"] is talk.sent[-2]["discard_result_data"] is True
    assert talk.sent[-1]["bypass_queue"] is True
    assert "discard_result_data" not in talk.sent[-1]
    assert "bypass_queue" not in talk.sent[-1]["job"]


def test_done_may_overtake_the_reply() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.done(ended())
    assert talk.outcomes == ["accepted", "done"]
    talk.reply("/job/start", job_info=info())
    talk.hear(status(info(status="RUNNING")))
    assert talk.outcomes == ["accepted", "done"]
    assert talk.last("job/state") == "finished"


def test_an_event_with_our_tag_is_as_good_as_the_reply() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.hear(status(talk.described(status="RUNNING")))
    assert talk.outcomes == ["accepted"]
    talk.reply("/job/start", job_info=talk.described())
    assert talk.outcomes == ["accepted"]
    assert talk.last("job/state") == "running"


def test_done_of_somebody_elses_job_ends_nothing_of_ours() -> None:
    talk = Talk()
    talk.started()
    talk.done(ended("theirs"), request_id="somebody")
    talk.done(ended("theirs"), request_id="c9")
    assert talk.outcomes == ["accepted"]


def test_a_job_that_ended_before_it_was_known_whose_it_was() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.hear(status(info()), status(ended()))  # without the tag
    assert talk.outcomes == []
    talk.reply("/job/start", job_info=info())
    assert talk.outcomes == ["accepted", "done"]
    assert talk.asked("/JOB_RESULT/list")


def test_what_a_control_job_returns_comes_with_its_done() -> None:
    talk = Talk()
    talk.started(job=INTEGRAL)
    talk.hear(status(ended(**INTEGRAL)))
    assert talk.outcomes == ["accepted"]
    talk.done(ended(**INTEGRAL), result={"value": 1.25})
    reply = talk.of(Reply)[-1]
    assert reply.data == {
        "job_id": "j1",
        "state": "finished",
        "detail": "RUN_TO_COMPLETION",
        "value": {"value": 1.25},
    }
    assert talk.jobs[-1].data["value"] == {"value": 1.25}
    assert talk.remembered == {}
    assert not talk.asked("/JOB_RESULT/list")


def test_a_control_job_without_its_done_ends_a_little_later() -> None:
    talk = Talk()
    talk.started(job=BEEP)
    talk.hear(event("JOB_DONE", job_info=ended(**BEEP)))
    talk.wait(1.1)
    assert talk.outcomes == ["accepted", "done"]


@pytest.mark.parametrize(
    ("status", "detail", "error", "state", "outcome"),
    [
        ("FINISHED", "RUN_TO_COMPLETION", None, "finished", "done"),
        ("FAILED", "STOPPED_BY_USER", STOPPED, "stopped", "failed"),
        ("FINISHED", "STOPPED_BY_USER", None, "stopped", "failed"),
        ("FAILED", "NOT_FINISHED", {"number": 65537}, "stop_condition", "done"),
        ("FAILED", "FUNCTIONAL_LIMIT_OCCURRED", {"number": 65537}, "stop_condition", "done"),
        ("FINISHED", "FUNCTIONAL_LIMIT_OCCURRED", None, "limit", "done"),
        ("FAILED", "SAFETY_LIMIT_OCCURRED", None, "safety_limit", "failed"),
        ("FAILED", "CANCELLED_BEFORE_RUN", {"number": 65538}, "cancelled", "failed"),
        ("FAILED", "RUNTIME_ERROR", {"number": 8388608}, "failed", "failed"),
        ("FINISHED", "SOMETHING_NEW", None, "finished", "done"),
        ("FAILED", "SOMETHING_NEW", None, "failed", "failed"),
        ("DELETED", "", None, "deleted", "unknown"),
    ],
)
def test_ends_by_their_detail(status: str, detail: str, error: Object | None, state: str, outcome: str) -> None:
    talk = Talk()
    talk.started()
    talk.done(info("j1", status, detail, error=error or {"number": 0}))
    assert talk.last("job/state") == state
    assert talk.outcomes == ["accepted", outcome]


def test_a_failure_says_why_with_the_parameters_filled_in() -> None:
    talk = Talk()
    talk.started()
    error = {"number": 16389, "code": "LOW", "message": "{0} below {1}: {9}", "message_parameters": ["bias", 2.5]}
    talk.done(info("j1", "FAILED", "RUNTIME_ERROR", error=error))
    assert talk.replies[-1] == ("c1", "failed", "it failed: bias below 2.5: {9} (LOW 16389)")
    assert talk.last("job/last_error") == "bias below 2.5: {9} (LOW 16389)"


def test_a_refused_start_is_rejected_and_forgotten() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.refuse("/job/start", 16389, "{0} is too low", "duration")
    assert talk.replies == [("c1", "rejected", "duration is too low (CODE 16389)")]
    assert talk.remembered == {}
    assert not talk.jobs


def test_a_failure_without_an_error_object_is_one() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.reply("/job/start", "FAILED")
    assert talk.outcomes == ["rejected"]


def test_a_start_without_an_answer_is_looked_up_and_not_repeated() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.wait(10.2)
    talk.wait(0)
    for _ in talk.asked("/job/list")[1:]:
        talk.reply("/job/list", jobs=[talk.described(status="RUNNING")])
    assert talk.outcomes == ["accepted"]
    assert len(talk.asked("/job/start")) == 1


def test_a_start_that_nobody_knows_of_is_unknown() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.wait(10.2)
    for _ in talk.asked("/job/list")[1:]:
        talk.reply("/job/list", jobs=[ended("other")])
    assert talk.outcomes == ["unknown"]
    talk.hear(status(talk.described(status="RUNNING")))
    talk.done(talk.described() | ended(job_meta={"mqtt_id": "c1"}))
    assert talk.outcomes == ["unknown"]
    assert talk.of(Happened)[-1].data["late"] is True


def test_a_start_is_unknown_when_even_the_list_is_silent() -> None:
    talk = Talk()
    talk.call("job_start", job=OCV)
    talk.wait(60)
    assert talk.outcomes == ["unknown"]


def test_a_job_has_no_deadline_but_its_command_may_have() -> None:
    talk = Talk()
    talk.started()
    for _ in range(100):
        talk.wait(10)
        for _ in talk.asked("/job/list"):
            pass
        talk.hear(status(info(status="RUNNING")))
    assert talk.outcomes == ["accepted"]
    talk.call("job_start", name="c2", job=OCV, within=5.0)
    talk.reply("/job/start", job_info=talk.described("j2", "c2"))
    talk.wait(5.1)
    assert talk.replies[-1] == ("c2", "unknown", "job j2 is still queued")
    assert Hold("c2", talk.now - 0.1) in talk.of(Hold)


# --- over a lost connection ----------------------------------------------------------------------------


def test_lost_between_send_and_reply_it_is_found_by_its_tag() -> None:
    first = Talk()
    first.call("job_start", job=OCV)
    second = first.again(jobs=[ended("other"), first.described(status="RUNNING")])
    assert second.replies == [("c1", "accepted", "job j1")]
    second.done(ended(), request_id="c1")
    assert second.outcomes == ["accepted", "done"]
    assert not second.asked("/job/start")


def test_lost_and_not_found_it_is_unknown() -> None:
    first = Talk()
    first.call("job_start", job=OCV)
    second = first.again(jobs=[ended("other")])
    assert second.outcomes == ["unknown"]
    assert second.of(Remember) == [Remember("start:c1", None)]
    assert not second.asked("/job/start")


def test_an_older_job_with_the_same_tag_is_not_taken_for_it() -> None:
    old = ended("old", job_meta={"mqtt_id": "c1"})
    first = Talk(jobs=[old])
    first.call("job_start", job=OCV)
    second = first.again(jobs=[old])
    assert second.outcomes == ["unknown"]


def test_lost_while_running_its_end_is_still_told() -> None:
    first = Talk()
    first.started()
    second = first.again(jobs=[first.described(status="RUNNING")])
    assert second.replies == []
    second.hear(status(ended()))
    assert second.outcomes == ["done"]
    assert second.asked("/JOB_RESULT/list")


def test_ended_while_away_it_is_told_and_fetched() -> None:
    first = Talk()
    first.started()
    second = first.again(jobs=[ended(job_meta={"mqtt_id": "c1"})])
    assert second.outcomes == ["done"]
    assert second.jobs[0].final
    assert second.asked("/JOB_RESULT/list")


def test_gone_while_away_it_is_unknown_when_the_instrument_says_so() -> None:
    first = Talk()
    first.started()
    second = first.again(jobs=[])
    assert second.outcomes == []
    second.refuse("/job/info", 16400, "could not find job with job_id '{0}'", "j1")
    assert second.replies == [("c1", "unknown", "the instrument no longer knows this job")]
    assert second.jobs[-1].final
    assert second.of(Remember)[-1] == Remember("job:j1", None)


def test_missing_in_the_list_but_known_it_goes_on() -> None:
    talk = Talk()
    talk.started()
    talk.wait(10.1)
    talk.reply("/job/list", jobs=[])
    talk.reply("/job/info", job_info=talk.described(status="RUNNING"))
    assert talk.outcomes == ["accepted"]
    talk.wait(10.1)
    talk.reply("/job/list", jobs=[])
    talk.reply("/job/info", job_info=ended())
    assert talk.outcomes == ["accepted", "done"]


def test_after_a_restart_nobody_waits_and_the_topic_ends_truthfully() -> None:
    first = Talk()
    first.started()
    second = first.again(jobs=[ended(job_meta={"mqtt_id": "c1"})], carried=False)
    assert second.replies == []
    assert second.jobs[0].final
    assert second.jobs[0].data["command"] == "c1"
    (happened,) = [event for event in second.of(Happened) if event.key == "job"]
    assert happened.data["late"] is True
    assert second.asked("/JOB_RESULT/list")


def test_a_start_from_before_a_restart_is_found_too() -> None:
    first = Talk()
    first.call("job_start", job=OCV)
    second = first.again(jobs=[first.described(status="RUNNING")], carried=False)
    assert second.replies == []
    second.hear(status(ended()))
    assert second.asked("/JOB_RESULT/list")


def test_carried_commands_of_another_kind_are_answered() -> None:
    talk = Talk(carried=[Command("x", "job_start")])
    assert talk.outcomes == ["unknown"]


def test_two_lost_connections() -> None:
    first = Talk()
    first.call("job_start", job=OCV)
    second = first.again(jobs=None)  # lost again before the list came
    assert second.replies == []
    third = Talk(
        memory=first.remembered,
        carried=[Command("c1", "job_start")],
        jobs=[first.described(status="RUNNING")],
    )
    assert third.outcomes == ["accepted"]


# --- other requests ------------------------------------------------------------------------------------


def test_check_list_and_info() -> None:
    talk = Talk()
    talk.call("job_check", job=OCV)
    talk.reply("/job/check_parameters")
    talk.call("job_check", name="c2", job=OCV)
    talk.refuse("/job/check_parameters", 16388, "{0} too high", "duration")
    talk.call("job_list", name="c3", exclude_finished=True)
    assert talk.sent[-1]["exclude_finished"] is True
    talk.hear({"type": "REPLY", "status": "SUCCESS", "request_id": "c3", "jobs": [info("j7"), "rubbish"]})
    talk.call("job_info", name="c4", job_id="j7")
    talk.reply("/job/info", job_info=info("j7"))
    talk.call("job_info", name="c5", job_id="j8")
    talk.wait(11)
    assert talk.replies[:2] == [("c1", "done", ""), ("c2", "failed", "duration too high (CODE 16388)")]
    assert talk.outcomes == ["done", "failed", "done", "done", "unknown"]
    data: Any = talk.of(Reply)[2].data
    assert [job["job"] for job in data["jobs"]] == ["j7"]
    assert "job_meta" in talk.asked("/job/check_parameters")[0]["job"]


def test_stop_is_done_when_the_job_has_ended() -> None:
    talk = Talk(jobs=[info("theirs", "RUNNING")])
    (send,) = talk.call("job_stop")
    assert isinstance(send, Send)
    assert send.id == "c1"
    assert talk.sent[-1] == {"do": "/stop", "queue": "flush", "request_id": "c1"}
    talk.reply("/stop")
    assert talk.replies == []
    talk.hear(status(info("theirs", "FAILED", "STOPPED_BY_USER", error=STOPPED)))
    assert talk.replies == [("c1", "done", "job theirs has ended")]


def test_after_a_stop_the_list_is_looked_at_soon() -> None:
    talk = Talk(jobs=[info("theirs", "RUNNING")])
    talk.wait(5)
    talk.call("job_stop")
    talk.reply("/stop")
    talk.wait(0)
    talk.reply("/job/list", jobs=[info("theirs", "FAILED", "STOPPED_BY_USER", error=STOPPED)])
    assert talk.outcomes == ["done"]


def test_a_flood_of_doubts_is_no_flood_of_requests() -> None:
    talk = Talk()
    for _ in range(100):
        talk.done(info(status="RUNNING"))
        talk.wait(0.015)
    assert len(talk.asked("/job/list")) == 2


def test_stop_needs_no_answer() -> None:
    talk = Talk(jobs=[info("theirs", "RUNNING")])
    talk.call("job_stop", mode="continue")
    assert talk.sent[-1]["queue"] == "continue"
    talk.hear(status(info("theirs", "FAILED", "STOPPED_BY_USER", error=STOPPED)))
    assert talk.outcomes == ["done"]


def test_stop_takes_an_answer_without_an_id() -> None:
    talk = Talk()
    talk.call("job_stop")
    talk.hear({"type": "REPLY", "status": "SUCCESS", "request_id": None})
    assert talk.replies == [("c1", "done", "no job was known to run")]


def test_stop_can_fail_and_can_remain_unknown() -> None:
    talk = Talk(jobs=[info("theirs", "RUNNING")])
    talk.call("job_stop")
    talk.refuse("/stop", 8388608, "oops")
    talk.call("job_stop", name="c2")
    talk.wait(10.1)
    assert talk.replies == [
        ("c1", "failed", "oops (CODE 8388608)"),
        ("c2", "unknown", "sent; the instrument did not answer, and no job has ended"),
    ]


def test_stop_of_one_job_looks_first() -> None:
    talk = Talk()
    talk.started()
    (send,) = talk.call("job_stop", name="c2", job_id="j1")
    assert isinstance(send, Send)
    assert send.id == "c2"
    assert talk.sent[-1]["do"] == "/job/list"
    talk.hear(
        {"type": "REPLY", "status": "SUCCESS", "request_id": "c2", "jobs": [talk.described(status="RUNNING")]}
    )
    assert talk.sent[-1]["do"] == "/stop"
    assert talk.sent[-1]["queue"] == "continue"
    talk.done(info("j1", "FAILED", "STOPPED_BY_USER", error=STOPPED))
    assert talk.outcomes == ["accepted", "failed", "done"]


@pytest.mark.parametrize("jobs", [[], [info("j1")], [info("j9", "RUNNING")], [ended("j1")]])
def test_stop_of_one_job_stops_no_other(jobs: list[Object]) -> None:
    talk = Talk(jobs=[info("j9", "RUNNING")])
    talk.call("job_stop", job_id="j1")
    talk.hear({"type": "REPLY", "status": "SUCCESS", "request_id": "c1", "jobs": jobs})
    assert talk.outcomes == ["rejected"]
    assert not talk.asked("/stop")


def test_stop_of_one_job_stops_nothing_when_it_cannot_look() -> None:
    talk = Talk()
    talk.call("job_stop", job_id="j1")
    talk.wait(10.1)
    assert talk.outcomes == ["unavailable"]
    talk.call("job_stop", name="c2", job_id="j1")
    talk.hear({"type": "REPLY", "status": "NO", "request_id": "c2", "error": {"number": 8194}})
    assert talk.outcomes == ["unavailable", "failed"]
    assert not talk.asked("/stop")


def test_switch_off_is_urgent_and_goes_past_the_queue() -> None:
    talk = Talk()
    assert talk.points["switch_off"].urgent
    assert talk.points["switch_all_off"].urgent
    assert talk.points["job_stop"].urgent
    talk.call("switch_off")
    assert talk.sent[-1]["job"]["parameters"] == {"potentiostat": "MAIN:1:POT"}
    assert "bypass_queue" not in talk.sent[-1]
    talk.reply("/job/start", job_info=info("off", type="switch_off"))
    talk.done(ended("off", type="switch_off"))
    assert talk.outcomes == ["accepted", "done"]
    talk.hear(status(info("long", "RUNNING")))
    talk.call("switch_all_off", name="c2")
    assert talk.sent[-1]["bypass_queue"] is True
    talk.refuse("/job/start", 262144, "not now")
    assert talk.replies[-1] == ("c2", "rejected", "not now (CODE 262144); job_stop ends the job that runs")


def test_an_unknown_action_is_rejected() -> None:
    talk = Talk()
    talk.call("nosuch")
    talk.call("job_info", name="c2")
    assert talk.outcomes == ["rejected", "rejected"]

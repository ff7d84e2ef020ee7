"""Imports in turn, their answers, deadlines, cancellation, and what a lost connection leaves behind."""

from __future__ import annotations

import pytest

from bridge.driver import Close, Fence, ProtocolError, Remember, Send, Trouble, Verdict
from bridge.drivers.zeiss_inspect import PROBE, plugin
from bridge.model import Command, Declared, Happened, Job, Ready, Reply, Update
from tests.drivers.zeiss_inspect_talk import ELEMENTS, IMAGE, Talk

FAILED = "Error: Image could not be imported from file C:/images/part.jpg."
LOOK = "look in ZEISS INSPECT before repeating it"


# --- one import ----------------------------------------------------------------------------------------


def test_it_is_ready_at_once_and_idle() -> None:
    talk = Talk()
    assert len(talk.of(Ready)) == 1
    assert talk.last("import/running") is False
    assert talk.last("import/queue") == 0
    assert not talk.sent
    assert not talk.conditions


def test_the_declared_points() -> None:
    (declared,) = Talk().of(Declared)
    assert {point.key for point in declared.points} == {
        "import_image", "import_elements", "cancel", "quit", "reset",
        "import/running", "import/last", "import/duration", "import/queue", "import",
    }  # fmt: skip
    points = {point.key: point for point in declared.points}
    assert points["quit"].guarded
    assert not points["quit"].enabled
    assert points["cancel"].urgent
    for key in ("import_image", "import_elements"):
        assert points[key].timeout is None
        assert points[key].expires == 3600


def test_an_image_from_acceptance_to_done() -> None:
    talk = Talk()
    talk.image()
    assert talk.sent == [{"image": IMAGE}]
    assert talk.last("import/running") is True
    talk.say("O.k.", after=2.5)
    assert talk.replies == [("c1", "accepted", "place 1 in the queue"), ("c1", "done", "")]
    assert talk.of(Reply)[0].data == {"job": "c1", "place": 1}
    assert talk.of(Reply)[1].data == {"reply": "O.k.", "duration": 2.5}
    assert talk.states == [("c1", "queued"), ("c1", "running"), ("c1", "done")]
    assert talk.happened == [("queued", "c1"), ("running", "c1"), ("done", "c1")]
    assert talk.of(Job)[-1] == Job(
        "c1", {"state": "done", "action": "import_image", "args": IMAGE, "duration": 2.5}, final=True
    )
    assert talk.last("import/running") is False
    assert talk.last("import/last") == "done"
    assert talk.last("import/duration") == 2.5
    assert talk.conditions == ["busy", ""]
    assert talk.memory == {}


def test_elements() -> None:
    talk = Talk()
    talk.elements(import_mode="new_stage")
    talk.say("O.k.")
    assert talk.sent == [{"elements": {"file": "C:/images/points.gxml", "import_mode": "new_stage"}}]
    assert talk.outcomes[-1] == ("c1", "done")


def test_states_and_events_come_before_the_answer() -> None:
    talk = Talk()
    talk.image()
    told = talk.say("O.k.")
    kinds = [type(effect) for effect in told]
    assert kinds.index(Reply) > max(kinds.index(Job), kinds.index(Happened), kinds.index(Update))


@pytest.mark.parametrize(
    ("text", "outcome", "detail"),
    [
        ("Error: Malformed JSON message.", "rejected", "Error: Malformed JSON message."),
        ("Error: Missing parameter 'name' in 'image' request.", "rejected", None),
        ("Error: Image file C:/images/part.jpg could not be read.", "rejected", None),
        ("Error: Elements file C:/images/p.gxml could not be read.", "rejected", None),
        ("Error: Unknown request:\n{'foo': 1}", "rejected", "Error: Unknown request: {'foo': 1}"),
        (FAILED, "failed", FAILED),
        ("Error: Elements could not be imported from file P with import mode clipboard.", "failed", None),
        ("Error: something that an edited script says", "failed", None),
        ("Error: Image could not be imported from file Error: Image file could not be read..jpg.", "failed", None),
        ("Ok", "unknown", "the answer is neither 'O.k.' nor an error: 'Ok'"),
        ("O.k. ", "unknown", None),
        ("o.k.", "unknown", None),
        ("", "unknown", "the answer is neither 'O.k.' nor an error: ''"),
        ("bye", "unknown", None),
    ],
)
def test_what_answers_mean(text: str, outcome: str, detail: str | None) -> None:
    talk = Talk()
    talk.image()
    talk.say(text)
    assert talk.outcomes[-1] == ("c1", outcome)
    assert talk.states[-1] == ("c1", outcome)
    assert talk.happened[-1] == (outcome, "c1")
    assert talk.last("import/last") == outcome
    if detail is not None:
        assert talk.replies[-1][2] == detail
        assert talk.of(Job)[-1].data["detail"] == detail


def test_the_text_of_success_can_be_chosen() -> None:
    talk = Talk(success="Ok")
    talk.image("c1")
    talk.say("Ok")
    talk.image("c2")
    talk.say("O.k.")
    assert [outcome for _, outcome in talk.outcomes if outcome != "accepted"] == ["done", "unknown"]


def test_a_long_answer_is_cut() -> None:
    talk = Talk()
    talk.image()
    talk.say("Error: Unknown request:\n" + "x" * 3_000_000)
    assert len(talk.replies[-1][2]) < 600


# --- turns ---------------------------------------------------------------------------------------------


def test_one_request_is_out_at_a_time_and_the_order_is_kept() -> None:
    talk = Talk()
    for number in (1, 2, 3):
        talk.image(f"c{number}", name=f"series {number}")
    assert [reply.data for reply in talk.of(Reply)] == [
        {"job": "c1", "place": 1},
        {"job": "c2", "place": 1},  # the first was sent already
        {"job": "c3", "place": 2},
    ]
    assert len(talk.sent) == 1
    assert talk.last("import/queue") == 2
    for number in (1, 2, 3):
        assert [send.id for send in talk.of(Send)] == [f"c{n}" for n in range(1, number + 1)]
        talk.say("O.k.")
    assert talk.outcomes[3:] == [("c1", "done"), ("c2", "done"), ("c3", "done")]
    assert [message["image"]["name"] for message in talk.sent] == ["series 1", "series 2", "series 3"]
    assert talk.last("import/queue") == 0


def test_a_request_goes_out_only_behind_an_answered_ping() -> None:
    talk = Talk()
    talk.deaf = True
    talk.image()
    assert talk.awaited
    assert not talk.sent
    assert talk.states == [("c1", "queued")]
    talk.pong()
    assert len(talk.sent) == 1


def test_so_does_the_next_one_after_an_answer() -> None:
    talk = Talk()
    talk.image("c1")
    talk.image("c2")
    talk.deaf = True
    talk.say("O.k.")
    assert [send.id for send in talk.of(Send)] == ["c1"]
    assert talk.states[-1] == ("c1", "done")  # a close after the answer finds the second one unsent
    talk.pong()
    assert [send.id for send in talk.of(Send)] == ["c1", "c2"]


def test_a_pong_that_nobody_asked_for_sends_nothing() -> None:
    talk = Talk()
    talk.image("c1")
    talk.image("c2")
    assert not list(talk.driver.fenced("turn", talk.now))


def test_a_failure_does_not_stop_the_others() -> None:
    talk = Talk()
    talk.image("c1")
    talk.image("c2")
    talk.say(FAILED)
    talk.say("O.k.")
    assert talk.outcomes[2:] == [("c1", "failed"), ("c2", "done")]


def test_a_full_queue_rejects_at_once() -> None:
    talk = Talk(queue=2)
    for number in range(4):
        talk.image(f"c{number}")
    assert talk.replies[-1] == ("c3", "rejected", "2 imports are waiting already")
    assert ("c3", "queued") not in talk.states
    talk.say("O.k.")
    talk.image("c4")
    assert talk.outcomes[-1] == ("c4", "accepted")


def test_an_import_that_waited_too_long_is_not_sent() -> None:
    talk = Talk()
    talk.image("c1")
    talk.image("c2", until=talk.now + 30)
    talk.wait(31)
    assert talk.replies[-1] == ("c2", "expired", "it waited too long and was not sent")
    assert talk.states[-1] == ("c2", "expired")
    talk.say("O.k.")
    assert [send.id for send in talk.of(Send)] == ["c1"]
    assert talk.last("import/queue") == 0


def test_age_counts_at_the_moment_of_sending() -> None:
    talk = Talk()
    talk.deaf = True
    talk.image(until=talk.now + 3)
    talk.now += 3
    talk.pong()
    assert not talk.sent
    assert talk.outcomes[-1] == ("c1", "expired")


# --- cancel --------------------------------------------------------------------------------------------


def test_a_waiting_import_can_be_cancelled() -> None:
    talk = Talk()
    talk.image("c1")
    talk.image("c2")
    talk.call("cancel", "c3", job="c2")
    assert talk.replies[-2:] == [("c2", "superseded", "cancelled before it was sent"), ("c3", "done", "")]
    assert talk.states[-1] == ("c2", "superseded")
    talk.say("O.k.")
    assert [send.id for send in talk.of(Send)] == ["c1"]
    assert talk.memory == {}


def test_also_while_its_ping_is_awaited() -> None:
    talk = Talk()
    talk.deaf = True
    talk.image("c1")
    talk.call("cancel", "c2", job="c1")
    talk.pong()
    assert not talk.sent


def test_a_running_import_cannot_be_cancelled() -> None:
    talk = Talk()
    talk.image("c1")
    talk.call("cancel", "c2", job="c1")
    expected = "it was sent already, and ZEISS INSPECT cannot cancel an import"
    assert talk.replies[-1] == ("c2", "rejected", expected)
    talk.say("O.k.")
    assert talk.outcomes[-1] == ("c1", "done")


def test_nor_one_that_is_not_there() -> None:
    talk = Talk()
    talk.call("cancel", "c2", job="c1")
    assert talk.replies == [("c2", "rejected", "no import with this id is waiting")]


# --- quit ----------------------------------------------------------------------------------------------


def test_quit() -> None:
    talk = Talk()
    talk.call("quit")
    assert talk.sent == ["quit"]
    assert talk.conditions == ["busy"]
    talk.say("bye")
    assert talk.outcomes == [("c1", "done")]
    assert not talk.states
    assert not talk.of(Close)  # the server closes, or goes on: both were seen


def test_quit_waits_for_nobody() -> None:
    talk = Talk()
    talk.image("c1")
    talk.call("quit", "c2")
    assert talk.replies[-1] == ("c2", "rejected", "something is running or waiting")
    assert len(talk.sent) == 1


def test_quit_without_an_answer() -> None:
    talk = Talk()
    talk.call("quit")
    talk.wait(11)
    assert talk.outcomes == [("c1", "unknown")]
    assert talk.conditions[-1] == "stuck"
    talk.call("quit", "c2")
    assert talk.outcomes[-1] == ("c2", "unavailable")
    talk.say("bye", after=5)
    assert talk.of(Happened)[-1] == Happened("quit", {"id": "c1", "reply": "bye", "late": True})
    assert talk.conditions[-1] == ""
    assert len(talk.of(Reply)) == 2


def test_quit_that_is_refused() -> None:
    talk = Talk()
    talk.call("quit")
    talk.say("Error: Malformed JSON message.")
    assert talk.outcomes == [("c1", "rejected")]


# --- deadlines, stuck, reset ---------------------------------------------------------------------------


def stuck() -> Talk:
    talk = Talk()
    talk.image("c1")
    talk.image("c2")
    talk.wait(600)
    return talk


def test_no_answer_by_the_deadline_is_unknown_and_stuck() -> None:
    talk = Talk()
    talk.image("c1")
    talk.image("c2")
    talk.wait(599)
    assert talk.conditions[-1] == "busy"
    talk.wait(1)
    assert talk.replies[-1] == ("c1", "unknown", f"sent, and no answer within 600 s: {LOOK}")
    assert talk.states[-1] == ("c1", "unknown")
    assert talk.conditions[-1] == "stuck"
    assert talk.last("import/running") is False
    assert talk.last("import/last") == "unknown"
    assert not talk.of(Close)


def test_nothing_is_sent_or_taken_while_stuck() -> None:
    talk = stuck()
    talk.image("c3")
    talk.call("quit", "c4")
    talk.wait(3000)
    assert len(talk.sent) == 1
    assert talk.outcomes[-2:] == [("c3", "unavailable"), ("c4", "unavailable")]


def test_a_late_answer_corrects_the_job_but_not_the_reply_and_the_queue_goes_on() -> None:
    talk = stuck()
    replies = len(talk.of(Reply))
    talk.say("O.k.", after=100)
    late = Job(
        "c1",
        {"state": "done", "action": "import_image", "args": IMAGE, "duration": 700.0, "late": True},
        final=True,
    )
    assert late in talk.of(Job)
    (event,) = [event for event in talk.of(Happened) if event.data.get("late")]
    assert (event.name, event.key, event.data["job"]) == ("done", "import", "c1")
    assert len(talk.of(Reply)) == replies
    assert talk.last("import/last") == "done"
    assert [send.id for send in talk.of(Send)] == ["c1", "c2"]
    assert talk.conditions[-1] == "busy"
    talk.say("O.k.")
    assert talk.outcomes[-1] == ("c2", "done")


def test_reset_opens_the_connection_afresh() -> None:
    talk = stuck()
    effects = talk.call("reset", "c3")
    assert talk.outcomes[-2:] == [("c2", "unavailable"), ("c3", "done")]
    assert talk.states[-1] == ("c2", "unavailable")
    assert talk.of(Close, effects) == [Close("reset", Verdict.AGAIN)]
    assert not talk.of(Send, effects)
    assert talk.memory == {}


def test_reset_does_not_touch_a_running_import() -> None:
    talk = Talk()
    talk.image("c1")
    talk.call("reset", "c2")
    assert talk.replies[-1] == ("c2", "done", "nothing is stuck")
    assert not talk.of(Close)
    talk.say("O.k.")
    assert talk.outcomes[-1] == ("c1", "done")


@pytest.mark.parametrize(("within", "limit"), [(None, 600.0), (5.0, 5.0), (3600.0, 3600.0)])
def test_a_commands_timeout_overrides_the_deadline(within: float | None, limit: float) -> None:
    talk = Talk()
    talk.image(within=within)
    talk.wait(limit - 0.5)
    assert len(talk.of(Reply)) == 1
    talk.wait(0.5)
    assert talk.outcomes[-1] == ("c1", "unknown")


@pytest.mark.parametrize("within", [0.0, 3600.5])
def test_up_to_a_cap(within: float) -> None:
    talk = Talk()
    talk.image(within=within)
    assert talk.replies == [("c1", "rejected", f"a timeout of {within:g} s is not between 1 and 3600 s")]


def test_the_deadline_begins_when_it_is_sent() -> None:
    talk = Talk(job_timeout=60)
    talk.image("c1")
    talk.image("c2")
    talk.wait(50)
    talk.say("O.k.")
    talk.wait(59)
    assert talk.outcomes[-1] == ("c1", "done")
    talk.wait(1)
    assert talk.outcomes[-1] == ("c2", "unknown")


# --- somebody else's imports ---------------------------------------------------------------------------


def test_a_server_that_answers_no_ping_is_busy_elsewhere() -> None:
    talk = Talk()
    talk.deaf = True
    talk.image("c1")
    talk.wait(4)
    assert not talk.conditions
    talk.wait(1)
    assert talk.conditions == ["busy_elsewhere"]
    assert not talk.sent
    talk.pong()
    assert talk.conditions[-1] == "busy"
    assert len(talk.sent) == 1


def test_this_is_found_out_while_idle_too() -> None:
    talk = Talk()
    talk.wait(60)
    assert len(talk.of(Fence)) == 4
    assert not talk.conditions
    talk.deaf = True
    talk.wait(PROBE + 5)
    assert talk.conditions == ["busy_elsewhere"]
    assert len(talk.of(Fence)) == 5
    talk.wait(1000)
    assert len(talk.of(Fence)) == 5
    talk.pong()
    assert talk.conditions == ["busy_elsewhere", ""]


def test_no_ping_of_ours_during_our_own_import() -> None:
    talk = Talk()
    talk.image()
    before = len(talk.of(Fence))
    talk.wait(590)
    assert len(talk.of(Fence)) == before


# --- what the server should not say --------------------------------------------------------------------


def test_an_unexpected_text_is_told_once_and_changes_nothing() -> None:
    talk = Talk()
    talk.say("Welcome")
    talk.say("Welcome")
    assert talk.of(Happened) == [Happened("unexpected", {"text": "Welcome"})]
    talk.image()
    talk.say("O.k.")
    assert talk.outcomes[-1] == ("c1", "done")


def test_a_binary_message_ends_the_connection() -> None:
    with pytest.raises(ProtocolError, match="text only"):
        Talk().say(b"O.k.")


def test_an_action_that_is_none() -> None:
    talk = Talk()
    talk.call("explode")
    assert talk.replies == [("c1", "rejected", "there is no action 'explode'")]


# --- connections and restarts --------------------------------------------------------------------------


def test_a_running_import_is_remembered_before_it_is_sent() -> None:
    talk = Talk()
    talk.image()
    kinds = [type(effect) for effect in talk.events]
    last = max(index for index, kind in enumerate(kinds) if kind is Remember)
    assert last < kinds.index(Send)
    assert talk.memory == {"job:c1": {"state": "running", "action": "import_image", "args": IMAGE}}


def test_after_a_restart_a_running_import_is_unknown_and_a_waiting_one_was_not_sent() -> None:
    before = Talk()
    before.image("c1")
    before.elements("c2")
    talk = Talk(memory={**before.memory, "_durable": True})
    assert talk.of(Job) == [
        Job(
            "c1",
            {
                "state": "unknown",
                "action": "import_image",
                "args": IMAGE,
                "detail": f"the connection was lost during the import: {LOOK}",
            },
            final=True,
        ),
        Job(
            "c2",
            {
                "state": "unavailable",
                "action": "import_elements",
                "args": ELEMENTS,
                "detail": "not sent: the connection was lost before its turn",
            },
            final=True,
        ),
    ]
    assert talk.happened == [("unknown", "c1"), ("unavailable", "c2")]
    assert {item.key: item.value for item in talk.of(Remember)} == {"job:c1": None, "job:c2": None}
    assert not talk.sent
    assert not talk.of(Reply)
    kinds = [type(effect) for effect in talk.events]
    assert kinds.index(Declared) < kinds.index(Job) < kinds.index(Ready)


def test_an_import_that_became_stuck_leaves_nothing_to_a_restart() -> None:
    assert set(stuck().memory) == {"job:c2"}


@pytest.mark.parametrize("kept", [1, "running", [], {}, {"state": 5, "args": 3}, None])
def test_any_memory_can_be_read(kept: None) -> None:
    talk = Talk(memory={"job:x": kept, "other": 1})
    assert all(job.data["state"] == "unknown" for job in talk.of(Job))
    talk.image()
    talk.say("O.k.")
    assert talk.outcomes[-1] == ("c1", "done")


def test_a_carried_command_is_settled() -> None:
    talk = Talk(carried=[Command("c1", "import_image")])
    assert talk.outcomes == [("c1", "unknown")]


# --- the plugin ----------------------------------------------------------------------------------------


def test_what_the_shell_is_told() -> None:
    assert plugin.ping_timeout is None
    assert plugin.frame_limit > 1 << 20
    assert plugin.explain[Trouble.HANDSHAKE].state == "busy_elsewhere"
    assert plugin.explain[Trouble.REFUSED].state == "offline"
    assert all(explanation.normal for explanation in plugin.explain.values())


def test_an_import_that_was_not_sent_makes_room_for_the_next() -> None:
    talk = Talk()
    talk.image("c1")
    talk.image("c2")
    assert len(talk.sent) == 1
    talk.take(talk.driver.unsent("c1", talk.now))
    assert ("c1", "rejected") in talk.outcomes
    assert len(talk.sent) == 2
    assert talk.take(talk.driver.unsent("c1", talk.now)) == []
    talk.say("O.k.")
    assert ("c2", "done") in talk.outcomes

"""What the genuine server said in the recordings, through the driver; and the requests that it was asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Struct

from bridge.model import Job, Json, Outcome
from tests.drivers.zeiss_inspect_talk import Talk

RECORDINGS = Path(__file__).parent.parent / "data" / "zeiss_inspect_driver"
IMPORTS = {"image": "import_image", "elements": "import_elements"}


class Exchange(Struct, frozen=True):
    scenario: str
    asked: str
    asked_at: float
    answer: str
    answered_at: float


def exchanges(name: str) -> Iterator[Exchange]:
    """Requests and answers of one recording, paired by their order on each connection."""
    waiting: dict[tuple[str, int], list[tuple[float, str]]] = {}
    for line in (RECORDINGS / f"{name}.jsonl").read_text().splitlines():
        row = json.loads(line)
        asked = waiting.setdefault((row["scenario"], row["conn"]), [])
        if row["dir"] == "c>s":
            asked.append((row["t"], row["text"]))
        elif asked:
            at, text = asked.pop(0)
            yield Exchange(row["scenario"], text, at, row["text"], row["t"])


def imports(name: str) -> Iterator[tuple[Exchange, str, dict[str, Json]]]:
    """Those that are well-formed imports, with our action and its arguments."""
    for exchange in exchanges(name):
        try:
            message = json.loads(exchange.asked)
        except ValueError:
            continue
        if isinstance(message, dict) and len(message) == 1 and set(message) <= set(IMPORTS):
            ((kind, args),) = message.items()
            if isinstance(args, dict):
                yield exchange, IMPORTS[kind], args


def test_what_we_send_is_what_was_recorded() -> None:
    same: list[str] = []
    for exchange, action, args in imports("basic"):
        talk = Talk()
        talk.call(action, **args)
        if talk.sent:
            recorded = json.loads(exchange.asked)
            if action == "import_image":
                recorded["image"]["focal_length"] = str(recorded["image"]["focal_length"])
            recorded[next(iter(recorded))]["file"] = args["file"].replace("\\", "/")  # type: ignore[union-attr]
            assert talk.sent == [recorded], exchange.scenario
            same.append(exchange.scenario)
    assert {"image_ok_new_series", "elements_clipboard", "elements_new_stage", "file_windows_forward_slashes"} <= {
        *same
    }
    assert "elements_invalid_import_mode" not in same
    assert "file_relative" not in same
    assert len(same) >= 15


OUTCOMES = {
    "image_ok_new_series": "done",
    "elements_clipboard": "done",
    "elements_invalid_import_mode": "failed",
    "image_missing_name": "rejected",
    "elements_missing_import_mode": "rejected",
    "unknown_request": "rejected",
    "non_json": "rejected",
    "file_not_found": "rejected",
    "file_nul_char": "rejected",
    "elements_file_not_found": "rejected",
    "import_fails_image_request_error": "failed",
    "import_fails_image_other_exception": "failed",
    "import_fails_elements": "failed",
    "json_string_quit_not_quitting": "unknown",
}


@pytest.mark.parametrize("scenario", OUTCOMES)
def test_what_the_answers_mean(scenario: str) -> None:
    exchange = next(exchange for exchange in exchanges("basic") if exchange.scenario == scenario)
    talk = Talk()
    talk.image()
    talk.say(exchange.answer)
    assert talk.outcomes[-1] == ("c1", OUTCOMES[scenario])


@pytest.mark.parametrize("name", ["basic", "extra", "quit", "basics", "slow5", "seq"])
def test_every_answer_settles_its_import(name: str) -> None:
    talk = Talk(max_job_timeout=86400)
    count = 0
    for exchange in exchanges(name):
        count += 1
        talk.image(f"c{count}")
        talk.say(exchange.answer, after=max(0.0, exchange.answered_at - exchange.asked_at))
        (job,) = [job for job in talk.of(Job) if job.id == f"c{count}" and job.final]
        expected = "done" if exchange.answer == "O.k." else None
        assert expected in (None, job.data["state"])
        assert (job.data["state"] == "unknown") is not exchange.answer.startswith(("O.k.", "Error:"))
    assert count
    assert len(talk.sent) == count
    assert not talk.memory


def test_the_answers_of_basics() -> None:
    talk = Talk(success="Ok")
    (exchange,) = [exchange for exchange in exchanges("basics") if exchange.scenario == "basics_ok"]
    talk.image()
    talk.say(exchange.answer)
    assert talk.outcomes[-1] == ("c1", Outcome.DONE.value)


def test_quit_as_recorded() -> None:
    exchange = next(exchange for exchange in exchanges("quit") if exchange.asked == "quit")
    talk = Talk()
    talk.call("quit")
    assert talk.sent == [exchange.asked]
    talk.say(exchange.answer)
    assert talk.outcomes == [("c1", "done")]


def test_three_imports_of_thirty_seconds_on_one_connection() -> None:
    found = [item for item in imports("seq") if item[0].scenario.startswith("three_slow30_sequential")]
    talk = Talk()
    begin = talk.now
    for number, (_, action, args) in enumerate(found[:3]):
        talk.call(action, f"c{number}", **args)
    for exchange, _, _ in found[:3]:
        talk.wait(begin + exchange.answered_at - talk.now)
        talk.say(exchange.answer)
    durations = [job.data["duration"] for job in talk.of(Job) if job.final]
    assert durations == [pytest.approx(30, abs=0.1)] * 3
    assert [outcome for _, outcome in talk.outcomes] == ["accepted"] * 3 + ["done"] * 3
    assert talk.conditions == ["busy", ""] * 3

"""A recorded device: at its time, behind what the client said, with pongs in their order, to any client."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from bridge.simulators.replay import Recording, ReplaySimulator
from bridge.simulators.replay.matching import alike, renamed
from bridge.simulators.replay.part import LEAD, PATIENCE, Part
from bridge.simulators.replay.recording import recordings
from bridge.simulators.server import serve

Spoken = tuple[float, str, str, object]


def lines(*spoken: Spoken, conn: int = 1) -> list[str]:
    """A transcript's lines, of a connection that was open at 10 s."""
    opened: Spoken = (0.0, "<", "http", {"line": "HTTP/1.1 101 X", "headers": {}})
    made = []
    for t, direction, kind, data in (opened, *spoken):
        shown = b64encode(data).decode() if isinstance(data, bytes) else data
        made.append(json.dumps({"t": 10 + t, "dir": direction, "kind": kind, "data": shown, "conn": conn}))
    return made


def recording(*spoken: Spoken) -> Recording:
    (found,) = recordings(lines(*spoken))
    return found


class Stage:
    """What the client gets."""

    def __init__(self) -> None:
        self.got: list[object] = []

    def send(self, message: str | bytes) -> None:
        self.got.append(message)

    def ping(self) -> None:
        self.got.append("a ping")

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.got.append((code, reason))

    def drop(self) -> None:
        self.got.append("the end")

    def take(self) -> list[object]:
        taken, self.got = self.got, []
        return taken


class Played:
    """A part on a stage, at times of the test's own."""

    def __init__(self, *spoken: Spoken, speed: float = 1.0) -> None:
        self.stage = Stage()
        self.part = Part(recording(*spoken), self.stage, 0.0, speed)
        self.pongs = 0

    def at(self, now: float) -> list[object]:
        self.part.play(now)
        return self.stage.take()

    def hear(self, now: float, message: str | bytes) -> list[object]:
        self.part.hear(message, now)
        return self.at(now)

    def ping(self, now: float) -> list[object]:
        self.pongs += 1
        number = self.pongs
        self.part.ping(lambda: self.stage.got.append(f"pong {number}"), now)
        return self.at(now)


# --- time and order -----------------------------------------------------------------------------------------


def test_pushes_come_at_their_times() -> None:
    played = Played((1.0, "<", "text", "a"), (1.5, "<", "binary", b"\x00"), (2.0, "<", "ping", "x"))
    assert (played.at(0.9), played.part.wake_at) == ([], 1.0)
    assert played.at(1.0) == ["a"]
    assert played.at(5.0) == [b"\x00", "a ping"]
    assert played.part.over
    fast = Played((1.0, "<", "text", "a"), speed=4.0)
    assert (fast.at(0.2), fast.at(0.25)) == ([], ["a"])


def test_an_answer_waits_for_its_request_and_what_follows_is_moved() -> None:
    played = Played((0.25, ">", "text", "?"), (0.5, "<", "text", "!"), (1.0, "<", "text", "later"))
    assert played.at(0.6) == []
    assert (played.hear(0.75, "?"), played.part.wake_at) == ([], 1.0)
    assert played.at(1.0) == ["!"]
    assert (played.at(1.4), played.at(1.5)) == ([], ["later"])
    assert not played.part.missed


def test_who_is_early_is_answered_at_the_recorded_time() -> None:
    played = Played((1.0, ">", "text", "?"), (1.2, "<", "text", "!"))
    assert played.hear(0.5, "?") == []
    assert (played.at(1.1), played.at(1.2)) == ([], ["!"])


def test_who_does_not_ask_is_not_waited_for_any_longer() -> None:
    played = Played((1.0, ">", "text", "?"), (1.2, "<", "text", "!"), (1.3, "<", "text", "more"))
    assert (played.at(1.2), played.part.wake_at) == ([], 1.0 + PATIENCE)
    assert played.at(1.0 + PATIENCE) == ["!", "more"]
    assert [line.data for line in played.part.missed] == ["?"]


# --- pongs ----------------------------------------------------------------------------------------------------

FENCE: tuple[Spoken, ...] = (
    (0.1, ">", "text", "set"),
    (0.1, ">", "ping", "7"),
    (5.0, "<", "text", "done"),
    (5.1, "<", "pong", "7"),
    (6.0, "<", "text", "push"),
)


def test_a_pong_comes_behind_the_answer_that_belongs_before_it() -> None:
    played = Played(*FENCE)
    assert played.hear(0.1, "set") + played.ping(0.1) == []
    assert played.at(5.0) == ["done"]
    assert played.at(5.1) == ["pong 1"]


def test_a_ping_that_the_recording_does_not_have_waits_for_what_is_owed_and_no_longer() -> None:
    played = Played(*FENCE)
    assert played.ping(0.0) == ["pong 1"], "nothing was asked before it"
    assert played.hear(0.1, "set") + played.ping(0.1) + played.ping(0.2) == []
    assert played.at(5.0) == ["done", "pong 3"]
    assert played.at(5.1) == ["pong 2"]
    assert played.ping(5.2) == ["pong 4"]
    assert played.at(7.0) == ["push"]


def test_a_keepalive_that_comes_late_does_not_take_the_fences_place() -> None:
    played = Played(
        (0.1, ">", "ping", "1"),
        (0.2, "<", "pong", "1"),
        (0.5, ">", "ping", "2"),
        (0.6, "<", "pong", "2"),
        (0.7, ">", "text", "set"),
        (0.7, ">", "ping", "3"),
        (0.8, "<", "pong", "3"),
    )
    played.at(0.3)
    assert played.ping(0.4) == []
    assert played.at(0.6) == ["pong 1"]
    assert played.ping(0.6) == ["pong 2"], "the request before the third ping has not come"


# --- requests elsewhere -----------------------------------------------------------------------------------------

POLLED: tuple[Spoken, ...] = (
    (0.0, ">", "text", '{"do": "state", "request_id": "a/1"}'),
    (0.1, "<", "text", '{"request_id": "a/1", "state": 1}'),
    (10.0, ">", "text", '{"do": "state", "request_id": "a/2"}'),
    (10.0, ">", "text", '{"do": "info", "request_id": "a/3"}'),
    (10.1, "<", "text", '{"request_id": "a/3", "info": 3}'),
    (10.2, "<", "text", '{"request_id": "a/2", "state": 2}'),
)


def test_a_request_that_is_not_expected_now_is_answered_as_it_was() -> None:
    played = Played(*POLLED)
    played.hear(0.0, '{"do":"state","request_id":"b/1"}')
    assert played.at(0.1) == ['{"request_id": "b/1", "state": 1}']
    assert played.hear(3.0, '{"do": "state", "request_id": "b/2"}') == ['{"request_id": "b/2", "state": 1}']
    assert played.hear(3.0, '{"do": "info", "request_id": "b/3"}') == ['{"request_id": "b/3", "info": 3}']
    assert played.hear(3.0, '{"do": "else", "request_id": "b/4"}') == []
    assert played.part.strangers == ['{"do": "else", "request_id": "b/4"}']
    played.hear(10.0 - LEAD, '{"request_id": "b/5", "do": "state"}')
    assert played.at(11.0) == ['{"request_id": "a/3", "info": 3}', '{"request_id": "b/5", "state": 2}']


def test_binary_requests_and_a_loop() -> None:
    played = Played((0.0, ">", "binary", b"\x01"), (0.1, "<", "binary", b"\x02"))
    played.hear(0.0, b"\x01")
    assert played.at(0.1) == [b"\x02"]
    assert played.part.over
    played.part.again(5.0)
    assert (played.at(5.0), played.at(5.1)) == ([], [b"\x02"])


def test_secrets_that_were_taken_out_fit_all() -> None:
    recorded = '{"login": {"user": "me", "pw": "***"}, "text": "with *** in it"}'
    assert alike(recorded, '{"login": {"user": "me", "pw": 5}, "text": "with a\\nsecret in it"}') == {}
    assert alike(recorded, '{"login": {"user": "you", "pw": "x"}, "text": "with a secret in it"}') is None
    assert alike("login ***", "login abc") == {}
    assert alike("[1]", "[1, 2]") is None


@given(st.text(), st.integers(), st.text(min_size=1))
def test_an_answer_gets_the_id_that_was_asked_with(old: str, number: int, new: str) -> None:
    for recorded in (old, number):
        answer = json.dumps({"id": recorded, "value": {"deep": recorded}})
        given_id = new if isinstance(recorded, str) else number + 1
        ids = alike(json.dumps({"id": recorded, "do": 1}), json.dumps({"do": 1, "id": given_id}))
        assert ids is not None
        assert json.loads(renamed(answer, ids)) == {"id": given_id, "value": {"deep": recorded}}


# --- the file ---------------------------------------------------------------------------------------------------


def test_a_recording_ends_where_one_side_left() -> None:
    client = recording((1.0, "<", "text", "a"), (2.0, ">", "close", {"code": 1000}), (2.1, "<", "close", {}))
    assert [line.data for line in client.lines] == ["a"]
    device = Played((1.0, "<", "close", {"code": 4001, "reason": "enough"}), (1.1, ">", "close", {}))
    assert device.at(2.0) == [(4001, "enough")]
    assert Played((1.0, "<", "close", {"code": 1005, "reason": ""})).at(2.0) == [(1000, "")]
    assert Played((1.0, "<", "end", None)).at(2.0) == ["the end"]


@pytest.mark.parametrize("line", ["no JSON", "[]", '{"t": 1}', '{"t":0,"dir":"<","kind":"binary","data":"?"}'])
def test_what_is_no_transcript_is_named_by_its_line(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        recordings(["", line])


# --- on a socket ------------------------------------------------------------------------------------------------


async def received(url: str, *messages: str) -> Sequence[object]:
    """What a client gets who says this, up to the end of the connection."""
    heard: list[object] = []
    async with connect(url) as client:
        for message in messages:
            await client.send(message)
        try:
            while True:
                heard.append(await client.recv())
        except ConnectionClosed as error:
            return [*heard, error.rcvd.code if error.rcvd else None]


@pytest.mark.asyncio
async def test_each_client_gets_the_next_connection_and_then_the_last_again() -> None:
    refused = {"line": "HTTP/1.1 409 X", "headers": {}, "body": "in use"}
    text = [
        *lines((0.0, ">", "text", "?"), (0.1, "<", "text", "1"), (0.2, "<", "end", None)),
        json.dumps({"t": 20, "dir": "<", "kind": "http", "data": refused, "conn": 2}),
        *lines((0.0, "<", "text", "3"), (0.1, "<", "close", {"code": 4000, "reason": ""}), conn=3),
    ]
    async with serve(ReplaySimulator(recordings(text), speed=2.0)) as server:
        assert await received(f"{server.url}/any", "?") == ["1", None]
        with pytest.raises(InvalidStatus, match="409"):
            await connect(server.url)
        assert await received(server.url) == ["3", 4000]
        assert await received(server.url) == ["3", 4000]


@pytest.mark.asyncio
async def test_the_connection_stays_when_all_is_said_and_pings_are_answered() -> None:
    simulator = ReplaySimulator([recording((0.0, "<", "text", "all"))])
    async with serve(simulator) as server, connect(server.url) as client:
        assert await client.recv() == "all"
        await asyncio.wait_for(await client.ping(), 5.0)
        await client.send("what else?")
        await asyncio.wait_for(await client.ping(), 5.0)
        assert simulator.state() == {"clients": 1, "over": [True], "missed": [], "strangers": ["what else?"]}

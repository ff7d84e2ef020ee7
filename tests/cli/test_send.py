"""`send`: what the words mean, the answers, and an exit code for each outcome."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import pytest

from bridge.cli.send import CODES, Wish, envelope, understood
from bridge.model import Outcome
from tests.cli.running import Ended, bridge, ended, run, scripted, start

POINTS: dict[str, dict[str, object]] = {
    "do/1_01": {"kind": "switch"},
    "note": {"kind": "text"},
    "pulse": {
        "kind": "action",
        "arguments": [
            {"name": "point", "type": "point"},
            {"name": "seconds", "type": "number"},
            {"name": "rows", "type": "array"},
            {"name": "what", "type": "any"},
        ],
    },
}


@pytest.mark.parametrize(
    ("words", "verb", "key", "fields"),
    [
        (["io", "do/1_01", "ON"], "set", "do/1_01", {"value": "ON"}),
        (["io/set/do/1_01", "5"], "set", "do/1_01", {"value": "5"}),
        (["io", "note", "a=b"], "set", "note", {"value": "a=b"}),
        (["io", "note", '{"x": 1}'], "set", "note", {"value": '{"x": 1}'}),
        (["io", "unheard_of", "1"], "set", "unheard_of", {"value": "1"}),
        (["io", "unheard_of"], "call", "unheard_of", {"args": {}}),
        (["io", "pulse"], "call", "pulse", {"args": {}}),
        (["io", "pulse", "point=ro/2", "seconds=3"], "call", "pulse", {"args": {"point": "ro/2", "seconds": "3"}}),
        (["io", "pulse", "rows=[1, 2]", "what=x"], "call", "pulse", {"args": {"rows": [1, 2], "what": "x"}}),
        (["io", "pulse", "what=1.5"], "call", "pulse", {"args": {"what": 1.5}}),
        (["io", "pulse", '{"seconds": 3}'], "call", "pulse", {"args": {"seconds": 3}}),
        (["io/call/unheard_of", "a=b=c"], "call", "unheard_of", {"args": {"a": "b=c"}}),
    ],
)  # fmt: skip
def test_words_become_a_command(words: list[str], verb: str, key: str, fields: dict[str, object]) -> None:
    assert understood(words, POINTS) == Wish("io", verb, key, fields)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["io"], "what to send"),
        (["io/state/do/1_01", "ON"], "DEVICE/set/KEY"),
        (["io/set", "ON"], "DEVICE/set/KEY"),
        (["io", "do/1_01"], "one value"),
        (["io", "do/1_01", "1", "2"], "one value"),
        (["io", "pulse", "seconds"], "NAME=VALUE"),
        (["io", "pulse", "=3"], "NAME=VALUE"),
        (["io", "pulse", '{"seconds": }'], "not valid JSON"),
        (["io", "pulse", "rows=[1"], "no JSON array"),
    ],
)
def test_words_that_mean_nothing(words: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        understood(words, POINTS)


def test_the_envelope_says_what_was_asked_for() -> None:
    options = Namespace(expires=2.0, timeout=None, expect="OFF")
    assert json.loads(envelope(Wish("io", "set", "do/1_01", {"value": "ON"}), options, "x1")) == {
        "value": "ON", "id": "x1", "expires": 2.0, "expect": "OFF",
    }  # fmt: skip
    with pytest.raises(ValueError, match="--expect"):
        envelope(Wish("io", "call", "pulse", {"args": {}}), options, "x1")


def test_every_outcome_has_its_code() -> None:
    assert CODES.keys() == {outcome.value for outcome in Outcome if outcome.final}


# --- with a simulated instrument ----------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_outcomes_of_an_instrument_that_works(tmp_path: Path) -> None:
    async with bridge() as running:

        async def send(*words: str) -> tuple[int, str]:
            found = await run("send", "--mqtt", running.url, *words)
            assert found.err == ""
            return found.code, found.out

        assert await send("unipi", "do/1_01", "ON") == (0, "done: it is ON\n")
        assert await send("unipi/set/do/1_01", "OFF") == (0, "done: it is OFF\n")
        assert await send("unipi", "pulse", "point=do/1_02", "seconds=0.1") == (
            0,
            "accepted: do/1_02 is ON\ndone\n",
        )
        assert await send("unipi", "do/1_01", "maybe") == (11, "rejected: 'maybe' is neither ON nor OFF\n")
        assert await send("unipi", "nope", "1") == (11, "rejected: there is no point 'nope'\n")
        code, out = await send("unipi", "do/1_01", "ON", "--expect", "ON")
        assert (code, out.partition(":")[0]) == (11, "rejected")
        code, out = await send("unipi", "do/1_01", "ON", "--json", "--id", "once")
        first = json.loads(out)
        assert (code, first["id"], first["value"]) == (0, "once", True)
        code, out = await send("unipi", "do/1_01", "ON", "--json", "--id", "once")
        assert (code, json.loads(out)) == (0, first)

        file = tmp_path / "lab2mqtt.toml"
        file.write_text(running.configuration)
        found = await run("send", "-c", str(file), "unipi", "do/1_01", "OFF")
        assert (found.code, found.out) == (0, "done: it is OFF\n")


@pytest.mark.asyncio
async def test_outcomes_of_an_instrument_in_trouble() -> None:
    async with bridge() as running:
        url = running.url
        running.server.faults.stall()
        first = await start("send", "--mqtt", url, "unipi", "do/1_01", "ON", "--timeout", "3")
        await running.ear.until("lab2mqtt/unipi/set/do/1_01")
        older = await start("send", "--mqtt", url, "unipi", "do/1_02", "ON", "--expires", "20")
        await running.ear.until("lab2mqtt/unipi/set/do/1_02")
        late = await start("send", "--mqtt", url, "unipi", "do/1_02", "OFF", "--expires", "0.2")
        assert brief(await ended(older)) == (12, "superseded")
        assert brief(await ended(late)) == (12, "expired")
        assert brief(await ended(first)) == (14, "unknown")

        running.server.faults.refuse(None)
        running.server.faults.drop()
        await running.ear.until("lab2mqtt/unipi/status", "offline", since=len(running.ear.heard))
        assert brief(await run("send", "--mqtt", url, "unipi", "do/1_01", "ON")) == (13, "unavailable")


def brief(found: Ended) -> tuple[int, str]:
    assert found.err == ""
    return found.code, found.out.strip().partition(":")[0]


# --- with bridges that do what instruments seldom do ----------------------------------------------------------


@pytest.mark.asyncio
@pytest.mark.parametrize("where", ["response", "reply"])
async def test_a_failure_after_an_acceptance(where: str) -> None:
    answers: list[dict[str, object]] = [
        {"outcome": "accepted", "final": False, "detail": "scanning"},
        {"outcome": "failed", "final": True, "detail": "no light", "data": {"rows": 3}},
    ]
    async with scripted([*answers], where=where) as url:
        found = await run("send", "--mqtt", url, "cell", "scan")
    assert (found.code, found.out) == (10, 'accepted: scanning\nfailed: no light: {"rows": 3}\n')


@pytest.mark.asyncio
async def test_accepted_and_never_ended_is_unknown() -> None:
    async with scripted([{"outcome": "accepted", "final": False}]) as url:
        found = await run("send", "--mqtt", url, "cell", "scan", "--wait", "0.5")
    assert (found.code, found.out) == (14, "accepted\n")
    assert "not at its end" in found.err


@pytest.mark.asyncio
async def test_nobody_answers() -> None:
    async with scripted([]) as url:
        silent = await run("send", "--mqtt", url, "cell", "scan", "--wait", "0.5")
        absent = await run("send", "--mqtt", url, "nobody", "scan")
    async with scripted([], status="offline") as url:
        offline = await run("send", "--mqtt", url, "cell", "scan")
    gone = await run("send", "--mqtt", url, "cell", "scan")
    assert [found.code for found in (silent, absent, offline, gone)] == [15] * 4
    assert "no answer within 0.5 s" in silent.err
    assert "'nobody'" in absent.err
    assert "is offline" in offline.err
    assert "nobody listens there" in gone.err
    assert not any("Traceback" in found.err for found in (silent, absent, offline, gone))


@pytest.mark.asyncio
@pytest.mark.parametrize(
    "words",
    [[], ["--mqtt", "http://x", "io", "do/1_01", "1"], ["--wait", "0", "io", "do", "1"], ["--wait", "x", "io"]],
)
async def test_wrong_use(words: list[str]) -> None:
    assert (await run("send", *words)).code == 64


@pytest.mark.asyncio
async def test_a_configuration_and_a_url_contradict_each_other(tmp_path: Path) -> None:
    file = tmp_path / "lab2mqtt.toml"
    file.write_text('[bridge]\nid = "gw"\n')
    found = await run("send", "-c", str(file), "--mqtt", "mqtt://localhost", "io", "do/1_01", "ON")
    assert found.code == 64
    assert "not from both" in found.err

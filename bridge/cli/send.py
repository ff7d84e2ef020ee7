"""`lab2mqtt send`: one command, its answers, and an exit code that says what came of it."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bridge.cli import Exit, client
from bridge.cli.stop import seconds

if TYPE_CHECKING:
    import asyncio

    from bridge.cli.asking import Declared
    from bridge.mqtt import Message

CODES = {
    "done": Exit.OK,
    "failed": 10,
    "rejected": 11,
    "expired": 12,
    "superseded": 12,
    "unavailable": 13,
    "unknown": 14,
}
UNKNOWN = CODES["unknown"]
WAIT = 30.0  # seconds

_EPILOG = """\
examples:
  lab2mqtt send io do/1_01 ON                                    set a point
  lab2mqtt send io pulse point=ro/2_01 seconds=3                 do an action, with arguments
  lab2mqtt send io pulse '{"point": "ro/2_01", "seconds": 3}'    the same
  lab2mqtt send io/set/do/1_01 ON                                as the topic says it

exit codes: 0 done, 10 failed, 11 rejected, 12 expired or superseded, 13 unavailable, 14 unknown,
            15 no bridge answered, 64 wrong use of the command, 78 bad configuration

`unknown` means that it was sent and nobody knows what came of it: look before you repeat it. After 15 and after 14
the command may still be carried out. A command repeated with the same --id within ten minutes is not carried out
again; the answer it got is.
"""


@dataclass(frozen=True, slots=True)
class Wish:
    """A command on its way: `verb` is set or call."""

    device: str
    verb: str
    key: str
    fields: Mapping[str, object]  # of the envelope: value or args


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = subparsers.add_parser(
        "send",
        help="send one command, wait for its answer",
        usage="lab2mqtt send [options] DEVICE KEY [VALUE | NAME=VALUE ... | JSON]",
        description="Sends one command over MQTT, prints its answers, and says what came of it by its exit code.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("words", nargs="+", metavar="WORD", help="device, key of a point or action, what to do")
    client.add_broker(parser)
    parser.add_argument("--id", help="the command's id (made at random)")
    parser.add_argument("--expires", type=seconds, metavar="SECONDS", help="not sent to the device after that (5)")
    parser.add_argument("--timeout", type=seconds, metavar="SECONDS", help="then it is `unknown` (the point's)")
    parser.add_argument("--expect", metavar="VALUE", help="only if this is the present value")
    parser.add_argument("--wait", type=seconds, default=WAIT, metavar="SECONDS", help="for its answers (30)")
    parser.add_argument("--json", action="store_true", help="print the answers as they came, one a line")
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    return client.run(_send(options))


async def _send(options: argparse.Namespace) -> int:
    import asyncio
    import secrets

    from bridge.cli.asking import ask
    from bridge.ends import explain
    from bridge.mqtt import Filter, Meta, MqttError
    from bridge.topics import Topics

    settings = client.settings(options)
    connection = client.connection(settings, "send")
    topics = Topics(settings.bridge.root, settings.bridge.id)
    answers: asyncio.Queue[Message] = asyncio.Queue()
    try:
        async with client.Client(connection, settings.bridge.response_prefix, answers.put_nowait) as mqtt:
            device = options.words[0].partition("/")[0]
            known = await ask(mqtt, topics, device)
            try:
                wish = understood(options.words, known.points)
                text = envelope(wish, options, id_ := options.id or secrets.token_hex(8))
            except ValueError as error:
                options.wrong_use(str(error))
            await mqtt.subscribe([Filter(mqtt.answers), Filter(topics.reply(wish.device, wish.key))])
            topic = f"{topics.root}/{wish.device}/{wish.verb}/{wish.key}"
            mqtt.publish(topic, text, Meta(response_topic=mqtt.answers, correlation=id_.encode()))
            return await _answered(mqtt, answers, id_, options)
    except (OSError, MqttError) as error:
        where = f"{connection.host}:{connection.port}"
        raise client.NoAnswerError(f"the broker at {where}: {explain(error)}") from None


async def _answered(
    mqtt: client.Client, answers: asyncio.Queue[Message], id_: str, options: argparse.Namespace
) -> int:
    """Print the answers with this id; the exit code of the final one."""
    import asyncio

    accepted = False
    try:
        async with asyncio.timeout(options.wait):
            while True:
                answer = await _next(mqtt, answers)
                if answer.get("id") != id_:
                    continue
                print(_line(answer, options), flush=True)
                if answer.get("final") is True:
                    return CODES.get(str(answer.get("outcome")), UNKNOWN)
                accepted = True
    except TimeoutError:
        if accepted:
            print(f"lab2mqtt: accepted, and not at its end after {options.wait:g} s", file=sys.stderr)
            return UNKNOWN
        raise client.NoAnswerError(f"no answer within {options.wait:g} s") from None


async def _next(mqtt: client.Client, answers: asyncio.Queue[Message]) -> Mapping[str, object]:
    """The next answer, or {} for what is none; NoAnswerError when the connection has gone."""
    import asyncio

    waiting = asyncio.ensure_future(answers.get())
    try:
        ends: list[asyncio.Future[Message] | asyncio.Future[Exception | None]] = [waiting, mqtt.mqtt.closed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if not waiting.done():
            raise client.NoAnswerError("the connection with the broker was lost; the command may be carried out")
        decoded = json.loads(waiting.result().payload)
    except ValueError:
        return {}
    finally:
        waiting.cancel()
    return decoded if isinstance(decoded, dict) else {}


def _line(answer: Mapping[str, object], options: argparse.Namespace) -> str:
    if options.json:
        return json.dumps(answer, ensure_ascii=False)
    told = [str(answer.get("outcome"))]
    if "value" in answer:
        told.append(f"it is {_shown(answer['value'])}")
    if answer.get("detail"):
        told.append(str(answer["detail"]))
    if "data" in answer:
        told.append(json.dumps(answer["data"], ensure_ascii=False))
    return ": ".join(told)


def _shown(value: object) -> str:
    """A value as a person would send it."""
    return ("ON" if value else "OFF") if isinstance(value, bool) else json.dumps(value, ensure_ascii=False)


# --- from words to a command -------------------------------------------------------------------------------


def understood(words: Sequence[str], points: Mapping[str, Declared]) -> Wish:
    """What the words on the command line mean; ValueError says why they mean nothing.

    Whether a key is set or called is known from the device's points; of an unknown one the words decide, and the
    bridge says what is wrong with it.
    """
    device, _, rest = words[0].partition("/")
    verb, _, key = rest.partition("/")
    if rest:
        if verb not in ("set", "call") or not key:
            raise ValueError("expected DEVICE KEY, DEVICE/set/KEY or DEVICE/call/ACTION")
        given = words[1:]
    elif len(words) > 1:
        key, given = words[1], words[2:]
        kind = points[key].get("kind") if key in points else "action" if len(given) != 1 else None
        verb = "call" if kind == "action" else "set"
    else:
        raise ValueError("expected what to send: a key of the device and a value or arguments")
    if verb == "call":
        return Wish(device, verb, key, {"args": _arguments(given, points.get(key, {}))})
    if len(given) != 1:
        raise ValueError(f"{key} is set to one value, and {len(given)} are given")
    return Wish(device, verb, key, {"value": given[0]})  # as text: the point reads it by its kind


def _arguments(words: Sequence[str], action: Declared) -> Mapping[str, object]:
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            decoded = json.loads(words[0])
        except ValueError as error:
            raise ValueError(f"the arguments are not valid JSON: {error}") from None
        return dict(decoded)
    declared = action.get("arguments")
    types = {str(one.get("name")): one.get("type") for one in (declared if isinstance(declared, list) else ())}
    found: dict[str, object] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise ValueError(f"{word!r} is no argument: expected NAME=VALUE or one JSON object")
        found[name] = _argument(text, types.get(name))
    return found


def _argument(text: str, kind: object) -> object:
    """Numbers, booleans and texts are read by the bridge; what has structure is JSON."""
    if kind not in ("object", "array", "any"):
        return text
    try:
        return json.loads(text)
    except ValueError:
        if kind == "any":
            return text
        raise ValueError(f"{text!r} is no JSON {kind}") from None


def envelope(wish: Wish, options: argparse.Namespace, id_: str) -> bytes:
    """The payload (CONTRACT, "Commands"); ValueError for what only a `set` takes."""
    fields: dict[str, object] = {**wish.fields, "id": id_}
    for name in ("expires", "timeout", "expect"):
        if (value := getattr(options, name)) is not None:
            fields[name] = value
    if wish.verb == "call" and "expect" in fields:
        raise ValueError("--expect is for points that are set")
    return json.dumps(fields, ensure_ascii=False).encode()

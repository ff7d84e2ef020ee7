"""`simulate`: every simulator by its name, its options, its control path, and its end."""

from __future__ import annotations

import asyncio
import inspect
import re
import signal
import urllib.request

import pytest

from bridge import plugins
from bridge.cli.main import main
from bridge.cli.simulate import INSTRUMENTS, options_of
from bridge.settings_models import ID_PATTERN
from bridge.simulators.mqtt_broker import Broker
from tests.cli.running import ended, read_until, start

instruments = pytest.mark.parametrize("name", INSTRUMENTS)


@instruments
def test_each_is_named_like_its_driver_and_can_be_shown(name: str) -> None:
    instrument = INSTRUMENTS[name]
    assert name in plugins.names()
    assert re.fullmatch(ID_PATTERN, instrument.device)
    assert instrument.path.startswith("/")
    inspect.signature(instrument.simulator).bind(**instrument.demo)


@instruments
def test_each_option_of_the_simulator_is_one_of_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = options_of(name, INSTRUMENTS[name])
    parameters = inspect.signature(INSTRUMENTS[name].simulator).parameters
    defaults = vars(parser.parse_args([]))
    assert defaults == {"host": "127.0.0.1", "port": 0, **{key: one.default for key, one in parameters.items()}}
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", name, "--help"])
    assert stopped.value.code == 0
    told = capsys.readouterr().out
    assert all(f"--{key.replace('_', '-')}" in told for key in parameters)


def test_options_are_read_by_their_type() -> None:
    given = options_of("evok", INSTRUMENTS["evok"]).parse_args(
        ["--rate", "5", "--slow-every", "2", "--no-lively", "--busy", "--absent", "IAQ"]
    )
    assert (given.rate, given.slow_every, given.lively, given.busy, given.absent) == (5.0, 2, False, True, "IAQ")


@pytest.mark.parametrize(
    "words",
    [
        ["nothing"],
        ["evok", "--port", "70000"],
        ["evok", "--port", "many"],
        ["evok", "--rate", "fast"],
        ["evok", "--absent", "nobody"],
        ["evok", "--nonsense"],
        [],
    ],
)
def test_wrong_use(words: list[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", *words])
    assert stopped.value.code == 64


@pytest.mark.asyncio
async def test_a_port_that_is_taken_is_wrong_use() -> None:
    async with Broker() as other:
        found = await ended(await start("simulate", "evok", "--port", str(other.port)))
    assert found.code == 64
    assert "in use" in found.err
    assert "Traceback" not in found.err


@pytest.mark.asyncio
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_it_says_where_it_is_and_ends_when_asked(number: signal.Signals) -> None:
    process = await start("simulate", "evok", "--port", "0")
    told = await read_until(process, "Ctrl-C")
    assert re.search(r"ws://127\.0\.0\.1:\d+/ws", told)
    control = re.findall(r"curl (\S+)", told)
    assert [url.partition("/_")[2] for url in control] == ["fault", "fault/drop", "state"]
    for url in control:
        assert await asyncio.to_thread(_get, url) == 200
    process.send_signal(number)
    assert (await ended(process)).code == 0


def _get(url: str) -> int:
    with urllib.request.urlopen(url, timeout=5) as response:
        status: int = response.status
        return status

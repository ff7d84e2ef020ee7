"""Logging: one format for all, the right one for the reader, and nothing in it that is called a secret."""

from __future__ import annotations

import io
import json
import logging
import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from bridge import log
from bridge.log_limits import BURST

PLANTED = "planted-s3cret"


class Terminal(io.FileIO):
    """A file that says it is a terminal, because not every container can make one."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, show = root.handlers, root.level, warnings.showwarning
    yield
    logging.captureWarnings(False)
    root.handlers, warnings.showwarning = handlers, show
    root.setLevel(level)
    for name in ("websockets", "asyncio"):
        logging.getLogger(name).setLevel(logging.NOTSET)
    structlog.reset_defaults()


def written(form: log.Form, level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    log.configure(level, form, stream=stream, environ={})
    return stream


def test_our_records_and_those_of_libraries_are_json_of_one_kind() -> None:
    stream = written("json")
    structlog.get_logger("bridge.x").info("started", device="io")
    logging.getLogger("paho").warning("no answer from %s", "10.0.0.5", extra={"attempt": 3})
    ours, foreign = map(json.loads, stream.getvalue().splitlines())
    assert ours.keys() == {"event", "level", "logger", "timestamp", "device"}
    assert foreign.keys() == {"event", "level", "logger", "timestamp", "attempt"}
    assert (foreign["event"], foreign["level"], foreign["logger"]) == (
        "no answer from 10.0.0.5",
        "warning",
        "paho",
    )
    assert ours["timestamp"].endswith("Z")


def test_the_device_of_a_task_is_in_every_record() -> None:
    stream = written("json")
    with structlog.contextvars.bound_contextvars(device="io"):
        logging.getLogger("websockets").warning("gone")
    assert json.loads(stream.getvalue())["device"] == "io"


def test_the_level_holds_and_follows_a_reload() -> None:
    logger = structlog.get_logger("bridge.x")
    stream = written("json", "warning")
    logger.info("no")
    assert stream.getvalue() == ""
    stream = written("json", "debug")
    logger.debug("yes")
    assert json.loads(stream.getvalue())["event"] == "yes"


def test_websockets_never_writes_frames() -> None:
    stream = written("json", "debug")
    logging.getLogger("websockets.client").debug("> Authorization: Basic %s", PLANTED)
    assert stream.getvalue() == ""


def test_warnings_are_records_too() -> None:
    stream = written("json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert "old" in json.loads(stream.getvalue())["event"]


@pytest.mark.parametrize("form", ["json", "console", "journal"])
def test_no_form_shows_secrets(form: log.Form) -> None:
    stream = written(form)
    logger = structlog.get_logger("bridge.x")
    logger.info(
        f"connecting to wss://me:{PLANTED}@host/ws",
        password=PLANTED,
        mqtt={"Password": PLANTED, "headers": {"Authorization": PLANTED}},
        tries=[{"api_key": PLANTED}, f"ws://me:{PLANTED}@host"],
    )
    logging.getLogger("foreign").error("no %s", f"ws://me:{PLANTED}@host", extra={"token": PLANTED})
    hidden = PLANTED  # a local variable of a traceback
    try:
        raise ValueError(len(hidden))
    except ValueError:
        logger.exception("a bug")
        logging.getLogger("foreign").exception("a bug")
    assert PLANTED not in stream.getvalue()
    assert stream.getvalue().count("a bug") == 2
    assert "test_log.py" in stream.getvalue(), "a traceback says where"


@pytest.mark.parametrize("form", ["json", "console", "journal"])
def test_known_secrets_are_masked_wherever_they_stand(form: log.Form) -> None:
    stream = written(form)
    logger = structlog.get_logger("bridge.x")
    log.hide([PLANTED, f"{PLANTED}-longer", "abc"])
    try:
        logger.warning(f"the peer said {PLANTED}-longer", frames=[f"abc {PLANTED}"])
        logging.getLogger("foreign").warning("no %s", PLANTED)
        try:
            raise ValueError(f"refused: {PLANTED}")
        except ValueError:
            logger.exception("a bug")
    finally:
        log.hide([])
    assert PLANTED not in stream.getvalue()
    assert "abc" in stream.getvalue(), "a short one would mask words"
    assert "longer" not in stream.getvalue()


def test_a_warning_without_end_is_told_a_few_times_and_summed_up() -> None:
    stream = written("json")
    logger = structlog.get_logger("bridge.x")
    for number in range(1000):
        logger.warning("turned down", topic=f"t/{number}")
        logger.info("audited")
    lines = [json.loads(line)["event"] for line in stream.getvalue().splitlines()]
    assert lines.count("turned down") == BURST
    assert lines.count("audited") == 1000


def test_the_journal_gets_its_level_at_the_head_of_every_line() -> None:
    stream = written("journal")
    structlog.get_logger("bridge.x").warning("careful", device="io")
    try:
        raise ValueError("two\nlines")
    except ValueError:
        structlog.get_logger("bridge.x").exception("a bug")
    first, *others = stream.getvalue().splitlines()
    assert first.startswith("<4>careful")
    assert first.endswith("[bridge.x] device=io")
    assert len(others) > 3
    assert all(line.startswith("<3>") for line in others)


def test_the_form_suits_the_reader(tmp_path: Path) -> None:
    assert log.suitable(io.StringIO(), {}) == "json"
    with (tmp_path / "log").open("w") as file:
        status = os.fstat(file.fileno())
        assert log.suitable(file, {}) == "json"
        assert log.suitable(file, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}) == "journal"
        assert log.suitable(file, {"JOURNAL_STREAM": "1:2"}) == "json"  # inherited, and redirected since
    with io.TextIOWrapper(Terminal(tmp_path / "terminal", "w")) as terminal:
        assert log.suitable(terminal, {}) == "console"

"""Logging: one way out for our own records and those of the libraries; JSON, console or journal; no secrets."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Literal, TextIO

import structlog
from structlog.tracebacks import ExceptionDictTransformer
from structlog.typing import EventDict, Processor, WrappedLogger

from bridge.log_limits import Repeats
from bridge.secret_names import NAME as SECRET_NAME

Form = Literal["auto", "console", "json", "journal"]

MASK = "***"
SHORTEST = 5  # characters of a secret that is masked wherever it stands
_hidden: re.Pattern[str] | None = None
_URL_USER = re.compile(r"(?<=://)[^/\s]+(?=@)")
# syslog's numbers, as sd-daemon(3) wants them at the head of a line
_JOURNAL_LEVEL = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
# At debug level these write whole frames and handshakes, credentials and all.
_TALKATIVE = ("websockets", "asyncio")


def configure(
    level: str = "info",
    form: Form = "auto",
    *,
    stream: TextIO | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Send everything from `level` up to `stream` (stderr). May be called again after a reload."""
    stream = sys.stderr if stream is None else stream
    if form == "auto":
        form = suitable(stream, os.environ if environ is None else environ)
    handler = logging.StreamHandler(stream)
    handler.addFilter(Repeats())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=_shared(form),
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(form, stream)],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(max(root.level, logging.INFO))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared(form),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # a logger made before this call, or before a reload, follows it
    )


def suitable(stream: TextIO, environ: Mapping[str, str]) -> Form:
    """What this stream is read by: the journal, a person, or a program."""
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return "json"
    if environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}":
        return "journal"
    return "console" if stream.isatty() else "json"


def hide(secrets: Iterable[str]) -> None:
    """These are masked wherever they stand in a line, until others are given. Short ones would mask words."""
    global _hidden  # noqa: PLW0603  (there is one log, and what it must not tell)
    forms = sorted({re.escape(secret) for secret in secrets if len(secret) >= SHORTEST}, key=len, reverse=True)
    _hidden = re.compile("|".join(forms)) if forms else None


def sum_up() -> None:
    """Tell of lines that were held back and are not repeated any more. To be called every few seconds."""
    for handler in logging.getLogger().handlers:
        for limit in handler.filters:
            if isinstance(limit, Repeats):
                for record in limit.due():
                    handler.acquire()  # as `handle` does, which would ask the filter again
                    handler.emit(record)
                    handler.release()


def redact(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Mask what is called like a secret or is one that is known, and user and password in any URL."""
    return {key: _masked(key, value) for key, value in event.items()}


def _masked(key: object, value: object) -> object:
    if isinstance(key, str) and SECRET_NAME.search(key) and value is not None:
        return MASK
    match value:
        case str():
            value = value if _hidden is None else _hidden.sub(MASK, value)
            return _URL_USER.sub(MASK, value) if "@" in value else value
        case Mapping():
            return {name: _masked(name, item) for name, item in value.items()}
        case list() | tuple():
            return [_masked("", item) for item in value]
    return value


def _shared(form: Form) -> list[Processor]:
    """What every record goes through, wherever it comes from."""
    stamp: list[Processor] = [] if form == "journal" else [structlog.processors.TimeStamper(fmt="iso", utc=True)]
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.stdlib.ExtraAdder(),
        structlog.processors.StackInfoRenderer(),
        *stamp,
    ]


def _renderer(form: Form, stream: TextIO) -> list[Processor]:
    """From the event to the line. Tracebacks never show local variables: passwords are among them."""
    if form == "json":
        trace = structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False))
        return [trace, redact, structlog.processors.JSONRenderer(ensure_ascii=False)]
    console = structlog.dev.ConsoleRenderer(
        colors=form == "console" and stream.isatty(), exception_formatter=structlog.dev.plain_traceback
    )
    if form == "journal":
        return [structlog.processors.format_exc_info, redact, _JournalRenderer(console)]
    return [structlog.processors.format_exc_info, redact, console]


class _JournalRenderer:
    """Every line of a record begins with its level, because the journal makes an entry of each line."""

    def __init__(self, render: structlog.dev.ConsoleRenderer) -> None:
        self._render = render

    def __call__(self, logger: WrappedLogger, name: str, event: MutableMapping[str, object]) -> str:
        head = f"<{_JOURNAL_LEVEL.get(str(event.pop('level', 'info')), 6)}>"
        text = self._render(logger, name, event)
        return "\n".join(head + line for line in text.splitlines())

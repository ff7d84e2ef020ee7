"""The command line: one module per family of commands, and the exit codes that all of them share."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """What a command tells its caller; `send` adds its own from 10 on (CONTRACT, "Configuration")."""

    OK = 0
    FAULT = 1  # ours
    USAGE = 64  # the command was used wrongly
    NOT_INSTALLED = 69
    CONFIGURATION = 78
    INTERRUPTED = 130


class NotInstalledError(Exception):
    """Something that this command needs is not installed. One sentence that says what to do about it."""

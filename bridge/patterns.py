"""Patterns over keys of points, as they stand in the configuration: `*`, `?` and `[...]`, or the very key."""

from __future__ import annotations

from fnmatch import fnmatchcase


def matches(pattern: str, key: str) -> bool:
    """Over the whole key: `ro/*` matches `ro/1_01/x` too. A key with brackets in it matches itself."""
    return pattern == key or fnmatchcase(key, pattern)


def opens(pattern: str, key: str) -> bool:
    """Whether this pattern allows something dangerous: level by level, and the last one not by `*` alone.

    So `*`, `job_*` and `job_type/*` open nothing dangerous; `job_type/reboot`, `ai/*/mode` and `register/1_*` do.
    """
    if pattern == key:
        return True
    wanted, levels = pattern.split("/"), key.split("/")
    if len(wanted) != len(levels) or not wanted[-1].strip("*?"):
        return False
    return all(fnmatchcase(level, part) for part, level in zip(wanted, levels, strict=True))

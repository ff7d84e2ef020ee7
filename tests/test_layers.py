"""DESIGN's layers, read from the imports: who may know whom, what stays pure, and how long a module may get."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

import bridge

TOP = Path(bridge.__file__).parent
LONGEST = 300  # lines

# Values and pure functions: no clock, no sockets, no tasks, and so must be whatever they import. Drivers are too.
CORE = (
    "access", "catalogue", "claims", "commands", "discovery", "driver", "link", "metrics", "model", "occurrences",
    "outbox", "overlay", "payload", "pending", "policy", "proof", "showcase", "topics", "transcript", "values",
)  # fmt: skip
IMPURE = {
    "asyncio", "time", "random", "uuid", "secrets", "threading", "socket", "ssl", "os", "pathlib", "subprocess",
    "websockets", "paho", "structlog",
}  # fmt: skip
FOR_DRIVERS = ("bridge.model", "bridge.driver", "bridge.pending")
TABLE = Path(__file__).parent.parent / "docs" / "architecture.md"
ROW = re.compile(r"\| [^|]+ \| ([^|]+) \| [^|]+ \|")
MAY_SIMULATE = ("bridge.cli.demo", "bridge.cli.replay", "bridge.cli.simulate")


@dataclass(frozen=True, slots=True)
class Import:
    """One module named by one import statement."""

    name: str
    line: int
    typing_only: bool  # under `if TYPE_CHECKING:`
    late: bool  # inside a function

    @property
    def distribution(self) -> str:
        return self.name.partition(".")[0]


def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(TOP.rglob("*.py")):
        parts = path.relative_to(TOP.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def imports(module: str) -> tuple[Import, ...]:
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return tuple(_imports(tree, typing_only=False, late=False))


def _imports(node: ast.AST, *, typing_only: bool, late: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import(names=names):
                for alias in names:
                    yield Import(alias.name, child.lineno, typing_only, late)
            case ast.ImportFrom(module=source, names=names, level=level):
                assert source is not None, "relative imports hide who knows whom"
                assert level == 0, "relative imports hide who knows whom"
                for alias in names:
                    whole = f"{source}.{alias.name}"
                    yield Import(whole if whole in MODULES else source, child.lineno, typing_only, late)
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                yield from _imports(child, typing_only=True, late=late)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                yield from _imports(child, typing_only=typing_only, late=True)
            case _:
                yield from _imports(child, typing_only=typing_only, late=late)


def within(module: str, *packages: str) -> bool:
    return any(module == package or module.startswith(package + ".") for package in packages)


def is_driver(module: str) -> bool:
    return module.startswith("bridge.drivers.")


def family(driver: str) -> str:
    """`bridge.drivers.evok_points` and `bridge.drivers.evok.points` belong to `bridge.drivers.evok`."""
    head = ".".join(driver.split(".")[:3])
    owners = [other for other in MODULES if is_driver(other) and f"{head}_".startswith(f"{other}_")]
    return min(owners, key=len, default=head)


every_module = pytest.mark.parametrize("module", MODULES)


@cache
def layers() -> tuple[tuple[str, ...], ...]:
    """The table's rows, from below: the patterns of the modules' names, packages with all that is in them."""
    rows = ROW.findall(TABLE.read_text(encoding="utf-8"))
    named = [re.findall(r"`([^`]+)`", cell) for cell in rows]
    return tuple(tuple(name.removesuffix("/*") for name in names) for names in named if names)


def layer(module: str) -> list[int]:
    path = module.removeprefix("bridge.").replace(".", "/")
    return [
        number
        for number, patterns in enumerate(layers())
        for pattern in patterns
        if fnmatchcase(f"{path}/", f"{pattern}/*")
    ]


every_module_but_the_package = pytest.mark.parametrize("module", [name for name in MODULES if name != "bridge"])


@every_module_but_the_package
def test_a_module_has_one_layer_and_knows_none_above_it(module: str) -> None:
    assert len(layer(module)) == 1, f"{module} stands {len(layer(module))} times in the table of {TABLE.name}"
    for name in imports(module):
        if name.name in MODULES and name.name != "bridge":
            assert layer(name.name) <= layer(module), (
                f"{module}:{name.line} imports {name.name}, which is above it"
            )


def test_the_table_names_modules_that_exist() -> None:
    names = [name.removeprefix("bridge.").replace(".", "/") for name in MODULES]
    for pattern in (pattern for patterns in layers() for pattern in patterns):
        assert any(fnmatchcase(f"{name}/", f"{pattern}/*") for name in names), pattern


def test_the_walk_sees_imports_wherever_they_stand() -> None:
    source = "import os\nif TYPE_CHECKING:\n    import numpy as np\ndef f():\n    from a.b import c\n"
    found = list(_imports(ast.parse(source), typing_only=False, late=False))
    assert found == [Import("os", 1, False, False), Import("numpy", 3, True, False), Import("a.b", 5, False, True)]
    assert any(name.name == "bridge.model" for name in imports("bridge.driver"))


@cache
def pure() -> frozenset[str]:
    """The pure half: what the core and the drivers import, and what that imports in turn."""
    found: set[str] = set()
    waiting = [m for m in MODULES if is_driver(m) or m.removeprefix("bridge.") in CORE]
    while waiting:
        module = waiting.pop()
        if module not in found:
            found.add(module)
            waiting += [name.name for name in imports(module) if name.name in MODULES and not name.typing_only]
    return frozenset(found)


def test_the_model_knows_nobody_but_the_words_it_is_made_of() -> None:
    ours = {name.name for name in imports("bridge.model") if name.name in MODULES and not name.typing_only}
    assert ours == {"bridge.keys", "bridge.reading"}
    assert not [n.name for m in ours for n in imports(m) if n.name in MODULES and not n.typing_only]


@every_module
def test_the_pure_half_touches_no_clock_socket_or_task(module: str) -> None:
    if module not in pure():
        return
    for name in imports(module):
        assert name.typing_only or name.distribution not in IMPURE, (
            f"{module}:{name.line} imports {name.name}, and the core or a driver imports {module}"
        )


@every_module
def test_drivers_know_the_contract_and_modules_of_their_own(module: str) -> None:
    if not is_driver(module):
        return
    for name in imports(module):
        own = is_driver(name.name) and family(name.name) == family(module)
        assert name.distribution != "bridge" or own or name.name in FOR_DRIVERS, (
            f"{module}:{name.line} imports {name.name}"
        )


@every_module
def test_nobody_else_knows_a_driver_by_name(module: str) -> None:
    if is_driver(module):
        return
    for name in imports(module):
        assert not is_driver(name.name), f"{module}:{name.line} imports {name.name}: drivers come by entry point"


@every_module
def test_simulators_share_nothing_with_the_bridge(module: str) -> None:
    inside = within(module, "bridge.simulators")
    for name in imports(module):
        known = within(name.name, "bridge.simulators")
        if inside:
            assert name.distribution != "bridge" or known, f"{module}:{name.line} imports {name.name}"
        elif known:
            assert module.startswith(MAY_SIMULATE), f"{module}:{name.line} imports {name.name}"


@every_module
def test_the_command_line_stands_above_all(module: str) -> None:
    for name in imports(module):
        if within(name.name, "bridge.cli"):
            assert within(module, "bridge.cli", "bridge.__main__"), f"{module}:{name.line} imports {name.name}"
        if name.name == "bridge.app":
            assert within(module, "bridge.cli"), f"{module}:{name.line} imports {name.name}"


@every_module
def test_numpy_is_imported_late(module: str) -> None:
    if is_driver(module) or within(module, "bridge.simulators"):
        return
    for name in imports(module):
        assert name.distribution != "numpy" or name.typing_only or name.late, (
            f"{module}:{name.line} imports numpy at once: every start of the daemon would pay for it"
        )


@every_module
def test_a_module_opens_with_its_one_idea_and_stays_short(module: str) -> None:
    text = MODULES[module].read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(text)), f"{module} does not say what it is"
    assert len(text.splitlines()) <= LONGEST, f"{module} has {len(text.splitlines())} lines: more than one idea?"

"""Whatever OST says, in whatever order: no surprise, one final reply per command, frames that arrive whole."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.driver import Close, Hold, ProtocolError, Send
from bridge.drivers.ost_frames import encode
from bridge.model import Command, Declared, Reply, Update
from tests.drivers.ost_talk import DENIED, XX, Talk, dump, ea, focuser, log, prop

ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.just(10**400),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=4), children, max_size=3),
    max_leaves=6,
)
MODULES = st.sampled_from(["MyFocuser", "MyFocuser", "Other", "lovs", ""])
PROPERTIES = st.sampled_from([*focuser()["p"], "nope", ""])
ELEMENTS = st.sampled_from(
    ["steps", "gain", "camera", "optic", "binning", "dusk", "fixed", "begin", "a", "b", "x", "bar"]
)
PLAUSIBLE = (
    st.sampled_from([0, 1, -1, 2.5, True, "Guide", "", None, {"hh": 1}, {"dynlabel": "x", "value": 4}]) | ANY_JSON
)
VALUES = st.dictionaries(ELEMENTS | st.text(max_size=3), PLAUSIBLE, max_size=4)
KINDS = "ea ee ev ps ap aa dp dm de gc gu gd gr lc lu fs fl fc uc qa zz l xx evt d"
ROOTS = st.sampled_from(KINDS.split()) | st.sampled_from(["ps-only property state", "gc-grid new line ", "dm-"])
PARTS = st.fixed_dictionaries(
    {},
    optional={
        "e": VALUES,
        "status": st.integers(0, 4) | ANY_JSON,
        "enabled": st.booleans(),
        "i": st.integers(-1, 4) | ANY_JSON,
        "values": VALUES,
        "grid": st.just([[1]]),
        "rule": st.integers(0, 2),
    },
)
TYPES = st.sampled_from(
    ["int", "float", "string", "bool", "light", "prg", "img", "video", "date", "time", "datetime", "strange"]
)
NEW_ELEMENTS = st.fixed_dictionaries(
    {"type": TYPES, "value": PLAUSIBLE},
    optional={
        **dict.fromkeys(("label", "order", "min", "max", "step", "prgtype", "nullable", "autoupdate"), ANY_JSON),
        "globallov": st.sampled_from(["CCD", "optics", "nope"]) | ANY_JSON,
        "lovScope": st.sampled_from(["module", "controller"]),
        "lovConstrained": st.booleans(),
        "listOfValues": st.just({"1": "one", "x": "one"}) | ANY_JSON,
    },
)
NEW_PROPERTIES = st.fixed_dictionaries(
    {"e": st.dictionaries(ELEMENTS, NEW_ELEMENTS, max_size=3), "permission": st.integers(0, 3)},
    optional={
        **dict.fromkeys(("label", "order", "status", "enabled", "autoupdate"), ANY_JSON),
        "rule": st.integers(0, 2),
        "hasGrid": st.booleans(),
        "gridheaders": st.lists(ELEMENTS, max_size=3),
        "grid": st.lists(st.lists(PLAUSIBLE, max_size=3), max_size=2),
    },
)
NEW_MODULES: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {"p": st.dictionaries(PROPERTIES, NEW_PROPERTIES, max_size=3)}, optional={"l": st.just({})}
)
LISTS = st.dictionaries(st.sampled_from(["CCD", ""]), ANY_JSON, max_size=2)
BODIES = st.one_of(
    ANY_JSON,
    st.dictionaries(
        MODULES,
        st.fixed_dictionaries({"p": st.dictionaries(PROPERTIES, PARTS | ANY_JSON, max_size=2)}),
        max_size=2,
    ),
    st.dictionaries(MODULES, st.fixed_dictionaries({"l": LISTS}), max_size=2),
    st.dictionaries(
        MODULES, st.fixed_dictionaries({"f": PARTS | st.just({"name": "x", "changed": True})}), max_size=2
    ),
    st.fixed_dictionaries({"systemwatcher": ANY_JSON | st.just({"disks": [{"mountpoint": "/a"}, 3]})}),
)
GRANTS = st.sampled_from(["1", "1", "0", "-1", "", 5])
MORE: list[dict[str, Any]] = [
    {},
    {"Other": focuser()},
    {"Other": {"p": {"steps": prop({})}}},
    {"system": {"p": {"cpu_load": prop({}, rule=0)}}},
]
DUMPS = st.builds(lambda grant, server, more: dump(grant, server, **more), GRANTS, GRANTS, st.sampled_from(MORE))


def new_module(kind: str, name: str, module: dict[str, Any]) -> dict[str, Any]:
    return {kind: {name: module}}


MESSAGES = st.one_of(
    st.builds(lambda root, body: {root: body}, ROOTS, BODIES),
    st.builds(
        lambda root, module, new: {root: {module: new}}, st.sampled_from(["ap", "aa"]), MODULES, NEW_MODULES
    ),
    st.just(XX),
    st.just(DENIED),
    st.just(log()),
    st.just(ea(steps=5)),
    DUMPS,
    st.just({"d": {"grant-client": "-1"}}),
)
FRAMES = MESSAGES.map(json.dumps) | ANY_JSON.map(json.dumps) | st.binary(max_size=20) | st.text(max_size=20)
KEYS = st.one_of(
    st.builds(lambda p, e: f"MyFocuser/{p}/{e}", PROPERTIES, ELEMENTS),
    st.sampled_from(["MyFocuser/when", "MyFocuser/profile", "MyFocuser/actions/autofocus", "nope"]),
)
ARGS: dict[str, st.SearchStrategy[Any]] = {
    "module": MODULES,
    "property": PROPERTIES,
    "values": VALUES,
    "line": st.integers(0, 3),
    "profile": st.text(min_size=1, max_size=4),
    "library": st.just("dummy"),
    "label": st.text(max_size=5),
    "direction": st.sampled_from(["up", "down"]),
}
ACTIONS = {
    "set_property": ("module", "property", "values"),
    "grid_read": ("module", "property"),
    "grid_append": ("module", "property", "values"),
    "grid_update": ("module", "property", "line", "values"),
    "grid_delete": ("module", "property", "line"),
    "grid_move": ("module", "property", "line", "direction"),
    "grid_clear": ("module", "property"),
    "profile_load": ("module", "profile"),
    "profile_save": ("module", "profile"),
    "module_load": ("library", "label"),
    "module_kill": ("module",),
}
COMMANDS = st.one_of(
    st.tuples(KEYS, PLAUSIBLE, st.just({})),
    *(
        st.tuples(st.just(key), st.none(), st.fixed_dictionaries({name: ARGS[name] for name in names}))
        for key, names in ACTIONS.items()
    ),
)
STEPS = st.one_of(
    st.tuples(st.just("receive"), FRAMES),
    st.tuples(st.just("receive"), FRAMES),
    st.tuples(st.just("submit"), COMMANDS),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.1, 1.0, 5.0, 40.0])),
)
OPTIONS = st.sampled_from(
    [
        {},
        {"login_user": "A", "login_password": 'x"}\\'},
        {"include": ["*"], "language": "fr", "log_level": "debug"},
    ]
)


@given(st.lists(STEPS, max_size=25), OPTIONS, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_order_of_things(steps: list[tuple[str, Any]], options: dict[str, Any], greeted: bool) -> None:
    carried = [Command("old", "MyFocuser/parameters/steps", 5.0)]
    talk = Talk(silent=not greeted, memory={"modules": ["Gone", 7]}, carried=carried, **options)
    try:
        for number, (step, content) in enumerate(steps):
            if talk.of(Close):
                break
            take(talk, number, step, content)
        else:
            talk.wait(100)  # silence: everything that waits must end, or the connection be given up
    except ProtocolError:
        pass
    check(talk, {f"c{number}" for number, (step, _) in enumerate(steps) if step == "submit"} | {"old"})


def take(talk: Talk, number: int, step: str, content: Any) -> None:
    match step:
        case "receive":
            talk.raw(content)
        case "submit":
            key, value, args = content
            talk.take(talk.driver.submit(Command(f"c{number}", key, value, args, timeout=8), talk.now))
        case "wait":
            talk.wait(content)


def check(talk: Talk, submitted: set[str]) -> None:
    finals = Counter(reply.id for reply in talk.of(Reply) if reply.outcome.final)
    assert max(finals.values(), default=0) <= 1
    assert finals.keys() <= submitted
    sent = {send.id for send in talk.of(Send) if send.id}
    held = {hold.id for hold in talk.of(Hold)}
    assert sent <= finals.keys() | held or talk.of(Close) or talk.driver.wake_at is not None
    declared: dict[str, str] = {}
    for event in talk.events:
        if isinstance(event, Declared):
            declared = {key: group for key, group in declared.items() if group != event.group}
            for point in event.points:
                assert point.key not in declared
                assert point.group == event.group
                declared[point.key] = event.group
        elif isinstance(event, Update):
            assert event.key in declared
            assert event.value is None or isinstance(event.value, bool | int | float | str)
        elif isinstance(event, Send):
            assert isinstance(event.frame, str)
            assert as_the_server_reads(event.frame) == json.loads(event.frame)


def as_the_server_reads(frame: str) -> object:
    """The server's replacements in the raw text, one after the other, then its parser."""
    out = []
    for index, character in enumerate(frame):
        if character == "\\" and frame[index + 1 : index + 2] == '"':
            continue
        out.append(character)
    text = "".join(out)
    for pair, one in (('}"', "}"), ('"{', "{")):
        while pair in text:
            before, _, after = text.partition(pair)
            text = before + one + after
    found = json.loads(text)
    assert isinstance(found, dict)
    assert len(found) == 1
    return found


TEXTS = st.text(st.sampled_from(list('"{}\\é☃a,:[]\n\t\x00𝄞/')) | st.characters(), max_size=12)
TREES = st.recursive(
    TEXTS | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(TEXTS, children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, TREES, max_size=4))
@settings(max_examples=400, deadline=None)
def test_every_frame_survives_the_servers_text_handling(body: dict[str, Any]) -> None:
    frame = encode("SV", body)
    assert json.loads(frame) == {"SV": body}
    assert as_the_server_reads(frame) == {"SV": body}
    assert '\\"' not in frame  # not even by the way
    assert '}"' not in frame
    assert '"{' not in frame

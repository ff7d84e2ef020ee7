"""Nothing but a valid request reaches the server, and whatever happens there is one final reply per command."""

from __future__ import annotations

import json
import math
import ntpath
import re
from collections import Counter
from pathlib import PureWindowsPath
from typing import Any

from hypothesis import event, given, settings
from hypothesis import strategies as st

from bridge.driver import Close, Fence, ProtocolError, Remember, Send
from bridge.drivers.zeiss_inspect import ZeissInspect
from bridge.drivers.zeiss_inspect_options import ZeissInspectOptions
from bridge.model import Command, Declared, Job, Json, Kind, Reply, Update
from tests.drivers.zeiss_inspect_talk import ELEMENTS, IMAGE, Talk

# --- what may reach the server, written without a look at the driver -----------------------------------

DEVICE = r"(?i:con|prn|aux|nul|conin\$|conout\$|clock\$|(?:com|lpt)[0-9¹²³])"
CHARACTER = '[^\\\\/:*?"<>|\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]'
PART = rf"(?!{DEVICE} *(?:\.|[\\/]|$)){CHARACTER}{{1,255}}(?<![ .])"
FILE = re.compile(rf"(?:[A-Za-z]:|[\\/]{{2}}{PART}[\\/]{PART})(?:[\\/]{PART})+")
NUMBER = re.compile(r"[0-9]+\.[0-9]+")


def valid_file(file: object, extensions: tuple[str, ...], options: ZeissInspectOptions) -> bool:
    if not isinstance(file, str) or len(file) > 1024 or not FILE.fullmatch(file):
        return False
    path = PureWindowsPath(file)
    roots = [PureWindowsPath(root) for root in options.allowed_roots]
    targets = [PureWindowsPath(target) for target in options.path_map.values()]
    return (
        path.is_absolute()
        and ntpath.normpath(file) == file.replace("/", "\\")
        and path.suffix[1:].lower() in extensions
        and (not roots or any(path.is_relative_to(root) for root in roots))
        and (path.drive[1:] == ":" or any(path.is_relative_to(root) for root in (*roots, *targets)))
        and (options.path_style == "keep" or "\\" not in file)
    )


def valid_text(text: object) -> bool:
    return (
        isinstance(text, str)
        and 0 < len(text.strip()) <= 128
        and text == text.strip()
        and not re.search("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]", text)
    )


def valid_number(text: object) -> bool:
    return isinstance(text, str) and bool(NUMBER.fullmatch(text)) and 0.1 <= float(text) <= 10_000


def valid(frame: str | bytes, options: ZeissInspectOptions) -> bool:
    """Exactly one of the two requests, with nothing in it that could do harm."""
    if not isinstance(frame, str) or len(frame.encode()) >= 1 << 20:
        return False
    match json.loads(frame, object_pairs_hook=pairs):
        case [("image", [("file", file), ("name", name), ("focal_length", length)])]:
            fits = valid_file(file, options.image_extensions, options)
            return fits and valid_text(name) and valid_number(length)
        case [("elements", [("file", file), ("import_mode", mode)])]:
            return valid_file(file, options.elements_extensions, options) and mode in ("clipboard", "new_stage")
    return False


def pairs(items: list[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """Objects as they stand, so that a key given twice would be seen."""
    return items


# --- arguments -----------------------------------------------------------------------------------------

SCRAPS = st.sampled_from(
    [
        "C:", "d:", "D:", "/", "\\", "//", "\\\\", "..", ".", " ", "...", ":", "*", "?", "|", '"', "\0", "\n",
        "\ud800", "\u2028", "con", "NUL", "com1", "LPT¹", "CLOCK$", "nas", "scans", "nas/scans/", "//nas/scans/",
        "\\\\.\\", "\\\\?\\", "/mnt/images/", "/mnt/", "D:/in/", "D:\\IN\\", "in", "part", ".jpg", ".JPG", ".tif",
        ".gxml", ".exe", "part.jpg", "points.gxml", "é", "测", "😀", "K", "ß", "a" * 250, "C:/images/",
    ]
)  # fmt: skip
NAMES = st.text(alphabet=st.characters(), min_size=1, max_size=8)
FOLDERS = ["C:/", "d:\\in\\", "D:/in/x/", "//nas/scans/", "\\\\NAS\\scans\\x/", "/mnt/images/", "//evil/x/"]
STEMS = ["a", "b c", "x/y", "x\\y", ".z", "测", "x.y"]
ENDINGS = {
    "import_image": [".jpg", ".TIF", ".jpeg", ".png", ".gxml", "", ".jpg "],
    "import_elements": [".gxml", ".GXML", ".jpg", "/", ""],
}


def likely_files(action: str) -> st.SearchStrategy[str]:
    stems = st.sampled_from(STEMS) | st.sampled_from(STEMS) | SCRAPS | NAMES
    return st.builds("{}{}{}".format, st.sampled_from(FOLDERS), stems, st.sampled_from(ENDINGS[action]))


STRANGE_FILES = st.lists(SCRAPS, min_size=1, max_size=8).map("".join) | st.text(max_size=20)
ANY_JSON: st.SearchStrategy[Json] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.just(10**400),
    lambda children: st.lists(children, max_size=2) | st.dictionaries(st.text(max_size=4), children, max_size=2),
    max_leaves=4,
)
PLAUSIBLE: dict[str, st.SearchStrategy[Json]] = {
    "name": st.sampled_from(["Microscopy", " x ", "测"]) | NAMES,
    "focal_length": st.sampled_from([50, "50.0", 0.1, " 7 "]) | st.floats(0.05, 20_000),
    "import_mode": st.sampled_from(["clipboard", "new_stage"]),
}
STRANGE: st.SearchStrategy[Json] = (
    st.sampled_from(["", "a\nb", "x" * 129, "1e3", "50,0", "9" * 30, "١٢"]) | ANY_JSON
)


OFTEN = st.sampled_from([True] * 5 + [False])


@st.composite
def arguments(draw: st.DrawFn, action: str) -> dict[str, Json]:
    """Plausible ones, and sometimes a strange value, a field too many or one that is missing."""
    names = ["name", "focal_length"] if action == "import_image" else ["import_mode"]
    args = {name: draw(PLAUSIBLE[name]) for name in names}
    args["file"] = draw(likely_files(action) if draw(OFTEN) else STRANGE_FILES)
    if not draw(OFTEN):
        args[draw(st.sampled_from(["file", *PLAUSIBLE, "more"]))] = draw(STRANGE)
    if not draw(OFTEN):
        del args[draw(st.sampled_from([*names, "file"]))]
    return args


OPTIONS = st.builds(
    ZeissInspectOptions,
    allowed_roots=st.sampled_from([(), ("D:/in",), ("d:\\", "//nas/scans")]),
    path_style=st.sampled_from(["forward", "keep"]),
    image_extensions=st.sampled_from([("jpg", "jpeg", "tif", "tiff"), ("png",)]),
) | st.just(ZeissInspectOptions(path_map={"/mnt/images": "D:\\in", "/mnt/images/nas": "//nas/scans"}))


@settings(max_examples=800, deadline=None)
@given(st.data(), st.sampled_from(["import_image", "import_elements"]), OPTIONS)
def test_nothing_but_a_valid_request_is_sent(
    data: st.DataObject, action: str, options: ZeissInspectOptions
) -> None:
    talk = Talk(**options.model_dump())
    talk.call(action, **data.draw(arguments(action)))
    sends = talk.of(Send)
    event(f"{len(sends)} sent")
    assert all(valid(send.frame, options) for send in sends)
    for reply in talk.of(Reply):
        assert reply.outcome.value in ("accepted", "rejected")
        reply.detail.encode()  # no lone surrogate, or it could not be published
        assert "\n" not in reply.detail


@settings(max_examples=300, deadline=None)
@given(likely_files("import_image") | STRANGE_FILES, st.sampled_from(["forward", "keep"]))
def test_what_is_valid_is_accepted(file: str, style: Any) -> None:
    """The other direction: no needless refusal, by the same independent rules."""
    options = ZeissInspectOptions(path_style=style)
    talk = Talk(path_style=style)
    talk.image(file=file)
    shown = file if style == "keep" else file.replace("\\", "/")
    assert bool(talk.sent) is valid_file(shown, options.image_extensions, options)


def test_the_predicate_itself() -> None:
    options = ZeissInspectOptions()
    for file in ("C:/a.jpg", "d:/x y/é.TIF"):
        assert valid_file(file, options.image_extensions, options)
    for file in (
        "C:a.jpg",
        "C:/../a.jpg",
        "C:/nul.jpg",
        "C:/a.exe",
        "//nas/x/a.jpg",
        "C:/a.jpg ",
        "C:/x./a.jpg",
        "",
    ):
        assert not valid_file(file, options.image_extensions, options)
    assert not valid('{"image": {"file": "C:/a.jpg"}}', options)
    assert not valid('{"image": {"file": "C:/a.jpg", "file": "C:/b.jpg"}}', options)
    assert not valid('"quit"', options)


# --- any order of anything -----------------------------------------------------------------------------

ANSWERS = st.sampled_from(
    [
        "O.k.",
        "Ok",
        "bye",
        "",
        "Error: Malformed JSON message.",
        "Error: Image file x could not be read.",
        "Error: x",
    ]
) | st.text(max_size=10)
ACTIONS = st.sampled_from(
    [
        ("import_image", IMAGE),
        ("import_image", IMAGE),
        ("import_elements", ELEMENTS),
        ("import_image", {}),
        ("quit", {}),
        ("reset", {}),
        ("cancel", {"job": 1}),
        ("nosuch", {}),
    ]
)
TIMEOUTS = st.sampled_from([None, 0.5, 5.0, 700.0])
EXPIRIES = st.sampled_from([math.inf, 3.0, 0.0])
PLAIN = st.tuples(st.just("call"), st.just(("import_image", IMAGE)), st.just(None), st.just(math.inf))
STEPS = st.one_of(
    PLAIN,
    PLAIN,
    PLAIN,
    st.tuples(st.just("call"), ACTIONS, TIMEOUTS, EXPIRIES),
    st.tuples(st.just("cancel"), st.integers(0, 8)),
    st.tuples(st.just("say"), ANSWERS),
    st.tuples(st.just("say"), ANSWERS),
    st.tuples(st.just("pong")),
    st.tuples(st.just("fenced"), st.text(max_size=4)),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.01, 4.0, 20.0, 300.0, 900.0])),
    st.tuples(st.just("tick")),
    st.tuples(st.just("binary"), st.binary(max_size=3)),
    st.tuples(st.just("computed"), st.none()),
)  # fmt: skip


class Server:
    """What the other side sees, step by step."""

    def __init__(self, talk: Talk) -> None:
        self.talk, self.seen = talk, 0
        self.out = 0  # requests without an answer

    def look(self) -> None:
        for effect in self.talk.events[self.seen :]:
            if isinstance(effect, Send):
                self.out += 1
                assert self.out == 1, "two requests at once"
        self.seen = len(self.talk.events)


@settings(max_examples=400, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=40), st.booleans(), st.integers(1, 3))
def test_one_final_reply_and_one_sending_each(steps: list[tuple[Any, ...]], deaf: bool, queue: int) -> None:
    talk = Talk(queue=queue)
    talk.deaf = deaf
    server = Server(talk)
    asked: list[str] = []
    for step in steps:
        try:
            act(talk, server, step, asked)
        except ProtocolError:
            assert step[0] == "binary"
            break
        server.look()
        if talk.of(Close):
            break  # the shell gives no more
    check(talk, asked)


def act(talk: Talk, server: Server, step: tuple[Any, ...], asked: list[str]) -> None:
    match step:
        case "call", (action, args), within, until:
            asked.append(f"c{len(asked)}")
            command = Command(asked[-1], action, args=args, expires_at=talk.now + until, timeout=within)
            talk.take(talk.driver.submit(command, talk.now))
        case "cancel", number:
            asked.append(f"c{len(asked)}")
            talk.call("cancel", asked[-1], job=f"c{number}")
        case "say", text:
            server.out = max(0, server.out - 1)
            talk.say(text, after=0.5)
        case "binary", data:
            talk.say(data)
        case ("pong",):
            talk.pong()
        case "fenced", token:
            talk.awaited.clear()
            talk.take(talk.driver.fenced(token, talk.now))
        case "wait", seconds:
            talk.wait(seconds)
        case ("tick",):
            talk.take(talk.driver.tick(talk.now))
        case "computed", result:
            talk.take(talk.driver.computed("x", result, talk.now))


def check(talk: Talk, asked: list[str]) -> None:
    finals = Counter(reply.id for reply in talk.of(Reply) if reply.outcome.final)
    sends = Counter(send.id for send in talk.of(Send))
    assert set(finals) <= set(asked)
    assert all(count == 1 for count in finals.values())
    assert set(sends) <= set(asked)
    assert all(count == 1 for count in sends.values())
    unsent = {"rejected", "expired", "unavailable", "superseded"}
    for reply in talk.of(Reply):
        if reply.outcome.value in unsent and reply.id in sends:
            assert reply.outcome.value == "rejected"  # by the server
    open_jobs = {job.id for job in talk.of(Job)} - {job.id for job in talk.of(Job) if job.final}
    assert {f"job:{job}" for job in open_jobs} == set(talk.memory)
    assert open_jobs <= set(asked) - set(finals)
    declared = {point.key: point for event in talk.of(Declared) for point in event.points}
    for update in talk.of(Update):
        point = declared[update.key]
        assert not point.choices or update.value in point.choices
        assert (point.kind is Kind.BINARY) is isinstance(update.value, bool)
    for name, _ in talk.happened:
        assert name in declared["import"].choices


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["job:a", "job:", "x", "job:b/c"]), ANY_JSON))
def test_any_memory(memory: dict[str, Json]) -> None:
    talk = Talk(memory=memory)
    assert not talk.sent
    assert {item.value for item in talk.of(Remember)} <= {None}
    talk.image()
    assert len(talk.sent) == 1


def test_a_new_driver_wants_nothing() -> None:
    driver = ZeissInspect(ZeissInspectOptions(), {}, [])
    assert driver.wake_at is None
    assert not driver.busy
    assert not list(driver.fenced("turn", 0.0))
    assert not [effect for effect in driver.tick(0.0) if isinstance(effect, Fence)]

"""Which points elements become, and what the options change."""

from __future__ import annotations

from typing import Any

import pytest

from bridge.drivers.ost_options import OstOptions
from bridge.model import Kind, Quality, Update
from tests.drivers.ost_talk import Talk, dump, element, number, prop


@pytest.mark.parametrize(
    ("key", "kind", "shape", "value"),
    [
        ("parameters/steps", Kind.NUMBER, {"minimum": None, "maximum": None, "step": 1}, 1000),
        ("parameters/zoning", Kind.NUMBER, {"minimum": 1, "maximum": 64}, 2),
        ("parameters/gain", Kind.NUMBER, {"minimum": 0, "maximum": 3, "step": None}, 1.5),
        ("parameters/around", Kind.SWITCH, {}, False),
        ("parameters/note", Kind.TEXT, {}, ""),
        ("parameters/begin", Kind.TEXT, {}, "20:00:00"),
        ("devices/optic", Kind.CHOICE, {"choices": ("Newton (N150)", "Newton (R80)", "Mak")}, "Newton (N150)"),
        ("devices/binning", Kind.CHOICE, {"choices": ("1x1", "2x2")}, "2x2"),
        ("when", Kind.CHOICE, {"choices": ("Dusk", "Fixed")}, "Fixed"),
        ("results/hfr", Kind.SENSOR, {"text": False}, 2.5),
        ("results/unset", Kind.SENSOR, {}, None),
        ("results/night", Kind.SENSOR, {"text": True}, None),
        ("results/fine", Kind.BINARY, {}, True),
        ("progress/bar", Kind.SENSOR, {"unit": "%"}, 40),
        ("progress/bar/label", Kind.SENSOR, {"text": True}, "2/5"),
        ("progress/spin", Kind.SENSOR, {"text": True}, "Idle"),
        ("image/image", Kind.SENSOR, {"text": True}, "/ostmedia/a b.jpeg"),
        ("signals/state", Kind.SENSOR, {"choices": ("idle", "ok", "busy", "error")}, "idle"),
        ("results/status", Kind.SENSOR, {"enabled": False}, "idle"),
        ("actions/status", Kind.SENSOR, {"enabled": True}, "idle"),
        ("profile", Kind.CHOICE, {"choices": ("default",)}, "default"),
    ],
)
def test_kinds(key: str, kind: Kind, shape: dict[str, Any], value: object) -> None:
    talk = Talk()
    point = talk.points[f"MyFocuser/{key}"]
    assert point.kind is kind
    assert point.group == "MyFocuser"
    assert {name: getattr(point, name) for name in shape} == shape
    assert talk.last(point.key) == value


def test_garbage_is_bad_and_not_zero() -> None:
    talk = Talk()
    (update,) = [u for u in talk.of(Update) if u.key == "MyFocuser/results/unset"]
    assert (update.value, update.quality) == (None, Quality.BAD)


def test_what_is_shown_at_first() -> None:
    talk = Talk()
    shown = {point.key.split("/")[1] for point in talk.points.values() if point.enabled and point.group}
    assert shown == {"actions", "results", "progress", "image", "signals", "values", "profile"}


def test_include_and_exclude() -> None:
    talk = Talk(include=["MyFocuser/parameters/*"], exclude=["*/note", "*/results/*"], hidden_limit=0)
    keys = {key for key in talk.points if key.startswith("MyFocuser/")}
    assert "MyFocuser/parameters/steps" in keys
    assert not keys & {"MyFocuser/parameters/note", "MyFocuser/results/hfr", "MyFocuser/devices/camera"}
    assert talk.points["MyFocuser/parameters/steps"].enabled


def test_free_text() -> None:
    talk = Talk(free_text=["*/camera"])
    assert talk.points["MyFocuser/devices/camera"].kind is Kind.TEXT
    talk.ask("MyFocuser/devices/camera", "Anything")
    assert talk.sent[0]["SV"]["m"]["MyFocuser"]["p"]["devices"]["e"] == {"camera": "Anything"}


def test_pictures_get_a_new_address_with_each_new_picture() -> None:
    talk = Talk(media_url="http://obs/")
    key = "MyFocuser/image/image"
    assert talk.points[key].kind is Kind.IMAGE
    first = str(talk.last(key))
    assert first.startswith("http://obs/ostmedia/a%20b.jpeg?v=")
    talk.hear(
        {"ea": {"MyFocuser": {"p": {"image": {"e": {"image": {"urljpeg": "/ostmedia/a b.jpeg", "hfravg": 2}}}}}}}
    )
    talk.wait(0.1)
    assert talk.last(key) != first


def test_an_element_called_status_keeps_its_key() -> None:
    talk = Talk(first=dump(M={"p": {"results": prop({"status": number(7)}, permission=0)}, "l": {}}))
    assert talk.last("M/results/status") == 7


def test_keys_that_would_collide_or_mislead() -> None:
    odd: dict[str, Any] = {
        "p": {"a/b": prop({"disRA+": element("bool", True), "": number(1)}), "status": prop({})},
        "l": {},
    }
    modules: dict[str, Any] = {"": odd, "#": odd}
    talk = Talk(first=dump(**modules))
    keys = {key for key in talk.points if talk.points[key].group}
    assert keys == {"%23/a%2Fb/disRA%2B", "%23/a%2Fb/%", "%23/a%2Fb/status", "%23/status/status"}


@pytest.mark.parametrize(
    "options",
    [{"login_user": "x"}, {"login_password": "x"}, {"media_url": "obs"}, {"language": "english"}, {"nope": 1}],
)
def test_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="OstOptions"):
        OstOptions(**options)

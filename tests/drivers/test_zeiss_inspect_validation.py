"""Everything that is checked before anything is sent, and the sentence that says why not."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from bridge.drivers.zeiss_inspect_options import ZeissInspectOptions
from bridge.drivers.zeiss_inspect_paths import parse_file, parse_folder
from bridge.model import Json
from tests.drivers.zeiss_inspect_talk import ELEMENTS, IMAGE, Talk

NOT_ABSOLUTE = "it is no absolute Windows path (C:/folder/file or //server/share/file)"
NETWORK = "a network path must lie in allowed_roots, because opening it logs in to that server"
OUTSIDE = "it is outside the folders that the configuration allows (allowed_roots)"


def refusal(talk: Talk, action: str, args: dict[str, Json]) -> str:
    """Why a request is rejected; it must be, and nothing may be sent, told or remembered of it."""
    talk.call(action, **args)
    assert not talk.sent
    assert not talk.states
    assert not talk.memory
    ((_, outcome, detail),) = talk.replies
    assert outcome == "rejected"
    assert "\n" not in detail
    return detail


# --- file ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("", "it is empty"),
        ("part.jpg", NOT_ABSOLUTE),
        ("images/part.jpg", NOT_ABSOLUTE),
        ("/images/part.jpg", NOT_ABSOLUTE),
        ("\\images\\part.jpg", NOT_ABSOLUTE),
        ("C:part.jpg", NOT_ABSOLUTE),
        ("1:/part.jpg", NOT_ABSOLUTE),
        ("CC:/part.jpg", NOT_ABSOLUTE),
        (" C:/part.jpg", NOT_ABSOLUTE),
        ("//server", NOT_ABSOLUTE),
        ("///server/share/part.jpg", NOT_ABSOLUTE),
        ("\\\\\\\\server\\\\share\\\\part.jpg", NOT_ABSOLUTE),
        ("file:///C:/part.jpg", NOT_ABSOLUTE),
        ("C:/", "it names a whole drive or share, not a file"),
        ("//server/share", "it names a whole drive or share, not a file"),
        ("C:/images/", "it ends in a separator and so names a folder"),
        ("C:\\images\\", "it ends in a separator and so names a folder"),
        ("C:/images//part.jpg", "it has two separators in a row"),
        ("C:\\\\images\\\\part.jpg", "it has two separators in a row"),
        ("C:/images/../part.jpg", "it holds '..'; write the folder itself"),
        ("C:\\images\\..\\..\\part.jpg", "it holds '..'; write the folder itself"),
        ("C:/./part.jpg", "it holds '.'; write the folder itself"),
        ("C:/.. /part.jpg", "'.. ' ends in a dot or a blank, which Windows drops"),
        ("C:/.../part.jpg", "'...' ends in a dot or a blank, which Windows drops"),
        ("C:/images./part.jpg", "'images.' ends in a dot or a blank, which Windows drops"),
        ("C:/part.jpg ", "'part.jpg ' ends in a dot or a blank, which Windows drops"),
        ("C:/part.jpg.", "'part.jpg.' ends in a dot or a blank, which Windows drops"),
        ("C:/part.txt:evil.jpg", "'part.txt:evil.jpg' has a colon, which names a stream and no file"),
        ("C:/C:/part.jpg", "'C:' has a colon, which names a stream and no file"),
        ("C:/a*.jpg", "'a*.jpg' has a *, which no file name may have"),
        ("C:/a?.jpg", "'a?.jpg' has a ?, which no file name may have"),
        ('C:/a".jpg', "'a\".jpg' has a \", which no file name may have"),
        ("C:/a|b.jpg", "'a|b.jpg' has a |, which no file name may have"),
        ("C:/<a.jpg", "'<a.jpg' has a <, which no file name may have"),
        ("C:/a>.jpg", "'a>.jpg' has a >, which no file name may have"),
        ("C:/CON", "'CON' is a device on Windows, not a file"),
        ("C:/images/nul.jpg", "'nul.jpg' is a device on Windows, not a file"),
        ("C:/con .jpg", "'con .jpg' is a device on Windows, not a file"),
        ("C:/Com1/part.jpg", "'Com1' is a device on Windows, not a file"),
        ("C:/LPT².jpg", "'LPT².jpg' is a device on Windows, not a file"),
        ("C:/CONIN$/part.jpg", "'CONIN$' is a device on Windows, not a file"),
        ("C:/aux.tar.jpg", "'aux.tar.jpg' is a device on Windows, not a file"),
        ("\\\\.\\C:\\part.jpg", "it names a device (\\\\.\\ or \\\\?\\)"),
        ("\\\\?\\C:\\part.jpg", "it names a device (\\\\.\\ or \\\\?\\)"),
        ("//./pipe/part.jpg", "it names a device (\\\\.\\ or \\\\?\\)"),
        ("//?/UNC/server/share/part.jpg", "it names a device (\\\\.\\ or \\\\?\\)"),
        ("\\??\\C:\\part.jpg", "it names a device (\\\\.\\ or \\\\?\\)"),
        ("C:/a\tb.jpg", "it holds a control character (U+0009)"),
        ("C:/part.jpg\n", "it holds a control character (U+000A)"),
        ("C:/a\0b.jpg", "it holds a control character (U+0000)"),
        ("C:/a\x85.jpg", "it holds a control character (U+0085)"),
        ("C:/a\u2028.jpg", "it holds a line break (U+2028)"),
        ("C:/a\ud83d.jpg", "it holds half a surrogate pair (U+D83D)"),
        ("C:/" + "a/" * 511 + "b.jpg", "it has 1030 characters, more than 1024"),
        ("C:/" + "a" * 252 + ".jpg", f"'{'a' * 57}...' has 256 characters, more than 255"),
        ("C:/part", "it does not end in .jpg or .jpeg or .tif or .tiff"),
        ("C:/part.jpg.exe", "it does not end in .jpg or .jpeg or .tif or .tiff"),
        ("C:/.jpg", "it does not end in .jpg or .jpeg or .tif or .tiff"),
        ("C:/part.jpg/x", "it does not end in .jpg or .jpeg or .tif or .tiff"),
        ("C:/points.gxml", "it does not end in .jpg or .jpeg or .tif or .tiff"),
        ("//server/share/part.jpg", NETWORK),
        ("\\\\server\\share\\part.jpg", NETWORK),
        ("/\\server/share/part.jpg", NETWORK),
        ("//127.0.0.1/C$/part.jpg", NETWORK),
    ],
)
def test_a_file_that_is_refused(file: str, why: str) -> None:
    assert refusal(Talk(), "import_image", {**IMAGE, "file": file}) == f"argument 'file': {why}"


@pytest.mark.parametrize("file", [None, 5, True, ["C:/part.jpg"], {"path": "C:/part.jpg"}])
def test_a_file_that_is_no_text(file: Json) -> None:
    assert refusal(Talk(), "import_image", {**IMAGE, "file": file}) == f"argument 'file': {file!r} is not a text"


@pytest.mark.parametrize(
    ("file", "sent"),
    [
        ("C:/images/part.jpg", "C:/images/part.jpg"),
        ("c:\\images\\Part 7.JPEG", "c:/images/Part 7.JPEG"),
        ("D:\\a/b\\c.tif", "D:/a/b/c.tif"),
        ("Z:/part.TIFF", "Z:/part.TIFF"),
        ("C:/Größe/测量😀.jpg", "C:/Größe/测量😀.jpg"),
        ("C:/ a/.hidden.jpg", "C:/ a/.hidden.jpg"),
        ("C:/console/com10.jpg", "C:/console/com10.jpg"),
        ("C:/temp/new.jpg", "C:/temp/new.jpg"),
        ("C:/" + "a" * 251 + ".jpg", "C:/" + "a" * 251 + ".jpg"),
        ("C:\\temp\\new.jpg", "C:/temp/new.jpg"),
    ],
)
def test_a_file_that_is_accepted(file: str, sent: str) -> None:
    talk = Talk()
    talk.image(file=file)
    assert talk.sent[0]["image"]["file"] == sent


def test_the_style_of_paths() -> None:
    talk = Talk(path_style="keep")
    talk.image(file="C:\\images/part.jpg")
    assert talk.sent[0]["image"]["file"] == "C:\\images/part.jpg"


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        ("D:/Inspect/Imports/part.jpg", True),
        ("d:\\INSPECT\\imports\\deep\\part.jpg", True),
        ("D:/INSPECT/IMPORTS/Ä/part.jpg", True),
        ("D:/inspect/part.jpg", False),
        ("D:/inspect/imports2/part.jpg", False),
        ("D:/inspect/imports.jpg", False),
        ("E:/inspect/imports/part.jpg", False),
        ("C:/inspect/imports/part.jpg", False),
        ("//nas/scans/part.jpg", True),
        ("\\\\NAS\\Scans\\part.jpg", True),
        ("//nas/other/part.jpg", False),
        ("//nas.evil.example/scans/part.jpg", False),
        ("//server/d$/inspect/imports/part.jpg", False),
        ("F:/STRASSE/part.jpg", False),  # upper-case ß is two letters, and another folder
        ("F:/straße/part.jpg", True),
        ("F:/KELVIN/part.jpg", False),  # K, the Kelvin sign, is not K
    ],
)
def test_allowed_roots(file: str, fits: bool) -> None:
    talk = Talk(allowed_roots=["D:\\inspect\\imports\\", "//nas/scans", "F:/straße", "F:/\u212aelvin"])
    if fits:
        talk.image(file=file)
        assert len(talk.sent) == 1
    else:
        assert refusal(talk, "import_image", {**IMAGE, "file": file}) == f"argument 'file': {OUTSIDE}"


def test_a_whole_drive_can_be_allowed() -> None:
    talk = Talk(allowed_roots=["D:"])
    talk.image(file="d:/part.jpg")
    assert len(talk.sent) == 1


def test_dots_do_not_lead_out_of_the_allowed_roots() -> None:
    talk = Talk(allowed_roots=["D:/in"])
    detail = refusal(talk, "import_image", {**IMAGE, "file": "D:/in/../secret/part.jpg"})
    assert detail == "argument 'file': it holds '..'; write the folder itself"


MAPPED = {"/mnt/images": "D:/images", "/mnt/images/nas": "\\\\nas\\scans", "/srv/": "E:\\"}


@pytest.mark.parametrize(
    ("file", "forward", "keep"),
    [
        ("/mnt/images/a/part.jpg", "D:/images/a/part.jpg", "D:/images/a/part.jpg"),
        ("/mnt/images/nas/part.jpg", "//nas/scans/part.jpg", "\\\\nas\\scans\\part.jpg"),
        ("/srv/a/part.jpg", "E:/a/part.jpg", "E:\\a\\part.jpg"),
        ("C:\\part.jpg", "C:/part.jpg", "C:\\part.jpg"),
    ],
)
def test_path_map(file: str, forward: str, keep: str) -> None:
    for style, sent in (("forward", forward), ("keep", keep)):
        talk = Talk(path_map=MAPPED, path_style=style)
        talk.image(file=file)
        assert talk.sent[0]["image"]["file"] == sent


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("/mnt/images2/part.jpg", NOT_ABSOLUTE),
        ("/mnt/images", NOT_ABSOLUTE),
        ("/MNT/images/part.jpg", NOT_ABSOLUTE),  # the gateway's names have a case
        ("/mnt/images/../part.jpg", "it holds '..'; write the folder itself"),
        ("/mnt/images//part.jpg", "it has two separators in a row"),
        ("/mnt/images/a:b.jpg", "'a:b.jpg' has a colon, which names a stream and no file"),
        ("/mnt/images/a\\b.jpg", "it has a backslash in a name, which Windows would take for a separator"),
        ("/mnt/images/aux.jpg", "'aux.jpg' is a device on Windows, not a file"),
        ("//nas/other/part.jpg", NETWORK),
    ],
)
def test_a_mapped_path_keeps_all_rules(file: str, why: str) -> None:
    assert refusal(Talk(path_map=MAPPED), "import_image", {**IMAGE, "file": file}) == f"argument 'file': {why}"


def test_extensions_can_be_chosen() -> None:
    talk = Talk(image_extensions=[".PNG"], elements_extensions=["gxml", "g3d"])
    talk.image("c1", file="C:/part.png")
    talk.elements("c2", file="C:/points.G3D")
    talk.image("c3", file="C:/part.jpg")
    assert talk.replies[-1] == ("c3", "rejected", "argument 'file': it does not end in .png")
    assert [outcome for _, outcome in talk.outcomes[:2]] == ["accepted", "accepted"]


# --- name ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("a\nb", "it holds a control character (U+000A)"),
        ("a\x7f", "it holds a control character (U+007F)"),
        ("\udcff", "it holds half a surrogate pair (U+DCFF)"),
        ("x" * 129, "it has 129 characters, more than 128"),
        (5, "5 is not a text"),
        (None, "None is not a text"),
        (["x"], "['x'] is not a text"),
    ],
)
def test_a_name_that_is_refused(name: Json, why: str) -> None:
    assert refusal(Talk(), "import_image", {**IMAGE, "name": name}) == f"argument 'name': {why}"


@pytest.mark.parametrize(("name", "sent"), [("x" * 128, "x" * 128), (" Serie 7 ", "Serie 7"), ("测量", "测量")])
def test_a_name_that_is_accepted(name: str, sent: str) -> None:
    talk = Talk()
    talk.image(name=name)
    assert talk.sent[0]["image"]["name"] == sent


# --- focal_length --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("focal_length", "why"),
    [
        ("", "'' is not a decimal number"),
        ("abc", "'abc' is not a decimal number"),
        ("50,0", "'50,0' is not a decimal number, write a decimal point"),
        ("1_0", "'1_0' is not a decimal number"),
        ("5e1", "'5e1' is not a decimal number"),
        ("５０", "'５０' is not a decimal number"),
        ("nan", "'nan' is not a decimal number"),
        ("Infinity", "'Infinity' is not a decimal number"),
        ("50\n", "'50\\n' is not a decimal number"),
        (float("nan"), "it is not a finite number"),
        (float("inf"), "it is not a finite number"),
        (10**400, "it is not a finite number"),
        (0, "0 mm is not between 0.1 and 10000 mm"),
        (-50, "-50 mm is not between 0.1 and 10000 mm"),
        ("0.05", "0.05 mm is not between 0.1 and 10000 mm"),
        (10000.5, "10000.5 mm is not between 0.1 and 10000 mm"),
        (True, "it is neither a number nor a text"),
        (None, "it is neither a number nor a text"),
        ([50], "it is neither a number nor a text"),
    ],
)
def test_a_focal_length_that_is_refused(focal_length: Json, why: str) -> None:
    detail = refusal(Talk(), "import_image", {**IMAGE, "focal_length": focal_length})
    assert detail == f"argument 'focal_length': {why}"


@pytest.mark.parametrize(
    ("focal_length", "sent"),
    [
        (50, "50.0"),
        (50.0, "50.0"),
        ("50", "50.0"),
        (" 12.50 ", "12.5"),
        ("+2.", "2.0"),
        (0.1, "0.1"),
        (1e4, "10000.0"),
    ],
)
def test_a_focal_length_is_sent_as_text(focal_length: Json, sent: str) -> None:
    talk = Talk()
    talk.image(focal_length=focal_length)
    assert talk.sent[0]["image"]["focal_length"] == sent


# --- import_mode and the whole -------------------------------------------------------------------------


@pytest.mark.parametrize("import_mode", ["", "bogus", "Clipboard", " clipboard", "new stage"])
def test_an_import_mode_that_is_refused(import_mode: str) -> None:
    detail = refusal(Talk(), "import_elements", {**ELEMENTS, "import_mode": import_mode})
    assert detail == f"argument 'import_mode': {import_mode!r} is not one of clipboard, new_stage"


@pytest.mark.parametrize("import_mode", [None, 1, ["clipboard"]])
def test_an_import_mode_that_is_no_text(import_mode: Json) -> None:
    detail = refusal(Talk(), "import_elements", {**ELEMENTS, "import_mode": import_mode})
    assert detail == f"argument 'import_mode': {import_mode!r} is not a text"


def test_elements_take_their_own_extensions() -> None:
    detail = refusal(Talk(), "import_elements", {**ELEMENTS, "file": "C:/part.jpg"})
    assert detail == "argument 'file': it does not end in .gxml"


@pytest.mark.parametrize(
    ("action", "args", "missing"),
    [("import_image", IMAGE, name) for name in IMAGE] + [("import_elements", ELEMENTS, name) for name in ELEMENTS],
)
def test_missing_fields(action: str, args: dict[str, Json], missing: str) -> None:
    rest = {name: value for name, value in args.items() if name != missing}
    assert refusal(Talk(), action, rest) == f"argument {missing!r} is missing"


@pytest.mark.parametrize(
    ("action", "args", "takes"),
    [
        ("import_image", IMAGE, "file, name, focal_length"),
        ("import_elements", ELEMENTS, "file, import_mode"),
        ("quit", {}, "no arguments"),
        ("reset", {}, "no arguments"),
        ("cancel", {"job": "c0"}, "job"),
    ],
)
def test_unknown_fields(action: str, args: dict[str, Json], takes: str) -> None:
    detail = refusal(Talk(), action, {**args, "focal_lenght": 50})
    assert detail == f"unknown argument 'focal_lenght' ({action} takes {takes})"


# --- the configuration ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"allowed_roots": ["images"]}, "'images' is no folder on a Windows PC: it is no absolute Windows path"),
        ({"allowed_roots": ["D:/a/../b"]}, "it holds '..'"),
        ({"path_map": {"mnt": "D:/"}}, "'mnt' is no absolute folder of this machine"),
        ({"path_map": {"//mnt": "D:/"}}, "'//mnt' is no absolute folder of this machine"),
        ({"path_map": {"/mnt/..": "D:/"}}, "'/mnt/..' is no absolute folder of this machine"),
        ({"path_map": {"/mnt": "images"}}, "'images' is no folder on a Windows PC"),
        ({"path_map": {"/mnt": "E:/x"}, "allowed_roots": ["D:/"]}, "path_map leads to 'E:/x', which is not in"),
        ({"image_extensions": []}, "expected at least one extension"),
        ({"image_extensions": ["*"]}, "'*' is no extension like jpg"),
        ({"image_extensions": ["tar.gz"]}, "'tar.gz' is no extension like jpg"),
        ({"job_timeout": 4000}, "job_timeout is above max_job_timeout"),
        ({"job_timeout": 0}, "greater than or equal to 1"),
        ({"queue": 0}, "greater than or equal to 1"),
        ({"path_style": "backward"}, "'forward' or 'keep'"),
        ({"succes": "Ok"}, "Extra inputs are not permitted"),
    ],
)
def test_options_that_are_refused(options: dict[str, object], why: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ZeissInspectOptions.model_validate(options)
    assert why in str(caught.value)


def test_a_mapping_into_the_allowed_roots() -> None:
    ZeissInspectOptions(
        allowed_roots=("D:/images", "//nas/scans"), path_map={"/mnt": "d:\\IMAGES", "/n": "//nas/scans/a"}
    )


def test_paths_show_themselves_with_forward_slashes() -> None:
    assert str(parse_file("\\\\nas\\scans\\a.jpg")) == "//nas/scans/a.jpg"
    assert str(parse_folder("D:\\")) == "D:"
    with pytest.raises(ValueError, match="two separators"):
        parse_folder("D:/a//")


# --- the examples of the page in docs/devices ------------------------------------------------------------

PAGE = Path(__file__).parents[2] / "docs" / "devices" / "zeiss-inspect.md"


def test_the_documented_configuration() -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    device = tomllib.loads(example)["devices"]["inspect"]
    own = {key: value for key, value in device.items() if key in ZeissInspectOptions.model_fields}
    assert device.keys() - own.keys() == {"driver", "url", "presets"}
    talk = Talk(**own)
    preset = device["presets"]["reference"]
    talk.call(preset["action"], "c1", **preset["args"])
    talk.image("c2", file="/srv/images/part7.jpg")
    assert talk.outcomes == [("c1", "accepted"), ("c2", "accepted")]


def test_every_option_is_documented_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    for name, field in ZeissInspectOptions.model_fields.items():
        default = field.get_default(call_default_factory=True)
        shown = (
            default if isinstance(default, str) else ", ".join(default) if isinstance(default, tuple) else default
        )
        assert rows[name].strip("`") == (str(shown) if shown else "none"), name

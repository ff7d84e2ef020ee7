"""`check` and `schema`, what every command shares, and that the committed examples are current."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

import bridge
from bridge import plugins
from bridge.cli import NotInstalledError
from bridge.cli.configuration import toml
from bridge.cli.main import main
from bridge.settings import ConfigurationError, Settings, load
from bridge.settings_advice import advice
from bridge.settings_device import DeviceSettings
from tests.installed_driver import install

CONFIG = Path(bridge.__file__).parent.parent / "config"
DRIVERS = ("evok", "im7", "ost", "zeiss_inspect")
PLANTED = "planted-s3cret"
TEXT = f"""
[bridge]
id = "gw"
[mqtt]
host = "10.0.0.1"
username = "me"
password = "{PLANTED}"
[devices.io]
driver = "toy"
url = "ws://me:{PLANTED}@10.0.0.5/ws"
pin = "{PLANTED}"
token = "{PLANTED}"
headers = {{ X-Key = "{PLANTED}" }}
words = ["a\\"b", "Ω\\u007f\\n"]
[devices.io.points."di/1_01"]
as = "light"
scale = 1e-30
[devices.io.presets.slow]
action = "job"
args = {{ deep = {{ list = [1, {{ x = true }}] }}, empty = {{}} }}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    install(tmp_path, monkeypatch)
    for name in [name for name in os.environ if name.startswith("LAB2MQTT_")]:
        monkeypatch.delenv(name)
    path = tmp_path / "lab2mqtt.toml"
    path.write_text(TEXT)
    path.chmod(0o600)
    return path


# --- check ---------------------------------------------------------------------------------------------


def test_check_prints_what_is_in_effect_as_toml_that_can_be_read_again(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", "-c", str(file)]) == 0
    printed = capsys.readouterr()
    settings = load(file, {})
    assert tomllib.loads(printed.out) == without_none(settings.masked())
    assert settings.digest() in printed.out
    assert PLANTED not in printed.out + printed.err


def test_check_warns_of_what_is_valid_and_unwise(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.chmod(0o644)
    assert main(["check", "-c", str(file)]) == 0
    warnings = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in warnings] == [
        "bridge.state_dir",
        "mqtt.password",
        "devices.io:",
        str(file),
    ]


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ('[mqtt.tls]\ninsecure = true\nca_ = ""', None),
        ("[mqtt.tls]\ninsecure = true", "mqtt.tls.insecure: anybody"),
        ('[mqtt.tls]\nca = "/no/such/file"', "mqtt.tls.ca: there is no file /no/such/file here"),
        ("[mqtt]\nwill_delay = 30", "mqtt.will_delay is not below mqtt.session_expiry"),
        ('[mqtt]\nhost = "10.0.0.1"', "nothing tells 10.0.0.1 who we are"),
        ('[mqtt]\nusername = "me"', "mqtt.username is given and no mqtt.password"),
        (
            '[devices.io]\ndriver = "evok"\nurl = "wss://x"\nusername = "me"',
            "devices.io: a username is given and no password",
        ),
        ('[http]\nenabled = true\nhost = "0.0.0.0"', "http.host is 0.0.0.0: whoever reaches port 9464 reads it"),
        ("", "no device is configured and enabled"),
    ],
)
def test_advice(section: str, words: str | None, tmp_path: Path) -> None:
    path = tmp_path / "lab2mqtt.toml"
    path.write_text('[bridge]\nid = "gw"\n' + section)
    if words is None:
        with pytest.raises(ConfigurationError):
            load(path, {})
        return
    assert any(words in line for line in advice(load(path, {}), path))


def test_a_secret_that_names_no_setting_is_told(file: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    for name in ("mqtt_password", "MQTT__KEEPALIVE", "devices__io__password", ".hidden"):
        (secrets / name).write_text("30")
    (secrets / "..data").mkdir()
    found = [line for line in advice(load(file, {}), file, secrets) if str(secrets) in line]
    assert len(found) == 1
    assert found[0].startswith(f"{secrets / 'mqtt_password'} names no setting")


def test_a_configuration_that_is_safe_gets_no_advice(file: Path, tmp_path: Path) -> None:
    text = TEXT.replace('[bridge]\nid = "gw"', f'[bridge]\nid = "gw"\nstate_dir = "{tmp_path}"')
    file.write_text(text.replace('host = "10.0.0.1"', 'host = "10.0.0.1"\ntls = {}').replace("ws://", "wss://"))
    assert advice(load(file, {}), file) == []


def test_a_bad_configuration_exits_78_one_line_per_problem(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file.write_text(TEXT + f'[nonsense]\npassword = "{PLANTED}"\n[mqtt.tls]\ninsecure = "{PLANTED}"\n')
    assert main(["check", "-c", str(file)]) == 78
    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.split(": ")[:3] for line in printed.err.splitlines()] == [
        ["lab2mqtt", str(file), "mqtt.tls.insecure"],
        ["lab2mqtt", str(file), "nonsense"],
    ]
    assert "Traceback" not in printed.err


def test_secrets_can_be_named_on_the_command_line(file: Path, tmp_path: Path) -> None:
    assert main(["check", "-c", str(file), "--secrets", str(tmp_path / "none")]) == 78
    assert main(["check", "-c", str(file), "--secrets", str(tmp_path)]) == 0


def without_none(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: without_none(item) for key, item in value.items() if item is not None}
    return value


def test_toml_writes_all_that_json_has() -> None:
    table = {"a b": 1.5, "nan": float("inf"), "list": [1, {"x": "y"}], "empty": {}, "t": {"u": {"v": False}}}
    assert tomllib.loads("\n".join(toml(table))) == table


# --- the command line itself ---------------------------------------------------------------------------


def test_without_a_word_the_help_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 64
    assert "start here:" in capsys.readouterr().err


def test_a_configuration_without_its_option_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["run", "lab2mqtt.toml"])
    assert "lab2mqtt.toml (a configuration is given with -c)" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["chek"], ["check", "--nonsense"], ["check", "-c"]])
def test_wrong_use_exits_64_and_shows_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 64
    assert capsys.readouterr().err.startswith("usage: lab2mqtt")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (KeyboardInterrupt(), 130, ""),
        (NotInstalledError("rich is missing: pip install lab2mqtt[demo]"), 69, "lab2mqtt: rich is missing: pip"),
        (plugins.PluginError("no such driver"), 78, "lab2mqtt: no such driver\n"),
    ],
)
def test_what_a_command_raises_becomes_an_exit_code(
    error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr("bridge.cli.configuration._schema", fail)
    assert main(["schema"]) == code
    assert capsys.readouterr().err.startswith(said)


def test_a_fault_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.cli.configuration._schema", lambda _: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        main(["schema"])


def test_starting_imports_nothing_heavy() -> None:
    """Every command pays for what the command line imports: --version must answer at once."""
    code = (
        "import sys; from bridge.cli.main import parser; parser();"
        "print([m for m in ('pydantic', 'structlog', 'numpy', 'websockets', 'paho', 'msgspec', 'asyncio', 'rich')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_reader_who_has_seen_enough_is_no_fault() -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge", "check", "-c", str(CONFIG / "lab2mqtt.example.toml")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(timeout=30)
    assert b"Traceback" not in errors
    assert b"BrokenPipe" not in errors


# --- the committed files -------------------------------------------------------------------------------


def test_the_committed_schema_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    message = "make it again: lab2mqtt schema > config/lab2mqtt.schema.json"
    assert (CONFIG / "lab2mqtt.schema.json").read_text(encoding="utf-8") == capsys.readouterr().out, message


def test_the_committed_reference_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "--markdown"]) == 0
    page = (CONFIG.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert page == capsys.readouterr().out, "make it again: lab2mqtt schema --markdown > docs/configuration.md"


def test_the_reference_names_every_key_with_its_type() -> None:
    page = (CONFIG.parent / "docs" / "configuration.md").read_text(encoding="utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    assert "| `port` | integer 1 to 65535 | required |" not in page
    assert len(rows) > 80
    assert [row for row in rows if "| any |" in row and "args" not in row] == []


def test_a_broken_driver_is_one_line_and_not_in_the_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    install(tmp_path, monkeypatch, "toy")
    install(tmp_path, monkeypatch, "broken", source="raise RuntimeError('no licence')")
    assert main(["schema"]) == 0
    printed = capsys.readouterr()
    definitions = json.loads(printed.out)["$defs"]
    assert "device_toy" in definitions
    assert "device_broken" not in definitions
    assert "warning: driver 'broken' cannot be imported: RuntimeError: no licence\n" in printed.err


def test_every_driver_has_its_variant_in_the_schema() -> None:
    schema = json.loads((CONFIG / "lab2mqtt.schema.json").read_text(encoding="utf-8"))
    for name in DRIVERS:
        variant = schema["$defs"][f"device_{name}"]
        assert variant["properties"]["driver"]["const"] == name
        assert variant["additionalProperties"] is False
        assert variant["properties"].keys() >= plugins.load(name).options.model_fields.keys() | {"url", "points"}
        assert "options" not in variant["properties"]


def example(*, at_rest: bool) -> str:
    """The example as it is, or with every option that is at rest put to use."""
    text = (CONFIG / "lab2mqtt.example.toml").read_text(encoding="utf-8")
    return re.sub(r"^#(?=[\w\[\"])", "", text, flags=re.MULTILINE) if at_rest else text


@pytest.mark.parametrize("at_rest", [False, True])
def test_the_example_is_valid(at_rest: bool, tmp_path: Path) -> None:
    path = tmp_path / "lab2mqtt.toml"
    path.write_text(example(at_rest=at_rest))
    assert set(load(path, {}).devices) == {"io", "cell", "inspect", "dome"}


def test_the_example_names_every_option_with_its_default() -> None:
    given = tomllib.loads(example(at_rest=True))
    tables = [*given["devices"].values()]
    for name, model, found in (
        *sections(Settings, [given], ""),
        *((f"[{d}]", plugins.load(d).options, [t for t in tables if t["driver"] == d]) for d in DRIVERS),
    ):
        for attribute, field in model.model_fields.items():
            key = field.alias or attribute
            if (model, key) == (DeviceSettings, "options"):
                continue
            values = [table[key] for table in found if key in table]
            assert values, f"{name}.{key} is not in the example"
            default = field.get_default(call_default_factory=True, validated_data={"prefix": "homeassistant"})
            if isinstance(default, bool | int | float | str) and not field.is_required():
                assert default in values, f"{name}.{key} does not show its default {default!r}"


def sections(
    model: type[BaseModel], tables: list[dict[str, object]], path: str
) -> Iterator[tuple[str, type[BaseModel], list[dict[str, object]]]]:
    """Every model of the configuration with all tables of the example that are of its kind."""
    yield path, model, tables
    for name, field in model.model_fields.items():
        key = field.alias or name
        below = [table[key] for table in tables if key in table]
        kinds = [field.annotation, *get_args(field.annotation)]
        if get_origin(field.annotation) is dict:
            below = [item for table in below if isinstance(table, dict) for item in table.values()]
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not BaseModel:
                yield from sections(kind, [item for item in below if isinstance(item, dict)], f"{path}.{key}")

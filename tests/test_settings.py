"""The configuration: where values come from, what is refused, how it is said, and that no secret ever is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.model import Policy
from bridge.settings import ConfigurationError, Settings, load
from tests.installed_driver import install

MINIMAL = '[bridge]\nid = "gw"\n'
DEVICE = '[devices.io]\ndriver = "toy"\nurl = "ws://10.0.0.5/ws"\n'
IO = MINIMAL + DEVICE


@pytest.fixture(autouse=True)
def _toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path, monkeypatch)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "lab2mqtt.toml"


def read(file: Path, text: str, environ: Mapping[str, str] | None = None, secrets: Path | None = None) -> Settings:
    file.write_text(text)
    return load(file, environ or {}, secrets)


def problems(
    file: Path, text: str, environ: Mapping[str, str] | None = None, secrets: Path | None = None
) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        read(file, text, environ, secrets)
    return [line.removeprefix(f"{file}: ") for line in caught.value.lines]


# --- where values come from ----------------------------------------------------------------------------


def test_defaults_are_those_of_the_contract(file: Path) -> None:
    settings = read(file, MINIMAL)
    assert settings.bridge.root == "lab2mqtt"
    assert (settings.mqtt.host, settings.mqtt.port, settings.mqtt.protocol) == ("localhost", 1883, "5")
    assert (settings.mqtt.keepalive, settings.mqtt.session_expiry, settings.mqtt.will_delay) == (15, 30, 5)
    assert settings.mqtt.receive_maximum == 100
    assert settings.bridge.expires == 5.0
    assert settings.client_id == "lab2mqtt-gw"
    assert settings.home_assistant.birth == "homeassistant/status"
    assert settings.devices == {}


def test_defaults_follow_other_values(file: Path) -> None:
    text = '[bridge]\nid = "gw"\nroot = "site7/{bridge}"\n[mqtt]\ntls = {}\n[home_assistant]\nprefix = "ha"\n'
    settings = read(file, text)
    assert settings.bridge.root == "site7/gw"
    assert settings.mqtt.port == 8883
    assert settings.home_assistant.birth == "ha/status"


def test_environment_wins_over_secrets_and_secrets_over_the_file(file: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "mqtt__password").write_text("from-a-secret\n")
    (secrets / "mqtt__username").write_text("from-a-secret")
    (secrets / "someone_elses").write_text("ignored")
    text = MINIMAL + '[mqtt]\nhost = "file"\nusername = "file"\npassword = "file"\n'
    settings = read(file, text, {"LAB2MQTT_MQTT__USERNAME": "environment"}, secrets)
    assert settings.mqtt.host == "file"
    assert settings.mqtt.username == "environment"
    assert settings.mqtt.password is not None
    assert settings.mqtt.password.get_secret_value() == "from-a-secret"


@pytest.mark.parametrize("variable", ["LAB2MQTT_SECRETS_DIR", "CREDENTIALS_DIRECTORY"])
def test_the_directory_of_secrets_may_be_named_by_the_environment(
    variable: str, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "devices__io__password").write_text("hunter2")
    settings = read(file, MINIMAL + DEVICE + 'username = "me"\n', {variable: str(tmp_path)})
    password = settings.devices["io"].password
    assert password is not None
    assert password.get_secret_value() == "hunter2"


def test_everything_can_come_from_the_environment() -> None:
    settings = load(
        None,
        {
            "LAB2MQTT_BRIDGE__ID": "gw",
            "LAB2MQTT_MQTT__TLS__CA": "/etc/ca.pem",
            "LAB2MQTT_DEVICES__IO__DRIVER": "toy",
            "LAB2MQTT_DEVICES__IO__URL": "ws://h/ws",
            "LAB2MQTT_DEVICES__IO__ENABLED": "false",
            "LAB2MQTT_DEVICES__IO__ALLOW": '["do/*"]',
            "LAB2MQTT_DEVICES__IO__LIMITS": '{"ao/*": {"maximum": 5}}',
            "LAB2MQTT_DEVICES__IO__SCAN": "2.5",
            "LAB2MQTT_DEVICES__IO__MOTTO": "007",
            "LAB2MQTT_DEVICES__IO__WORDS": '["a", "b"]',
            "LAB2MQTT_DEVICES__IO__PIN": "1234",
        },
    )
    device = settings.devices["io"]
    assert settings.mqtt.port == 8883
    assert not device.enabled
    assert device.allow == ("do/*",)
    assert device.limits["ao/*"].maximum == 5
    assert device.options.model_dump(exclude={"pin", "token"}) == {
        "scan": 2.5,
        "motto": "007",
        "words": ("a", "b"),
    }


def test_one_variable_changes_one_key_of_one_device(file: Path) -> None:
    settings = read(file, MINIMAL + DEVICE + "scan = 3\n", {"LAB2MQTT_DEVICES__IO__URL": "ws://other/"})
    device = settings.devices["io"]
    assert (device.url, device.driver) == ("ws://other/", "toy")
    assert device.options.model_dump()["scan"] == 3


def test_user_and_password_move_out_of_the_url(file: Path) -> None:
    text = MINIMAL + '[devices.io]\ndriver = "toy"\nurl = "wss://me:p%40ss@[::1]:8443/a?b=c"\n'
    device = read(file, text).devices["io"]
    assert device.url == "wss://[::1]:8443/a?b=c"
    assert device.username == "me"
    assert device.password is not None
    assert device.password.get_secret_value() == "p@ss"


def test_the_environment_of_kubernetes_and_our_own_other_variables_are_no_mistakes(file: Path) -> None:
    links = ("SERVICE_HOST", "SERVICE_PORT", "SERVICE_PORT_HTTP", "PORT", "PORT_80_TCP_ADDR")
    read(file, MINIMAL, {f"LAB2MQTT_{name}": "x" for name in (*links, "VENV", "REQUIRE_MOSQUITTO")})


def test_policy_and_overlays_are_read(file: Path) -> None:
    overlay = '[devices.io.points."di/1_01"]\nclass = "door"\nas = "light"\ninvert = true\ndeadband = 0.5\n'
    device = read(file, MINIMAL + DEVICE + "min_interval = 1\n" + overlay).devices["io"]
    point = device.points["di/1_01"]
    assert device.policy == Policy(min_interval=1.0)
    assert point.policy == Policy(deadband=0.5)
    assert (point.device_class, point.shown_as, point.invert) == ("door", "light", True)


# --- what is refused, and how it is said ---------------------------------------------------------------


def test_a_missing_file_is_one_line(file: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"^\S+lab2mqtt\.toml: No such file or directory$"):
        load(file, {})


def test_a_missing_directory_of_secrets_is_one_line(file: Path, tmp_path: Path) -> None:
    assert problems(file, MINIMAL, secrets=tmp_path / "none") == [
        f"{tmp_path / 'none'}: no such directory of secrets"
    ]


def test_a_secret_that_does_not_fit_the_rest_names_its_directory(file: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "mqtt__password").write_text("x")
    assert problems(file, MINIMAL, secrets=secrets) == [f"{secrets}/: mqtt: a password needs a username"]


def test_who_gives_no_file_is_told_how() -> None:
    with pytest.raises(ConfigurationError, match=r"bridge\.id: missing \(a configuration is given with -c FILE\)"):
        load(None, {})


def test_a_device_that_only_a_variable_knows_is_that_variables_fault(file: Path) -> None:
    file.write_text(IO)
    with pytest.raises(ConfigurationError) as caught:
        load(file, {"LAB2MQTT_DEVICES__OI__POLL": "1"})
    assert caught.value.lines == [
        f"LAB2MQTT_DEVICES__OI__POLL: devices.oi.{key}: missing" for key in ("driver", "url")
    ]


def test_a_syntax_error_says_where(file: Path) -> None:
    (line,) = problems(file, "[bridge]\nid = gw\n")
    assert "line 2" in line


def test_a_file_that_is_not_utf8_says_where(file: Path) -> None:
    file.write_bytes(b'[bridge]\nid = "\xff"\n')
    with pytest.raises(ConfigurationError, match="not UTF-8 at byte 15"):
        load(file, {})


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "bridge.id: missing"),
        ('[bridge]\nid = "Gateway"\n', "bridge.id: expected lower-case letters and digits, with"),
        ('[bridge]\nid = "call"\n', "bridge.id: expected another name"),
        ('[bridge]\nid = "' + "x" * 33 + '"\n', "bridge.id: expected to have at most 32 characters"),
        (MINIMAL + 'root = "a/#"\n', "bridge.root: expected a topic without wildcards"),
        (MINIMAL + 'root = "$SYS"\n', "bridge.root: expected topic levels"),
        (MINIMAL + 'root = "a//b"\n', "bridge.root: expected topic levels"),
        (MINIMAL + 'root = "a/{host}"\n', "bridge.root: expected no braces except {bridge}"),
        (MINIMAL + 'response_prefix = "lab2mqtt/"\n', "bridge.root, bridge.response_prefix and"),
        (MINIMAL + 'root = "a"\nresponse_prefix = "a/b/"\n', "bridge.root, bridge.response_prefix and"),
        (MINIMAL + 'response_prefix = "homeassistant/x/"\n', "bridge.root, bridge.response_prefix and"),
        (MINIMAL + 'root = "homeassistant/lab"\n', "bridge.root, bridge.response_prefix and"),
        (MINIMAL + 'response_prefix = "answers"\n', "bridge.response_prefix: expected a topic that ends"),
        (MINIMAL + "backlog = 0\n", "bridge.backlog: expected to be greater than or equal to 1, given 0"),
        (MINIMAL + "min_interval = -1\n", "bridge.min_interval: expected to be greater than or equal"),
        (MINIMAL + "max_silence = inf\n", "bridge.max_silence: expected to be a finite number"),
        (MINIMAL + '[mqtt]\nport = "x"\n', 'mqtt.port: expected a whole number, given "x"'),
        (MINIMAL + "[mqtt]\nport = true\n", "mqtt.port: expected a whole number, given true"),
        (MINIMAL + "[mqtt]\ntimeout = true\n", "mqtt.timeout: expected a number, given true"),
        (MINIMAL + '[mqtt]\nhost = "mqtt://x"\n', "mqtt.host: expected a name or an address only"),
        (MINIMAL + '[mqtt]\nhost = "x:1883"\n', "mqtt.host: expected a name or an address only"),
        (IO + "rate = true\n", "devices.io.rate: expected a number, given true"),
        (MINIMAL + "[mqtt]\nprot = 3\n", "mqtt.prot: unknown key (did you mean port?)"),
        (MINIMAL + '[mqtt]\npassword = "x"\n', "mqtt: a password needs a username"),
        (MINIMAL + "[mqtt]\ntls = true\n", "mqtt.tls: expected a table, given true"),
        (MINIMAL + '[mqtt.tls]\nkey = "k"\n', "mqtt.tls: a key needs its certificate"),
        (MINIMAL + '[mqtt.tls]\nca = "k"\ninsecure = true\n', "mqtt.tls: insecure contradicts ca"),
        (MINIMAL + "[nonsense]\n", "nonsense: unknown key"),
        (MINIMAL + DEVICE.replace("[devices.io]", "[devices.IO]"), "devices.IO: expected lower-case letters"),
        (MINIMAL + DEVICE.replace("toy", "tow"), "devices.io.driver: unknown driver 'tow' (installed:"),
        (MINIMAL + DEVICE.replace("ws:", "http:"), "devices.io.url: expected ws://host"),
        (MINIMAL + DEVICE.replace("/ws", ":99999/ws"), "devices.io.url: expected ws://host[:port]"),
        (IO + "scan = 'x'\n", 'devices.io.scan: expected a number, given "x"'),
        (IO + "scann = 1\n", "devices.io.scann: unknown key (did you mean scan?)"),
        (IO + "denny = []\n", "devices.io.denny: unknown key (did you mean deny?)"),
        (IO + "options = {}\n", "devices.io.options: unknown key"),
        (IO + "burst = 3\n", "devices.io: burst needs rate"),
        (IO + "tls = {}\n", "devices.io: tls needs a wss:// url"),
        (IO + "limits.ao = {minimum = 2, maximum = 1}\n", "devices.io.limits.ao: minimum is above maximum"),
        (IO + "limits.ao = {}\n", "devices.io.limits.ao: expected minimum, maximum or both"),
        (IO + "presets.Fast.action = 'x'\n", "devices.io.presets.Fast: expected lower-case letters"),
        (IO + "points.'di/1'.clas = 'x'\n", 'devices.io.points."di/1".clas: unknown key (did you mean class'),
        (IO + "points.'di/1'.as = 'x'\n", 'devices.io.points."di/1".as: expected to be'),
        (IO + "points.'di/1'.scale = 0\n", 'devices.io.points."di/1".scale: expected a number other'),
        (IO + "headers.'a b' = 'x'\n", "devices.io.headers: expected header names"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_the_key(text: str, line: str, file: Path) -> None:
    (found,) = problems(file, text)
    assert found.startswith(line)
    assert "\n" not in found


@pytest.mark.parametrize("host", ["localhost", "broker.example", "10.0.0.5", "::1", "fe80::1%eth0"])
def test_a_host_is_a_name_or_an_address(host: str, file: Path) -> None:
    assert read(file, MINIMAL + f'[mqtt]\nhost = "{host}"\n').mqtt.host == host


def test_a_fingerprint_is_normalized_and_checked(file: Path) -> None:
    text = MINIMAL + DEVICE.replace("ws:", "wss:")
    digest = "AB:" * 31 + "ab"
    tls = read(file, text + f'tls.fingerprint = "{digest}"\n').devices["io"].tls
    assert tls is not None
    assert tls.fingerprint == "ab" * 32
    assert problems(file, text + 'tls.fingerprint = "abc"\n') == [
        'devices.io.tls.fingerprint: expected the 64 hex digits of a SHA-256, given "abc"'
    ]
    assert problems(file, text + f'tls.fingerprint = "{digest}"\ntls.insecure = true\n') == [
        "devices.io.tls: fingerprint contradicts ca and insecure"
    ]


def test_all_mistakes_are_told_at_once_each_with_its_place(file: Path, tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    (secrets / "mqtt__keepalive").write_text("often")
    environ = {"LAB2MQTT_MQTT__PORT": "x", "LAB2MQTT_LOGLEVEL": "x", "LAB2MQTT_MQTT__HOTS": "x"}
    with pytest.raises(ConfigurationError) as caught:
        read(file, MINIMAL + "[mqtt]\ntimeout = 0\n", environ, secrets)
    places = {line.partition(": ")[0] for line in caught.value.lines}
    assert places == {*environ, str(file), str(secrets / "mqtt__keepalive")}


# --- secrets -------------------------------------------------------------------------------------------

PLANTED = "planted-s3cret"


@pytest.mark.parametrize(
    "text",
    [
        f'[mqtt]\npasword = "{PLANTED}"\n',
        f'[mqtt]\nurl = "mqtt://me:{PLANTED}@host"\n',
        f'[mqtt]\npassword = ["{PLANTED}"]\n',
        f'mqtt = "mqtt://me:{PLANTED}@host"\n',
        f'[mqtt]\npassword = {{ file = "{PLANTED}" }}\n',
        f'[devices.io]\ndriver = "tow"\nurl = "http://me:{PLANTED}@host/"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://me:{PLANTED}@host:99999/"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://me:{PLANTED}@host/#fragment"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://me:{PLANTED}@host/"\npassword = "{PLANTED}"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://me:x/{PLANTED}@host/"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://me:{PLANTED}/x@host/"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://me:{PLANTED}[@host/"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://me:{PLANTED}\u2100@host/"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "http://host/?key={PLANTED}"\n',
        f'[devices.io]\ndriver = "toy"\nurl = "ws://host:x/?key={PLANTED}"\n',
        DEVICE + f'username = "m:e"\npassword = "{PLANTED}"\n',
        DEVICE + f'headers = {{ X-Key = "{PLANTED}\\n" }}\n',
        DEVICE + f'headers = "{PLANTED}"\n',
        DEVICE + f'pin = ["{PLANTED}"]\n',
        DEVICE + f'pni = "{PLANTED}"\n',
    ],
)
def test_no_mistake_tells_a_secret(text: str, file: Path) -> None:
    lines = problems(file, (text + MINIMAL) if text.startswith("mqtt") else MINIMAL + text)
    assert lines
    assert PLANTED not in "\n".join(lines)


def test_a_number_where_a_secret_should_be_is_not_told(file: Path) -> None:
    lines = problems(file, MINIMAL + DEVICE + "pin = 271828\npassword = 314159\n")
    assert lines == ["devices.io.password: expected a text", "devices.io.pin: expected a text"]


def full(file: Path, password: str) -> Settings:
    return read(
        file,
        MINIMAL
        + f'[mqtt]\nusername = "me"\npassword = "{password}"\n'
        + DEVICE.replace("ws://", f"ws://me:{password}@")
        + f'pin = "{password}"\ntoken = "{password}"\nheaders = {{ X-Key = "{password}" }}\n',
    )


def test_what_is_shown_has_no_secret(file: Path) -> None:
    settings = full(file, PLANTED)
    shown = settings.masked()
    assert PLANTED not in json.dumps(shown)
    assert PLANTED not in repr(settings.bridge) + repr(settings.mqtt) + repr(settings.devices["io"].headers)
    assert shown["devices"]["io"]["pin"] == shown["devices"]["io"]["token"] == "**********"  # type: ignore[index]


def test_the_digest_changes_with_the_configuration_and_not_with_secrets(file: Path) -> None:
    digest = full(file, PLANTED).digest()
    assert digest == full(file, "another").digest()
    assert digest != read(file, MINIMAL).digest()
    assert len(digest) == 12


def test_devices_that_did_not_change_are_equal(file: Path) -> None:
    assert full(file, PLANTED).devices["io"] == full(file, PLANTED).devices["io"]
    assert full(file, PLANTED).devices["io"] != full(file, "another").devices["io"]


@given(st.text(max_size=40), st.sampled_from(["root", "id", "response_prefix", "log_level", "nonsense"]))
def test_any_text_is_taken_or_refused_in_one_line(text: str, key: str) -> None:
    environ = {"LAB2MQTT_BRIDGE__ID": "gw", f"LAB2MQTT_BRIDGE__{key.upper()}": text}
    try:
        settings = load(None, environ)
    except ConfigurationError as error:
        lines = error.lines
    else:
        lines = []
        assert not set("#+\0") & set(settings.bridge.root)
    assert all(len(line.splitlines()) == 1 for line in lines)

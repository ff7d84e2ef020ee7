"""A real Home Assistant, mosquitto, the daemon and four simulated instruments: what its user sees and does.

Opt-in: tests/system/home_assistant.py says which variables tell where that Home Assistant is.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.system.home_assistant import NEEDED, RESTART, HomeAssistant
from tests.system.home_assistant_expected import UNSAID, Seen
from tests.system.home_assistant_world import AFTER_RESTART, EXAMPLE, World
from tests.system.mosquitto import HOST
from tests.system.processes import Simulator

missing = [name for name in NEEDED if name not in os.environ]
pytestmark = [
    pytest.mark.skipif(
        bool(missing), reason=f"needs a Home Assistant for tests (tests/system/home_assistant.py): {missing}"
    ),
    pytest.mark.usefixtures("mosquitto_installed"),
    pytest.mark.timeout(600),
]
can_restart = pytest.mark.skipif(RESTART not in os.environ, reason=f"needs {RESTART}, which restarts it")

WILL = 7.0  # seconds until a killed daemon's entities are unavailable
SHOWN = 1.0  # seconds until what was done is shown
EXAMPLES = [EXAMPLE.with_name(name) for name in ("package.yaml", "dashboard.yaml")]
OWN_ENTITY = re.compile(r"\b(?:binary_sensor|button|event|image|light|number|select|sensor|switch)\.[a-z0-9]+_\w+")
CLEARED = 240.0  # seconds: a device that left is cleared in two steps, a minute apart
MANY = 1000
DISCOVERY_OF_LOAD = "homeassistant/device/lab2mqtt-dome-Load"


@pytest.fixture(scope="module")
def hass() -> HomeAssistant:
    found = HomeAssistant.from_environment()
    found.until_runs()
    return found


@pytest.fixture(scope="module")
def world(hass: HomeAssistant, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """One world for all that leaves it as it was."""
    with World(hass, tmp_path_factory.mktemp("world")) as found:
        yield found


@pytest.fixture
def right(world: World) -> Iterator[World]:
    """Right before the test, right after it, and nothing in Home Assistant's log that names us."""
    world.until_right()
    world.hass.forget_complaints()
    yield world
    world.until_right(AFTER_RESTART)
    assert world.hass.complaints() == []


# --- 1. everything is there ---------------------------------------------------------------------------------


def test_every_point_is_an_entity_with_the_expected_state(right: World) -> None:
    entities, devices = right.hass.entities(), right.hass.devices()
    shown = [one for one in entities.values() if not one.disabled]
    print(f"{right.hass.version}: {len(devices)} devices, {len(entities)} entities, {len(shown)} of them shown")
    assert len(shown) > 200
    assert len({one.id for one in entities.values()}) == len(entities)
    unsaid = [one.unique_id for one in Seen.by(right.observer).expected() if one.value is UNSAID and one.enabled]
    assert {right.hass.value(entities[key].id) for key in unsaid} <= {"unknown"}
    assert devices["lab2mqtt-io"].name == "Unipi"
    assert devices["lab2mqtt-io-xS51"].via == "lab2mqtt-io"
    assert devices["lab2mqtt-dome-MyFocuser"].via == "lab2mqtt-dome"
    bridge = devices["lab2mqtt-io"].via
    assert bridge is not None
    assert {devices[f"lab2mqtt-{name}"].via for name in ("io", "cell", "inspect", "dome")} == {bridge}
    assert right.hass.complaints() == []


def test_the_examples_name_entities_that_are_there(right: World) -> None:
    there = {one.id for one in right.hass.entities().values() if not one.disabled}
    named = set(OWN_ENTITY.findall("".join(path.read_text(encoding="utf-8") for path in EXAMPLES)))
    assert len(named) > 30
    # A dimension of the IM7 is a point from its first measurement on.
    assert named - there <= {"sensor.im7_live_voltage", "sensor.im7_live_current"}


# --- 2. everything can be done ------------------------------------------------------------------------------


def shown_after(world: World, begun: float, entity: str, value: str) -> None:
    """It is shown within a second after `begun`."""
    world.hass.until_value(entity, value, begun + SHOWN - time.monotonic())
    print(f"{entity} {value} after {1000 * (time.monotonic() - begun):.0f} ms")


def test_outputs_of_the_unipi(right: World) -> None:
    hass, lamp, pump = right.hass, right.entity("io/ro/2_04"), right.entity("io/ro/2_01")
    for domain, entity, key in (("light", lamp, "ro/2_04"), ("switch", pump, "ro/2_01")):
        for service, value, level in (("turn_on", "on", 1), ("turn_off", "off", 0)):
            begun = hass.call(domain, service, entity)
            shown_after(right, begun, entity, value)
            assert right.io.state["values"][key] == level
    valve = right.entity("io/ao/2_01")
    begun = hass.call("number", "set_value", valve, value=7.5)
    shown_after(right, begun, valve, "7.5")
    assert right.io.state["values"]["ao/2_01"] == pytest.approx(7.5, abs=0.003)


def test_a_mode_of_the_observatory(right: World) -> None:
    hass, zoning = right.hass, right.entity("dome/MyFocuser/parameters/zoning")
    begun = hass.call("select", "select_option", zoning, option="3x3")
    shown_after(right, begun, zoning, "3x3")
    assert str(right.dome.state["modules"]["MyFocuser"]["parameters"]["zoning"]) in ("3", "3x3")


def test_a_job_of_the_im7_is_started_and_stopped(right: World) -> None:
    hass, state = right.hass, right.entity("cell/job/state")
    before = right.cell.state
    begun = hass.call("button", "press", right.entity("cell/preset/rest"))
    shown_after(right, begun, state, "running")
    assert right.cell.state["starts"]["count"] == before["starts"]["count"] + 1
    begun = hass.call("button", "press", right.entity("cell/job_stop"))
    shown_after(right, begun, state, "stopped")
    assert right.cell.state["stops"] == before["stops"] + 1


def test_an_action_of_the_observatory_and_one_that_is_refused(right: World) -> None:
    hass = right.hass
    status, steps = right.entity("dome/MyFocuser/actions/status"), right.entity("dome/MyFocuser/parameters/steps")
    before, held = hass.value(steps), right.dome.state["modules"]["MyFocuser"]["parameters"]["steps"]
    begun = hass.call("button", "press", right.entity("dome/MyFocuser/actions/autofocus"))
    shown_after(right, begun, status, "busy")
    since = time.monotonic()
    hass.call("number", "set_value", steps, value=1234)  # refused: the server has disabled it meanwhile
    right.observer.until(lambda: right.observer.on("dome/reply/MyFocuser/parameters/steps", since))
    assert right.observer.on("dome/reply/MyFocuser/parameters/steps", since)[-1].json["outcome"] == "rejected"
    time.sleep(SHOWN)
    assert hass.value(steps) == before
    assert right.dome.state["modules"]["MyFocuser"]["parameters"]["steps"] == held
    begun = hass.call("button", "press", right.entity("dome/MyFocuser/actions/abortfocus"))
    hass.until(lambda: hass.value(status) != "busy", begun + SHOWN - time.monotonic(), "the run is over")


def test_an_import_by_preset(right: World) -> None:
    hass, last = right.hass, right.entity("inspect/import/last")
    before = right.inspect.state["requests"]
    begun = hass.call("button", "press", right.entity("inspect/preset/reference"))
    shown_after(right, begun, last, "done")
    assert right.inspect.state["requests"] == before + 1


# --- 3. what is gone is unavailable, what comes back is right -----------------------------------------------


def available(world: World, device: str) -> dict[str, bool]:
    """By entity id: of the devices whose identifier begins so. A link tells of what is away, so it is left out."""
    states = world.hass.states()
    return {
        one.id: states[one.id].value != "unavailable"
        for one in world.hass.entities().values()
        if one.device.startswith(device)
        and one.id in states
        and not one.unique_id.startswith("lab2mqtt/_bridge/")
        and not one.unique_id.endswith("/_link")
    }


def executed(world: World) -> list[object]:
    """What the instruments have done so far."""
    io, cell, dome = world.io.state["executed"], world.cell.state, world.dome.state
    return [
        {key: one["count"] for key, one in io.items()},
        cell["starts"]["count"],
        cell["stops"],
        dome["executed"],
        world.inspect.state["requests"],
    ]


def events(world: World) -> dict[str, str | None]:
    """When each event entity last saw something."""
    return {one.id: world.hass.value(one.id) for one in world.hass.entities().values() if one.domain == "event"}


def assert_nothing_happened(world: World, done: list[object], seen: dict[str, str | None]) -> None:
    """No command was repeated, no event shown; what it saw before, Home Assistant may have forgotten."""
    assert executed(world) == done
    assert {id_: at for id_, at in events(world).items() if at not in ("unknown", seen[id_])} == {}


def gone(world: World, device: str, within: float) -> float:
    """Wait until all of this is unavailable, and the rest as it should be; the seconds until the former."""

    def there() -> list[str]:
        return [id_ for id_, available_ in available(world, device).items() if available_]

    took = world.hass.until(lambda: not there(), within, there)
    world.hass.until(lambda: not world.differences(), 2.0, world.differences)
    return took


def test_a_killed_daemon(right: World) -> None:
    right.daemon.kill()
    took = gone(right, "lab2mqtt-", WILL)
    print(f"killed: unavailable after {took:.1f} s")
    right.start_daemon()
    print(f"started: right after {right.until_right():.1f} s")


def test_a_killed_daemon_whose_will_waits_for_nothing(right: World) -> None:
    right.restart_daemon(MQTT__WILL_DELAY="0")
    right.until_right()
    right.daemon.kill()
    print(f"killed: unavailable after {gone(right, 'lab2mqtt-', SHOWN):.2f} s")
    right.start_daemon()


def test_an_instrument_and_a_board_that_are_gone(right: World) -> None:
    right.dome.kill()
    print(f"observatory gone after {gone(right, 'lab2mqtt-dome', 10.0):.1f} s")
    assert all(
        there for device in ("io", "cell", "inspect") for there in available(right, f"lab2mqtt-{device}").values()
    )
    right.dome.start()
    right.until_right()
    right.io.fault("board_dead", unit="xS51", how="refused")
    print(f"board gone after {gone(right, 'lab2mqtt-io-xS51', 30.0):.1f} s")
    for device in ("lab2mqtt-io-1", "lab2mqtt-io-2", "lab2mqtt-cell", "lab2mqtt-dome"):
        assert all(available(right, device).values())
    right.io.fault("board_back")


@pytest.mark.parametrize("ending", ["stop", "kill"])
def test_a_broker_that_forgets(right: World, ending: str) -> None:
    done, seen = executed(right), events(right)
    getattr(right.broker, ending)()
    right.broker.start()
    print(f"broker ({ending}): right after {right.until_right(AFTER_RESTART):.1f} s")
    assert_nothing_happened(right, done, seen)


@can_restart
def test_a_restart_of_home_assistant(right: World) -> None:
    done, seen = executed(right), events(right)
    right.hass.restart()
    print(f"Home Assistant: right {right.until_right(AFTER_RESTART):.1f} s after it runs")
    assert_nothing_happened(right, done, seen)


@can_restart
def test_a_restart_of_both(right: World) -> None:
    done, seen = executed(right), events(right)
    right.broker.kill()
    right.hass.restart()
    right.broker.start()
    print(f"both: right after {right.until_right(AFTER_RESTART):.1f} s")
    assert_nothing_happened(right, done, seen)


# --- 4. no ghosts -------------------------------------------------------------------------------------------


def test_renaming_keeps_entities_and_their_history(right: World) -> None:
    before = right.hass.entities()
    lamp = right.entity("io/ro/2_04")
    shown_after(right, right.hass.call("light", "turn_on", lamp), lamp, "on")
    right.restart_daemon(DEVICES__IO__NAME="Unipi upstairs")
    right.hass.until(lambda: right.hass.devices()["lab2mqtt-io"].name == "Unipi upstairs", what="the new name")
    right.until_right()
    assert {key: one.id for key, one in right.hass.entities().items()} == {
        key: one.id for key, one in before.items()
    }
    shown_after(right, right.hass.call("light", "turn_off", lamp), lamp, "off")

    def remembered() -> bool:
        """The recorder writes a few seconds later."""
        levels = [value for value in right.hass.history(lamp) if value in ("on", "off")]
        return levels[-1:] == ["off"] and "on" in levels[-4:]

    right.hass.until(remembered, what=lambda: right.hass.history(lamp))
    right.restart_daemon()
    right.hass.until(lambda: right.hass.devices()["lab2mqtt-io"].name == "Unipi", what="the old name")


def test_a_device_that_is_removed(right: World) -> None:
    before = right.hass.entities()
    right.restart_daemon(DEVICES__INSPECT__ENABLED="false")
    right.hass.until(lambda: "lab2mqtt-inspect" not in right.hass.devices(), CLEARED, "the device is gone")
    right.until_right()
    assert not [one for one in right.hass.entities() if one.startswith("lab2mqtt/inspect/")]
    right.restart_daemon()
    right.hass.until(lambda: "lab2mqtt-inspect" in right.hass.devices(), what="the device is back")
    right.until_right()
    assert {key: one.id for key, one in right.hass.entities().items()} == {
        key: one.id for key, one in before.items()
    }


def test_a_module_that_comes_and_goes(right: World) -> None:
    before = right.hass.entities()
    for _ in range(2):
        right.dome.fault("load_module", lib="dummy", label="My Dummy")
        right.hass.until(lambda: "lab2mqtt-dome-MyDummy" in right.hass.devices(), what="the module is there")
        right.until_right()
        right.dome.fault("kill_module", module="MyDummy")
        right.hass.until(lambda: "lab2mqtt-dome-MyDummy" not in right.hass.devices(), 30.0, "the module is gone")
        right.until_right()
        assert right.hass.entities() == before


# --- 5. many points -----------------------------------------------------------------------------------------


def test_a_thousand_points_at_once(right: World, tmp_path: Path) -> None:
    right.dome.kill()
    right.daemon.development = False  # Python's own checks are not what is measured
    with Simulator("ost", tmp_path, "--dry", "0", "--elements", str(MANY)) as many:
        url = f"ws://{HOST}:{many.port}/"
        right.restart_daemon(
            DEVICES__DOME__URL=url, DEVICES__DOME__INCLUDE='["Load*"]', DEVICES__DOME__AREA="Roof"
        )
        time.sleep(5.0)  # every question costs Home Assistant time
        right.until_right(60.0)
        announced = next(one.at for one in right.observer.seen if one.topic.startswith(DISCOVERY_OF_LOAD))
        states, entities = right.hass.states(), right.hass.entities()
        assert right.hass.devices()["lab2mqtt-dome-Load001"].area == "roof"
    begun = time.time() - time.monotonic() + announced
    load = [entities[key] for key in entities if key.startswith("lab2mqtt/dome/Load")]
    shown = [datetime.fromisoformat(states[one.id].changed).timestamp() for one in load if not one.disabled]
    took, queue = max(shown) - begun, os.getloadavg()[0] / (os.cpu_count() or 1)
    print(f"{len(shown)} points: all shown {took:.2f} s after the announcement; {queue:.1f} processes per core")
    right.dome.start()
    right.daemon.development = True
    right.restart_daemon()
    assert len(shown) >= MANY
    assert took < 3.0 * max(
        1.0, queue
    )  # nearly all of it is Home Assistant's own work, on a machine that others use

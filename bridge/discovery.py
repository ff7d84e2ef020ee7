"""Home Assistant's device discovery: names, topics and whole payloads, made of points alone."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from itertools import islice
from urllib.parse import urlsplit

from msgspec import Struct

from bridge import __version__, payload
from bridge.discovery_components import LONGEST, LONGEST_NAME, Component
from bridge.model import Json
from bridge.topics import DeviceTopics, Topics

SLUG = "lab2mqtt-"  # so begin all our names in discovery topics
MOST = 2000  # components of one payload, which must fit into a packet of the usual brokers

_PLAIN = re.compile(r"[A-Za-z0-9_]+")
_NOT_PLAIN = re.compile(r"[^A-Za-z0-9]")
_URL = re.compile(r"https?://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]+)?([/?#][!-~]*)?")
_ABOUT = ("manufacturer", "model", "model_id", "serial_number", "sw_version", "hw_version")

# --- names ---------------------------------------------------------------------------------------------


def slug(device: str, group: str = "") -> str:
    """The name of a device or of one of its groups in discovery topics: CONTRACT "Discovery slug"."""
    name = f"{SLUG}{device}"
    if not group:
        return name
    if _PLAIN.fullmatch(group):
        return f"{name}-{group}"
    digest = hashlib.sha256(group.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{name}-{_NOT_PLAIN.sub('', group)}-{digest}"


def bridge_slug(bridge: str) -> str:
    """The same for the bridge itself; no device can be called so."""
    return f"{SLUG}_bridge-{bridge}"


def topic(prefix: str, device: str, group: str = "") -> str:
    return f"{prefix}/device/{slug(device, group)}/config"


def topic_filter(prefix: str) -> str:
    """All of these topics, those of other programs among them."""
    return f"{prefix}/device/+/config"


def bridge_topic(prefix: str, bridge: str) -> str:
    return f"{prefix}/device/{bridge_slug(bridge)}/config"


def component_id(key: str, platform: str) -> str:
    """Home Assistant knows a component by platform and id: a point on another platform is another component.

    No spaces: where Home Assistant removes a whole device, it splits its components' names at them.
    """
    return f"{platform}/{key.replace(' ', '%20')}"


# --- payloads ------------------------------------------------------------------------------------------


class About(Struct, frozen=True):
    """What is told of a device: the instrument, or a group of it."""

    device: str
    name: str  # as a person calls it
    bridge: str
    area: str | None = None
    group: str = ""
    group_name: str = ""
    info: Mapping[str, Json] = {}  # what the instrument says it is, in Home Assistant's words among others


def selected(found: Mapping[str, Component]) -> dict[str, Component]:
    """Not more than fit: those shown by default first."""
    if len(found) <= MOST:
        return dict(found)
    ordered = sorted(found.items(), key=lambda item: item[1].get("enabled_by_default") is False)
    return dict(islice(ordered, MOST))


def device_payload(
    about: About,
    topics: Topics,
    own: DeviceTopics,
    components: Mapping[str, Component],
    vanished: Mapping[str, str],
) -> bytes:
    """One device with its components; `vanished`: component id -> platform of such as were announced before.

    Home Assistant forgets a component only when its platform stands alone in its place.
    """
    statuses = [topics.status, own.status()]
    if about.group:
        statuses.append(own.status(about.group))
    document = {
        "device": _device(about),
        "origin": _ORIGIN,
        "availability": _availability(*statuses),
        "availability_mode": "all",
        "components": {**components, **_stubs(vanished, components)},
    }
    return payload.json(document)


def _stubs(vanished: Mapping[str, str], components: Mapping[str, Component]) -> dict[str, Component]:
    return {name: {"platform": platform} for name, platform in vanished.items() if name not in components}


_ORIGIN = {"name": "lab2mqtt", "sw_version": __version__}


def _availability(*topics: str) -> list[Json]:
    return [{"topic": topic} for topic in topics]


def _device(about: About) -> Component:
    told: Component = {
        name: str(value)[:LONGEST]
        for name in _ABOUT
        if isinstance(value := about.info.get(name), str | int | float)
        and not isinstance(value, bool)
        and value != ""
    }
    url = about.info.get("configuration_url")
    if isinstance(url, str) and _is_address(url):
        told["configuration_url"] = url
    name, via = about.name, bridge_slug(about.bridge)
    if about.group:
        name, via = f"{about.name} {about.group_name or about.group}", slug(about.device)
        told = {"manufacturer": told["manufacturer"]} if "manufacturer" in told else {}
    if about.area:
        told["suggested_area"] = about.area
    identifiers: list[Json] = [slug(about.device, about.group)]
    return {"identifiers": identifiers, "name": name[:LONGEST_NAME], **told, "via_device": via}


def _is_address(url: str) -> bool:
    """Home Assistant turns the whole device down for an address that it cannot read."""
    try:
        return len(url) <= LONGEST and _URL.fullmatch(url) is not None and urlsplit(url).port != 0
    except ValueError:  # a port above 65,535, a host in brackets that is no address
        return False


def link_component(topics: Topics, own: DeviceTopics) -> tuple[str, Component]:
    """The state of an instrument's link, with the reason; it speaks while the instrument is away."""
    return component_id("_link", "sensor"), {
        "platform": "sensor",
        "unique_id": f"{own.base}/_link",
        "name": "Link",
        "entity_category": "diagnostic",
        "state_topic": own.link,
        "value_template": f"{{{{ value_json.state[:{LONGEST}] if value else None }}}}",
        "json_attributes_topic": own.link,
        "json_attributes_template": _chosen("reason", "since", "bridge"),
        "availability": _availability(topics.status),
    }


def _chosen(*names: str) -> str:
    """Only these attributes: the others change often, and each change would be one more line in the recorder."""
    listed = ", ".join(f"'{name}': value_json.{name}" for name in names)
    return f"{{{{ {{{listed}}} | tojson if value else '{{}}' }}}}"


# --- the bridge itself -----------------------------------------------------------------------------------


def bridge_payload(topics: Topics) -> bytes:
    """The bridge as a device, which its instruments are behind."""
    name = f"lab2mqtt {topics.bridge}"
    document = {
        "device": {
            "identifiers": [bridge_slug(topics.bridge)],
            "name": name,
            "manufacturer": "lab2mqtt",
            "model": "MQTT bridge",
            "sw_version": __version__,
        },
        "origin": _ORIGIN,
        "components": dict(_of_bridge(topics)),
    }
    return payload.json(document)


def _of_bridge(topics: Topics) -> Iterable[tuple[str, Component]]:
    """Whether it is there can be seen while it is not; the rest only while it is."""
    there: Component = {"availability": _availability(topics.status)}

    def entity(key: str, platform: str, name: str, body: Component) -> tuple[str, Component]:
        known: Component = {"platform": platform, "unique_id": f"{topics.own}/{key}", "name": name}
        return component_id(key, platform), {**known, "entity_category": "diagnostic", **body}

    def health(key: str, name: str, path: str, body: Component) -> tuple[str, Component]:
        state: Component = {"state_topic": topics.health, "value_template": f"{{{{ {path} if value else None }}}}"}
        return entity(key, "sensor", name, {**state, **body, "enabled_by_default": False, **there})

    online: Component = {"state_topic": topics.status, "payload_on": "online", "payload_off": "offline"}
    yield entity("status", "binary_sensor", "Connected", {**online, "device_class": "connectivity"})
    trouble: Component = {
        "device_class": "problem",
        "state_topic": topics.health,
        "value_template": "{{ 'ON' if value and (value_json.trouble or value_json.conflicts) else 'OFF' }}",
        "json_attributes_topic": topics.health,
        "json_attributes_template": _chosen("trouble", "conflicts"),
    }
    yield entity("trouble", "binary_sensor", "Trouble", trouble | there)
    seconds: Component = {"unit_of_measurement": "s", "device_class": "duration", "state_class": "measurement"}
    waiting: Component = {"state_class": "measurement"}
    yield health("uptime", "Uptime", "value_json.uptime", seconds | {"suggested_display_precision": 0})
    yield health("loop_lag", "Loop lag", "value_json.loop_lag", seconds | {"suggested_display_precision": 4})
    memory: Component = {"unit_of_measurement": "B", "device_class": "data_size", "state_class": "measurement"}
    yield health("memory", "Memory", "value_json.memory", memory | {"suggested_display_precision": 0})
    yield health("queues", "Waiting messages", "value_json.queues.values() | sum", waiting)
    yield health("published", "Published messages", "value_json.published", {"state_class": "total_increasing"})
    refresh: Component = {"command_topic": f"{topics.own}/call/refresh", "payload_press": "{}", "qos": 1}
    yield entity("refresh", "button", "Announce again", {**refresh, **there})

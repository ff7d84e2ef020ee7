"""The pure mapping between what the bridge says and MQTT topics: CONTRACT "Topics"."""

from __future__ import annotations

from functools import cached_property

from msgspec import Struct

from bridge.model import point_key

MAX_RESPONSE_TOPIC = 256  # bytes
MAX_RESPONSE_LEVELS = 64  # brokers end the connection over more than 128 (EMQX) or 200 (mosquitto)


class Address(Struct, frozen=True):
    """Whom an incoming message is for: `set` or `call`, a device (None: the bridge itself), and a key."""

    verb: str
    device: str | None
    key: str


class Topics:
    """All topics of one bridge. A group or a job is one escaped level; a key is its own escaped form."""

    def __init__(self, root: str, bridge: str) -> None:
        self.root = root
        self.bridge = bridge
        self.own = f"{root}/_bridge/{bridge}"

    # --- the bridge
    @cached_property
    def status(self) -> str:
        return f"{self.own}/status"

    @cached_property
    def info(self) -> str:
        return f"{self.own}/info"

    @cached_property
    def health(self) -> str:
        return f"{self.own}/health"

    @cached_property
    def canary(self) -> str:
        return f"{self.own}/canary"

    def event(self, name: str) -> str:
        return f"{self.own}/event/{point_key(name)}"

    def status_of(self, bridge: str) -> str:
        return f"{self.root}/_bridge/{bridge}/status"

    def device(self, name: str) -> DeviceTopics:
        return DeviceTopics(self.root, name)

    # --- what comes in
    def filters(self, devices: list[str]) -> list[str]:
        """The subscriptions to commands: of these devices and of the bridge, never `#`."""
        return [
            *(f"{self.root}/{device}/{verb}/#" for device in devices for verb in ("set", "call")),
            f"{self.own}/call/#",
        ]

    def parse(self, topic: str) -> Address | None:
        """Whom this topic is for; None when it is no command topic of ours."""
        if topic.startswith(f"{self.own}/call/"):
            return Address("call", None, topic[len(self.own) + 6 :])
        if not topic.startswith(f"{self.root}/"):
            return None
        levels = topic[len(self.root) + 1 :].split("/", 2)
        if len(levels) != 3 or levels[1] not in ("set", "call") or not levels[2] or levels[0].startswith("_"):
            return None
        return Address(levels[1], levels[0], levels[2])

    def may_answer(self, topic: str, device: str | None, prefix: str) -> bool:
        """Whether an answer may go to this response topic: CONTRACT "Answers"."""
        own = f"{self.own}/reply/" if device is None else f"{self.root}/{device}/reply/"
        return (
            0 < len(topic.encode(errors="replace")) <= MAX_RESPONSE_TOPIC
            and topic.count("/") < MAX_RESPONSE_LEVELS
            and not any(character in topic for character in "+#\0")
            and (topic.startswith(own) or (topic.startswith(prefix) and not topic.startswith(f"{self.root}/")))
        )

    def reply(self, device: str | None, key: str) -> str:
        return f"{self.own}/reply/{key}" if device is None else f"{self.root}/{device}/reply/{key}"


class DeviceTopics:
    """The topics of one device."""

    def __init__(self, root: str, device: str) -> None:
        self.base = f"{root}/{device}"
        self.link = f"{self.base}/link"

    def status(self, group: str = "") -> str:
        return f"{self.base}/status/{point_key(group)}" if group else f"{self.base}/status"

    def points(self, group: str = "") -> str:
        return f"{self.base}/points/{point_key(group)}" if group else f"{self.base}/points"

    def state(self, key: str) -> str:
        return f"{self.base}/state/{key}"

    def event(self, key: str) -> str:
        """Of an event's point, or of a name that `point_key` made a key of."""
        return f"{self.base}/event/{key}"

    def job(self, job: str) -> str:
        return f"{self.base}/job/{point_key(job)}"

    def live(self, job: str) -> str:
        return f"{self.base}/data/{point_key(job)}/live"

    def part(self, job: str, number: int) -> str:
        return f"{self.base}/data/{point_key(job)}/part/{number}"

    def manifest(self, job: str) -> str:
        return f"{self.base}/data/{point_key(job)}/manifest"

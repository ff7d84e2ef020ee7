"""What can be configured for an Evok device."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from bridge.drivers.evok_frames import ALIASES
from bridge.drivers.evok_points import LABELS, LONGEST_POLL, POLL


class EvokOptions(BaseModel):
    """The keys of a device with `driver = "evok"`, beside the common ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    devices: tuple[str, ...] = Field((), description="object types to show; empty: all of them")
    filter_on_evok: bool = Field(False, description="also tell Evok to push only these types")
    token: SecretStr | None = Field(None, description="for coming versions of Evok: sent as a bearer token")
    poll: float = Field(POLL, ge=1, le=LONGEST_POLL, description="seconds between complete readings")
    pulse_without_state: bool = Field(False, description="pulse relays though their end would not survive a crash")

    @field_validator("devices")
    @classmethod
    def _known(cls, devices: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(ALIASES.get(name, name) for name in devices)
        if unknown := [name for name in names if name not in LABELS]:
            raise ValueError(f"unknown type {unknown[0]!r}; there are {', '.join(LABELS)}")
        return names


def headers(options: EvokOptions) -> Mapping[str, str]:
    return {} if options.token is None else {"Authorization": f"Bearer {options.token.get_secret_value()}"}

"""What can be configured for an IM7."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class IM7Options(BaseModel):
    """The keys of a device with `driver = "im7"`, beside the common ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    protocol_version: int | None = Field(
        None, ge=1, le=10_000, description="ask for this version of the protocol; absent: whatever it speaks"
    )
    fetch: Literal["own", "all", "none"] = Field(
        "own", description="whose results are fetched when a job ends: jobs started here, all jobs, none"
    )
    max_result: int = Field(
        160 << 20, ge=0, description="bytes; a larger result is left on the instrument, and that is said"
    )
    result_timeout: float = Field(300.0, ge=10, le=86_400, description="seconds for one result to arrive")
    live: bool = Field(True, description="publish what a running job measures")
    live_interval: float = Field(0.5, ge=0.05, le=60, description="seconds for which live rows are collected")
    live_rows: int = Field(500, ge=1, le=10_000, description="rows of one live message at most")
    poll: float = Field(10.0, ge=1, le=3600, description="seconds between two looks at status and job list")


def headers(options: IM7Options) -> Mapping[str, str]:
    """Without this header the instrument does not check the version (protocol: "Transport")."""
    if options.protocol_version is None:
        return {}
    return {"Z-Supported-Protocol-Version": str(options.protocol_version)}

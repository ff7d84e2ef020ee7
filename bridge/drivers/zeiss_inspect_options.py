"""What can be configured for a ZEISS INSPECT device."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from bridge.drivers.zeiss_inspect_paths import parse_folder

_EXTENSION = re.compile(r"[a-z0-9_-]{1,16}")


class ZeissInspectOptions(BaseModel):
    """The keys of a device with `driver = "zeiss_inspect"`, beside the common ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    queue: int = Field(32, ge=1, le=1000, description="imports that may wait; one more is rejected")
    job_timeout: float = Field(600, ge=1, le=86_400, description="seconds from sending an import to `unknown`")
    max_job_timeout: float = Field(
        3600, ge=1, le=86_400, description="seconds that a command's `timeout` may give"
    )
    success: str = Field(
        "O.k.", min_length=1, max_length=200, description="the answer that means done; IPCWebsocketBasics: Ok"
    )
    allowed_roots: tuple[str, ...] = Field(
        (), description="folders on the INSPECT PC whose files may be imported; empty: all on its drives"
    )
    path_map: Mapping[str, str] = Field(
        default_factory=dict, description="folder here (/mnt/images) to the same on the INSPECT PC (D:/images)"
    )
    path_style: Literal["forward", "keep"] = Field(
        "forward", description="forward: send paths with forward slashes; keep: as they were given"
    )
    image_extensions: tuple[str, ...] = Field(("jpg", "jpeg", "tif", "tiff"), description="what is an image")
    elements_extensions: tuple[str, ...] = Field(("gxml",), description="what is a file with elements")

    @field_validator("image_extensions", "elements_extensions")
    @classmethod
    def _extensions(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        names = tuple(name.removeprefix(".").lower() for name in given)
        if wrong := [name for name in names if not _EXTENSION.fullmatch(name)]:
            raise ValueError(f"{wrong[0]!r} is no extension like jpg")
        if not names:
            raise ValueError("expected at least one extension")
        return names

    @field_validator("allowed_roots")
    @classmethod
    def _folders(cls, roots: tuple[str, ...]) -> tuple[str, ...]:
        for root in roots:
            _folder(root)
        return roots

    @field_validator("path_map")
    @classmethod
    def _mapping(cls, given: Mapping[str, str]) -> Mapping[str, str]:
        for prefix, target in given.items():
            if not prefix.startswith("/") or prefix.startswith("//") or "\\" in prefix or "/../" in f"{prefix}/":
                raise ValueError(f"{prefix!r} is no absolute folder of this machine, like /mnt/images")
            _folder(target)
        return given

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.job_timeout > self.max_job_timeout:
            raise ValueError("job_timeout is above max_job_timeout")
        roots = [parse_folder(root) for root in self.allowed_roots]
        for target in self.path_map.values():
            path = parse_folder(target)
            if roots and not any(path.within(root) for root in roots):
                raise ValueError(f"path_map leads to {target!r}, which is not in allowed_roots")
        return self


def _folder(text: str) -> None:
    try:
        parse_folder(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is no folder on a Windows PC: {error}") from None

"""What can be configured for an OST server."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

LEVELS = ("debug", "info", "warning", "error", "critical")  # of a log entry, by OST's number


class OstOptions(BaseModel):
    """The keys of a device with `driver = "ost"`, beside the common ones."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    language: str = Field(
        "en", pattern=r"^[a-z]{2}(_[A-Z]{2})?$", description="of the labels and of the server's messages"
    )
    login_user: str | None = Field(
        None, min_length=1, max_length=256, description="OST's user, for a login if needed"
    )
    login_password: SecretStr | None = Field(None, description="that user's password")
    include: tuple[str, ...] = Field(
        (), description="patterns of keys (MyFocuser/parameters/*) that are shown beside the usual ones"
    )
    exclude: tuple[str, ...] = Field((), description="patterns of keys that are left out; wins over include")
    free_text: tuple[str, ...] = Field(
        (), description="patterns of keys whose list is only a suggestion: texts instead of choices"
    )
    hidden_limit: int = Field(
        250,
        ge=0,
        le=100_000,
        description="a module with more unusual elements than this shows only the usual ones",
    )
    log_level: Literal["debug", "info", "warning", "error", "critical", "off"] = Field(
        "warning", description="log entries from this level on become events"
    )
    media_url: str | None = Field(
        None, description="where the pictures are: http://observatory/ostmedia; absent: their paths as texts"
    )

    @field_validator("media_url")
    @classmethod
    def _web_address(cls, url: str | None) -> str | None:
        if url is None:
            return None
        if not url.startswith(("http://", "https://")):
            raise ValueError("expected http://… or https://…")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _both(self) -> Self:
        if (self.login_user is None) is not (self.login_password is None):
            raise ValueError("login_user and login_password belong together")
        return self

    @property
    def lowest_level(self) -> int:
        return LEVELS.index(self.log_level) if self.log_level in LEVELS else len(LEVELS)

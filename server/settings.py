"""The settings: one frozen model, and the only reader of the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.errors import StartError

MIB = 1024 * 1024


class Settings(BaseSettings):
    """What the environment decides. An unknown `TAILRACE_…` name or unsafe value stops the start.

    Names without a prefix are those of the platform conventions (`PORT`, `DATABASE_URL`, …);
    everything of our own is called `TAILRACE_…`.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        env_ignore_empty=True,
        populate_by_name=True,
        case_sensitive=True,
    )

    database_url: str | None = Field(None, alias="DATABASE_URL")
    database_direct_url: str | None = Field(None, alias="DATABASE_DIRECT_URL")
    host: str = Field("127.0.0.1", alias="HOST")
    port: int = Field(8080, alias="PORT", ge=0, le=65535)
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), alias="CORS_ORIGINS")

    data: Path = Field(Path(".tailrace"), alias="TAILRACE_DATA")
    secret: str | None = Field(None, alias="TAILRACE_SECRET", min_length=32)
    api_key: str | None = Field(None, alias="TAILRACE_API_KEY", min_length=32)
    migrate: Literal["on", "off"] = Field("on", alias="TAILRACE_MIGRATE")
    limits: Literal["on", "off"] = Field("on", alias="TAILRACE_LIMITS")
    loop: Literal["uvloop", "asyncio"] = Field("uvloop", alias="TAILRACE_LOOP")
    pool_size: int = Field(8, alias="TAILRACE_POOL_SIZE", ge=2, le=200)

    heartbeat: float = Field(15.0, alias="TAILRACE_HEARTBEAT", gt=0.05, le=300)
    """Seconds of silence after which an idle stream gets an id-only block."""
    max_streams: int = Field(20_000, alias="TAILRACE_MAX_STREAMS", ge=1)
    """Open streams of one process; beyond it a stream request is answered `bye: overload`."""
    stream_buffer: int = Field(256 * 1024, alias="TAILRACE_STREAM_BUFFER", ge=1024)
    """Bytes kept for one subscriber before it is *lagging* and reads from the ring or the log."""
    ring_bytes: int = Field(16 * MIB, alias="TAILRACE_RING_BYTES", ge=0)
    """Bytes of recent frames that a process keeps for subscribers that lag or reconnect."""
    write_deadline: float = Field(30.0, alias="TAILRACE_WRITE_DEADLINE", gt=0)
    """Seconds after which a reader that takes nothing is closed."""

    retain_seconds: int = Field(7 * 24 * 3600, alias="TAILRACE_RETAIN_SECONDS", ge=60)
    """Events older than this are pruned."""
    retain_bytes: int = Field(8 * 1024 * MIB, alias="TAILRACE_RETAIN_BYTES", ge=MIB)
    """The log is pruned, oldest partition first, when it grows beyond this."""
    partition_size: int = Field(1_000_000, alias="TAILRACE_PARTITION_SIZE", ge=100)
    """Positions in one partition of the event log."""

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            if parts.scheme not in {"http", "https"} or not parts.netloc or parts.path:
                msg = f"{origin!r} is not an origin such as https://app.example.com"
                raise ValueError(msg)
        return value

    @field_validator("database_url", "database_direct_url")
    @classmethod
    def _postgres(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"postgres", "postgresql"}:
            msg = "must start with postgresql://"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _closed(self) -> Settings:
        if self.database_url and not self.secret:
            msg = (
                "DATABASE_URL is set but TAILRACE_SECRET is not: set it to a random string of at"
                " least 32 characters (it signs cookies and tokens)"
            )
            raise ValueError(msg)
        if self.database_direct_url and not self.database_url:
            msg = "DATABASE_DIRECT_URL is set but DATABASE_URL is not: set both"
            raise ValueError(msg)
        return self


def load(**overrides: Any) -> Settings:
    """Read the environment; `overrides` (field names) win, `None` means not given.

    Raises:
        StartError: a value is missing, wrong or unknown; the message says which and what to set.
    """
    known = {field.alias for field in Settings.model_fields.values()}
    unknown = sorted(
        name for name in os.environ if name.startswith("TAILRACE_") and name not in known
    )
    if unknown:
        msg = f"unknown setting {', '.join(unknown)}: see docs/settings.md for the names"
        raise StartError(msg)
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise StartError(_sentence(error)) from None


def _sentence(error: ValidationError) -> str:
    """Every fault as `NAME: what is wrong`, without the value: it may be a secret."""
    faults = []
    for fault in error.errors():
        name = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        faults.append(f"{name}: {message}" if name else message)
    return "; ".join(faults)

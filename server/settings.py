"""The settings: one frozen model, and the only reader of the environment."""

from __future__ import annotations

import ipaddress
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from server.errors import StartError

MIB = 1024 * 1024
DAY = 24 * 3600

_RATE = re.compile(r"([0-9]{1,7})/([0-9]{1,6})s", re.ASCII)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Names = Annotated[tuple[str, ...], NoDecode]


class Rate(NamedTuple):
    """So many `requests` in any `seconds`; written `10/10s`."""

    requests: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.requests}/{self.seconds}s"


def _rate(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    match = _RATE.fullmatch(value)
    if match is None or not (int(match[1]) and int(match[2])):
        msg = "a rate is requests/seconds such as 10/10s"
        raise ValueError(msg)
    return Rate(int(match[1]), int(match[2]))


RateText = Annotated[Rate, NoDecode, BeforeValidator(_rate)]


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
    redis_url: str | None = Field(None, alias="REDIS_URL")
    """Where rate limits are counted together by all processes; without it each counts its own."""
    region: str | None = Field(None, alias="REGION", max_length=100)
    cors_origins: Names = Field((), alias="CORS_ORIGINS")
    trusted_proxies: Annotated[tuple[Network, ...], NoDecode] = Field((), alias="TRUSTED_PROXIES")
    """Whose `X-Forwarded-For` is believed: addresses and networks, comma-separated."""
    storage_url: str | None = Field(None, alias="STORAGE_URL")
    """Where uploads are kept: `file:///directory` or `s3://bucket`; else in the data directory."""
    smtp_url: str | None = Field(None, alias="SMTP_URL")
    """Where contact messages are handed over: `smtp://user:password@host:587`, or `smtps://…`."""
    contact_to: str | None = Field(None, alias="CONTACT_TO", max_length=320)
    contact_from: str | None = Field(None, alias="CONTACT_FROM", max_length=320)

    dodo_payments_webhook_key: str | None = Field(None, alias="DODO_PAYMENTS_WEBHOOK_KEY")
    stripe_webhook_secret: str | None = Field(None, alias="STRIPE_WEBHOOK_SECRET")
    github_webhook_secret: str | None = Field(None, alias="GITHUB_WEBHOOK_SECRET")
    dodo_text_form: Literal["on", "off"] = Field("on", alias="TAILRACE_DODO_TEXT_FORM")
    """Whether Dodo's door takes the source text's `x-dodo-signature`, which has no id and time."""

    dodo_products: Annotated[dict[str, int] | None, NoDecode] = Field(
        None, alias="TAILRACE_DODO_PRODUCTS"
    )
    """Credits of Dodo's products: `pdt_a=100,pdt_b=500`. Metadata then give none."""

    data: Path = Field(Path(".tailrace"), alias="TAILRACE_DATA")
    secret: str | None = Field(None, alias="TAILRACE_SECRET", min_length=32)
    api_key: str | None = Field(None, alias="TAILRACE_API_KEY", min_length=32)
    migrate: Literal["on", "off"] = Field("on", alias="TAILRACE_MIGRATE")
    limits: Literal["on", "off"] = Field("on", alias="TAILRACE_LIMITS")
    access_log: Literal["on", "off"] = Field("on", alias="TAILRACE_ACCESS_LOG")
    takeover: Literal["on", "off"] = Field("on", alias="TAILRACE_TAKEOVER")
    """Whether streams' connections are taken over from aiohttp, as far as it bears that."""
    loop: Literal["uvloop", "asyncio"] = Field("uvloop", alias="TAILRACE_LOOP")
    rate_forms: RateText = Field(Rate(10, 10), alias="TAILRACE_RATE_FORMS")
    """Public forms (contact, sign-up), by client address."""
    rate_auth: RateText = Field(Rate(30, 60), alias="TAILRACE_RATE_AUTH")
    """Sign-in and everything else under `/api/auth` that changes something, by client address."""
    rate_writes: RateText = Field(Rate(100, 10), alias="TAILRACE_RATE_WRITES")
    """Writes of a signed-in user, by account. API keys have a rate of their own."""
    pool_size: int = Field(8, alias="TAILRACE_POOL_SIZE", ge=2, le=200)

    heartbeat: float = Field(15.0, alias="TAILRACE_HEARTBEAT", gt=0.05, le=300)
    """Seconds of silence after which an idle stream gets an id-only block."""
    max_streams: int = Field(20_000, alias="TAILRACE_MAX_STREAMS", ge=1)
    """Open streams of one process; beyond it a stream request is answered `bye: overload`."""
    stream_rate: int = Field(2_000, alias="TAILRACE_STREAM_RATE", ge=1)
    """Streams that may begin in one second in one process, as many at once."""
    streams_per_address: int = Field(1_000, alias="TAILRACE_STREAMS_PER_ADDRESS", ge=1)
    streams_per_user: int = Field(100, alias="TAILRACE_STREAMS_PER_USER", ge=1)
    """Open streams in one process of one signed-in user, the tokens that he had made included."""
    max_age: float = Field(6 * 3600.0, alias="TAILRACE_MAX_AGE", ge=0)
    """Seconds after which a stream is told to come again, less up to a quarter; 0: never."""
    stream_buffer: int = Field(256 * 1024, alias="TAILRACE_STREAM_BUFFER", ge=1024)
    """Bytes kept for one subscriber before it is *lagging* and reads from the ring or the log."""
    ring_bytes: int = Field(16 * MIB, alias="TAILRACE_RING_BYTES", ge=0)
    """Bytes of recent frames that a process keeps for subscribers that lag or reconnect."""
    write_deadline: float = Field(30.0, alias="TAILRACE_WRITE_DEADLINE", gt=0)
    """Seconds after which a reader that takes nothing is closed."""

    webhook_workers: int = Field(2, alias="TAILRACE_WEBHOOK_WORKERS", ge=0, le=32)
    """Webhooks that this process handles at once; 0: it only stores them."""
    webhook_retain_payloads: int = Field(30 * DAY, alias="TAILRACE_WEBHOOK_RETAIN_PAYLOADS", ge=60)
    """Seconds after which headers and body of what is done, or was not to be, are removed."""
    webhook_retain: int = Field(180 * DAY, alias="TAILRACE_WEBHOOK_RETAIN", ge=60)
    """Seconds after which a delivery is removed, unless it is pending; its id may come anew."""

    upload_quota: int = Field(5 * 1024 * MIB, alias="TAILRACE_UPLOAD_QUOTA", ge=0)
    """Bytes of files that one user, or API key, may have."""
    uploads_per_user: int = Field(8, alias="TAILRACE_UPLOADS_PER_USER", ge=1)
    """Files that one user, or API key, may send at the same time to one process."""
    upload_stall: float = Field(30.0, alias="TAILRACE_UPLOAD_STALL", gt=0)
    """Seconds without a byte after which an upload is given up."""
    upload_expires: int = Field(DAY, alias="TAILRACE_UPLOAD_EXPIRES", ge=60)
    """Seconds that an upload in pieces (tus) has, from its creation on."""

    retain_seconds: int = Field(7 * DAY, alias="TAILRACE_RETAIN_SECONDS", ge=60)
    """Events older than this are pruned."""
    retain_bytes: int = Field(8 * 1024 * MIB, alias="TAILRACE_RETAIN_BYTES", ge=MIB)
    """The log is pruned, oldest partition first, when it grows beyond this."""
    partition_size: int = Field(1_000_000, alias="TAILRACE_PARTITION_SIZE", ge=100)
    """Positions in one partition of the event log."""

    @field_validator("cors_origins", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("dodo_products", mode="before")
    @classmethod
    def _products(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = {}
        for part in value.split(","):
            name, _, number = part.strip().partition("=")
            if not name or not number.isdecimal() or not 0 < int(number) <= 1_000_000_000:
                msg = "write product=credits, apart by commas, such as pdt_small=100,pdt_large=500"
                raise ValueError(msg)
            found[name] = int(number)
        return found

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            parts = urlsplit(origin)
            plain = parts.scheme in {"http", "https"} and parts.hostname and "@" not in parts.netloc
            if not plain or parts.path or parts.query or parts.fragment or origin[-1] in "?#":
                msg = f"{origin!r} is not an origin such as https://app.example.com"
                raise ValueError(msg)
        # Browsers write origins in lower case, and they are compared as text.
        return tuple(origin.lower() for origin in value)

    @field_validator("redis_url")
    @classmethod
    def _redis(cls, value: str | None) -> str | None:
        if value is not None and urlsplit(value).scheme not in {"redis", "rediss", "unix"}:
            msg = "must start with redis://, rediss:// or unix://"
            raise ValueError(msg)
        return value

    @field_validator("smtp_url")
    @classmethod
    def _smtp(cls, value: str | None) -> str | None:
        if value is not None:
            parts = urlsplit(value)
            if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
                msg = "must be smtp://host:port or smtps://host:port"
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
        if self.webhook_retain < self.webhook_retain_payloads:
            msg = "TAILRACE_WEBHOOK_RETAIN is shorter than TAILRACE_WEBHOOK_RETAIN_PAYLOADS"
            raise ValueError(msg)
        if self.smtp_url and not (self.contact_to and self.contact_from):
            msg = "SMTP_URL is set but CONTACT_TO or CONTACT_FROM is not: set all three"
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

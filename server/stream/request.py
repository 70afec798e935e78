"""What a client may ask of a stream, and the form in which it may ask: query or JSON body."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from aiohttp import web
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    field_validator,
    model_validator,
)

from server.log.model import parse_id
from server.openapi.reading import Repeated, bounded, check, read_json
from server.stream.names import is_pattern

MAX_CHANNELS = 128
MAX_REWIND = 10_000

_AGO = re.compile(r"([0-9]{1,6})([smhd])", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_LONG_AGO = timedelta(days=365_000)
"""Before any log; further back the calendar of Python ends."""


def _channel(name: str) -> str:
    if not is_pattern(name):
        msg = (
            "a channel is segments of [A-Za-z0-9_-] joined by dots, at most 200 characters;"
            " a pattern may have * for one segment and > at the end for the rest"
        )
        raise ValueError(msg)
    return name


def _after(text: str) -> str:
    if text != "earliest" and parse_id(text) is None:
        msg = "an id as a stream gave it (3f2a9c1e.1042), or earliest"
        raise ValueError(msg)
    return text


def _since(value: Any) -> Any:
    """`10m` (s, m, h, d) ago, or an ISO 8601 time; without a zone it is UTC."""
    if not isinstance(value, str):
        return value
    if match := _AGO.fullmatch(value):
        ago = timedelta(**{_UNITS[match[2]]: int(match[1])})
        return datetime.now(UTC) - min(ago, _LONG_AGO)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        msg = "an ISO 8601 time, or a number with s, m, h or d"
        raise ValueError(msg) from None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:  # within a day of the calendar's ends
        return moment.replace(tzinfo=UTC)


Channel = Annotated[str, AfterValidator(_channel)]
After = Annotated[str, AfterValidator(_after)]
Since = Annotated[datetime, BeforeValidator(_since)]
Mode = Literal["all", "latest"]


class Wanted(BaseModel):
    """Channels, and at most one place to start from; without one, the present."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    channel: list[Channel] = Field(min_length=1, max_length=MAX_CHANNELS)
    after: After | None = None
    rewind: int | None = Field(None, ge=0, le=MAX_REWIND)
    since: Since | None = None
    limit: int | None = Field(None, ge=1, le=1_000_000)
    # server/auth/identify.py reads it from the address: here it is only known.
    token: str | None = Field(None, max_length=4_000)

    @field_validator("channel", mode="before")
    @classmethod
    def _some(cls, value: Any) -> Any:
        if value == []:
            msg = "name at least one: ?channel=public.hello"
            raise ValueError(msg)
        return value

    @model_validator(mode="after")
    def _one_start(self) -> Self:
        if sum(value is not None for value in (self.after, self.rewind, self.since)) > 1:
            msg = "give one of after, rewind and since"
            raise ValueError(msg)
        return self


class WantedStream(Wanted, Repeated):
    """A stream; `mode`: whether it gets every event, or while it lags only the newest of each
    channel and key (latest.py)."""

    mode: Mode = "all"


class WantedHistory(Wanted):
    """A page of history; `wait`: seconds to wait for the first event if there is none."""

    limit: int = Field(100, ge=1, le=1_000)
    wait: float = Field(0, ge=0, le=60)


W = TypeVar("W", bound=Wanted)


async def from_body(model: type[W], request: web.Request) -> W:
    """Read a JSON body, for lists too long for an address; `channels` may stand for `channel`.

    Raises:
        ApiError: 400, 413 or 415.
    """
    body = bounded(await read_json(request))
    if isinstance(body, dict) and "channels" in body and "channel" not in body:
        body["channel"] = body.pop("channels")
    return check(model, body)

"""API keys for servers: made, listed and revoked by admins, and shown once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal, Self

import asyncpg
from aiohttp import web
from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from server.accounts.ending import end_streams
from server.accounts.models import Name, Success
from server.auth import keys
from server.auth.identify import unauthorized
from server.auth.principal import Principal
from server.auth.sessions import token_hash
from server.errors import CONFLICT, FORBIDDEN, NOT_FOUND, UNAUTHORIZED, ApiError
from server.keys import POOL
from server.openapi.access import ADMIN
from server.openapi.fields import Input, Key, Moment, Output
from server.openapi.route import answer, route
from server.stream.request import MAX_CHANNELS

TAG = "API keys"
MAX_KEYS = 1_000
LONGEST = timedelta(days=3660)

Pattern = Annotated[
    str,
    # server.stream.names.is_pattern as a regular expression, so that the document tells it.
    Field(
        max_length=200,
        pattern=r"^(([A-Za-z0-9_-]+|\*)\.)*([A-Za-z0-9_-]+|\*|>)$",
        examples=["public.>"],
    ),
]


def _ahead(value: datetime) -> datetime:
    now = datetime.now(UTC)
    if not now < value <= now + LONGEST:
        msg = "this must be in the future, at most ten years from now"
        raise ValueError(msg)
    return value.astimezone(UTC)


class Rate(Input):
    """So many requests in any so many seconds."""

    requests: int = Field(1000, ge=1, le=1_000_000)
    seconds: int = Field(10, ge=1, le=86_400)


class NewKey(Input):
    """What a new key may do. Its channels limit what it may publish to and, beyond what is open to
    everybody, what it may read."""

    name: Name
    scopes: list[Literal["publish", "read", "notify", "webhooks", "uploads"]] = Field(
        min_length=1, max_length=5
    )
    channels: list[Pattern] = Field([], max_length=MAX_CHANNELS)
    rate: Rate = Rate(requests=1000, seconds=10)
    expires_at: Annotated[AwareDatetime, AfterValidator(_ahead)] | None = None

    @model_validator(mode="after")
    def _somewhere(self) -> Self:
        if "publish" in self.scopes and not self.channels:
            msg = "a key that may publish needs channels to publish to; > is all of them"
            raise ValueError(msg)
        return self


class KeyPath(Input):
    """Which key."""

    id: Key


class RateOut(Output):
    """So many requests in any so many seconds."""

    requests: int
    seconds: int


class KeyInfo(Output):
    """A key, without the key. `start`: its first characters; `userId`: who made it."""

    id: str
    user_id: str
    name: str
    start: str
    scopes: list[str]
    channels: list[str]
    rate: RateOut
    expires_at: Moment | None
    last_used_at: Moment | None
    created_at: Moment

    @classmethod
    def of(cls, row: asyncpg.Record, **more: Any) -> Self:
        """From a row of `api_keys`."""
        values: dict[str, Any] = dict(row)
        rate = RateOut(requests=values.pop("rate_count"), seconds=values.pop("rate_seconds"))
        return cls(**values, rate=rate, **more)


class MadeKey(KeyInfo):
    """A new key: `key` is shown now and never again."""

    key: str


class KeyList(Output):
    """All keys, the newest first."""

    keys: list[KeyInfo]


_COLUMNS = """id, user_id, name, start, scopes, channels, rate_count, rate_seconds,
      expires_at, last_used_at, created_at"""
_CREATE = f"""
    INSERT INTO public.api_keys (user_id, name, start, key_hash, scopes, channels, rate_count,
      rate_seconds, expires_at)
    SELECT id, $2, $3, $4, $5, $6, $7, $8, $9 FROM public.users
    WHERE id = $1 AND (SELECT count(*) FROM public.api_keys) < $10 FOR SHARE
    RETURNING {_COLUMNS}"""  # noqa: S608
_EXISTS = "SELECT EXISTS (SELECT FROM public.users WHERE id = $1)"
_LIST = f"""
    SELECT {_COLUMNS} FROM public.api_keys ORDER BY created_at DESC, id LIMIT 2000"""  # noqa: S608
_DELETE = "DELETE FROM public.api_keys WHERE id = $1 RETURNING id"


@route(
    "POST",
    "/api/keys",
    summary="Make an API key",
    tag=TAG,
    answers={201: MadeKey},
    access=ADMIN,
    errors=(UNAUTHORIZED, FORBIDDEN, CONFLICT),
    rate="writes",
)
async def create_key(request: web.Request, who: Principal, body: NewKey) -> web.Response:
    """The answer shows the key, once: only its SHA-256 is kept."""
    key = keys.new()
    pool = request.app[POOL]
    row = await pool.fetchrow(
        _CREATE,
        who.user_id,
        body.name,
        key[: keys.START],
        token_hash(key),
        sorted(set(body.scopes)),
        list(dict.fromkeys(body.channels)),
        body.rate.requests,
        body.rate.seconds,
        body.expires_at,
        MAX_KEYS,
    )
    if row is None:
        if not await pool.fetchval(_EXISTS, who.user_id):  # deleted a moment ago
            raise unauthorized("this needs credentials")
        raise ApiError(CONFLICT, f"there are {MAX_KEYS} keys: delete those that nobody uses")
    return answer(MadeKey.of(row, key=key), status=201)


@route(
    "GET",
    "/api/keys",
    summary="All API keys",
    tag=TAG,
    answers={200: KeyList},
    access=ADMIN,
    errors=(UNAUTHORIZED, FORBIDDEN),
)
async def list_keys(request: web.Request) -> KeyList:
    """Of all admins, expired ones too; never the keys themselves."""
    rows = await request.app[POOL].fetch(_LIST)
    return KeyList(keys=[KeyInfo.of(row) for row in rows])


@route(
    "DELETE",
    "/api/keys/{id}",
    summary="Revoke an API key",
    tag=TAG,
    answers={200: Success},
    access=ADMIN,
    errors=(UNAUTHORIZED, FORBIDDEN, NOT_FOUND),
    rate="writes",
)
async def delete_key(request: web.Request, path: KeyPath) -> Success:
    """At once: its open streams end, and its next request is refused."""
    deleted = await request.app[POOL].fetchval(_DELETE, path.id)
    if deleted is None:
        raise ApiError(NOT_FOUND)
    end_streams(request.app, keys=(deleted,))
    return Success()


ROUTES = (create_key, list_keys, delete_key)

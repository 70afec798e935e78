"""The sources in memory: what the door needs of those that admins have made over the API.

All are loaded together, when one is asked for and the last look is `FRESH` seconds old. So a flood
of names that nobody has made costs one query in that time, and while the database is away the
sources that are known go on being used.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from aiohttp import web
from pydantic import ValidationError

from server.errors import UNAVAILABLE, ApiError
from server.webhooks.providers import PROVIDERS, Provider, source
from server.webhooks.signing.schemes import HmacHeader, StandardWebhooks
from server.webhooks.sources.sealing import Sealer, SealingError

if TYPE_CHECKING:
    import asyncpg

    from server.db.pool import Pool

log = logging.getLogger(__name__)

FRESH = 2.0
"""Seconds for which a look at the database is good."""
PATIENCE = 1.0
"""Seconds that a request waits for such a look; after that it takes what was there before."""
LONGEST = 10.0
"""Seconds of one look."""

BUILT_IN = {provider.name: provider for provider in PROVIDERS}
ADDRESSES = ("deliveries", "replay", "sources", "summary")
"""What the API has under `/api/webhooks/`, or may have: no source is called so."""
SCHEMES: Mapping[str, type[StandardWebhooks | HmacHeader]] = {
    "standard": StandardWebhooks,
    "hmac": HmacHeader,
}
UNREADABLE = "its secrets were encrypted with another TAILRACE_SECRET"
UNKNOWN_SCHEME = "this version of the server does not know its scheme"

_Row = tuple[str, str, bytes]
"""Which secret: where it lies, and its bytes."""

_ALL = """
    SELECT s.name, s.scheme, s.channel, s.paused_at, s.created_at, s.updated_at,
      k.id, k.sealed, k.created_at AS made_at, k.expires_at
    FROM public.webhook_sources s LEFT JOIN public.webhook_secrets k ON k.source = s.name
    ORDER BY s.name, k.created_at, k.id"""


@dataclass(frozen=True)
class Secret:
    """One secret. `plain`: `None` if it can't be decrypted."""

    id: str
    plain: str | None = field(repr=False)
    created_at: datetime
    expires_at: datetime | None

    def live(self, now: float) -> bool:
        """Whether it counts at `now` (Unix time)."""
        return self.expires_at is None or self.expires_at.timestamp() > now


@dataclass(frozen=True)
class Source:
    """A row of `webhook_sources` and its secrets. A built-in provider's only tells of a pause."""

    name: str
    own: bool
    """Whether an admin has made it."""
    scheme: StandardWebhooks | HmacHeader | None
    channel: str | None
    paused: bool
    created_at: datetime
    updated_at: datetime
    secrets: tuple[Secret, ...]
    provider: Provider | None
    """How its deliveries are verified and read: of an own source whose scheme is known here."""

    def keys(self, now: float) -> list[str]:
        """The secrets that count at `now` (Unix time), as far as they can be read."""
        return [it.plain for it in self.secrets if it.plain is not None and it.live(now)]

    def fault(self, now: float) -> str | None:
        """Why its door has to stay closed."""
        if self.provider is None:
            return UNKNOWN_SCHEME
        live = [it for it in self.secrets if it.live(now)]
        return UNREADABLE if live and all(it.plain is None for it in live) else None


class Sources:
    """Every source that has a row."""

    def __init__(self, pool: Pool, sealer: Sealer) -> None:
        self.sealer = sealer
        self._pool = pool
        self._known: Mapping[str, Source] | None = None
        self._plain: dict[_Row, str | None] = {}
        self._look: asyncio.Task[None] | None = None
        self._began = self._looked = float("-inf")
        self._away = False
        self.looks = 0
        self._told: frozenset[str] = frozenset()

    async def find(self, name: str) -> Source | None:
        """A source that an admin has made.

        Raises:
            ApiError: 503 when nothing is known yet, as the database has not been there.
        """
        loop = asyncio.get_running_loop()
        if self._look is not None or loop.time() - self._looked >= FRESH:
            look = self._look or self._start()
            if (left := self._began + PATIENCE - loop.time()) > 0:
                await asyncio.wait({look}, timeout=left)
        if self._known is None:
            raise ApiError(
                UNAVAILABLE, "the database is not reachable", headers={"Retry-After": "1"}
            )
        found = self._known.get(name)
        return found if found is not None and found.own else None

    async def all(self) -> Mapping[str, Source]:
        """Every source as it is in the database now; the door knows of it, too.

        Raises:
            Exception: the database's, if it is not there.
        """
        while self._look is not None:  # it may have begun before what the caller knows of
            await asyncio.wait({self._look})
        await asyncio.shield(self._start())
        return self._known or {}

    async def stop(self) -> None:
        """End a look that is under way."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.wait({self._look})

    def _start(self) -> asyncio.Task[None]:
        loop = asyncio.get_running_loop()
        self._began = loop.time()
        self.looks += 1
        self._look = loop.create_task(self._load(), name="webhook sources")
        self._look.add_done_callback(self._ended)
        return self._look

    def _ended(self, look: asyncio.Task[None]) -> None:
        self._look = None
        self._looked = look.get_loop().time()
        error = None if look.cancelled() else look.exception()
        if error is not None and not self._away:
            log.warning("the sources of webhooks can't be read: %r", error)
        self._away = error is not None

    async def _load(self) -> None:
        async with asyncio.timeout(LONGEST):
            rows = await self._pool.fetch(_ALL)
        self._plain = {_key(row): self._opened(row) for row in rows if row["id"] is not None}
        found: dict[str, list[asyncpg.Record]] = {}
        for row in rows:
            found.setdefault(row["name"], []).append(row)
        self._known = {name: self._source(rows) for name, rows in found.items()}
        self._tell_closed()

    def _opened(self, row: asyncpg.Record) -> str | None:
        if (key := _key(row)) in self._plain:
            return self._plain[key]
        try:
            return self.sealer.open(row["sealed"], row["name"], row["id"])
        except SealingError:
            return None

    def _source(self, rows: list[asyncpg.Record]) -> Source:
        row = rows[0]
        # A name that has become a provider's must not come in by a secret of somebody else's.
        own = row["scheme"] is not None and row["name"] not in BUILT_IN
        scheme = stored_scheme(row["scheme"]) if own else None
        return Source(
            name=row["name"],
            own=own,
            scheme=scheme,
            channel=row["channel"],
            paused=row["paused_at"] is not None,
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            secrets=tuple(
                Secret(it["id"], self._plain[_key(it)], it["made_at"], it["expires_at"])
                for it in rows
                if it["id"] is not None
            ),
            provider=None if scheme is None else source(row["name"], scheme),
        )

    def _tell_closed(self) -> None:
        """Once in the log, and again only if it has been well in between."""
        now = datetime.now(UTC).timestamp()
        own = [it for it in (self._known or {}).values() if it.own]
        faults = {it.name: fault for it in own if (fault := it.fault(now)) is not None}
        for name in faults.keys() - self._told:
            log.error("the door of the webhook source %s is closed: %s", name, faults[name])
        self._told = frozenset(faults)


def _key(row: asyncpg.Record) -> _Row:
    return row["name"], row["id"], row["sealed"]


def stored_scheme(text: str) -> StandardWebhooks | HmacHeader | None:
    """A scheme as it lies in the table; `None` if this version does not know it."""
    value = json.loads(text)
    kind = value.get("kind") if isinstance(value, dict) else None
    try:
        return SCHEMES[kind].model_validate(value) if isinstance(kind, str) else None
    except (KeyError, ValidationError):
        return None


SOURCES = web.AppKey("webhook_sources", Sources)

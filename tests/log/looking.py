"""Looking into the log, as tests of its SQL do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from server.log.history import COLUMNS

if TYPE_CHECKING:
    from server.db.pool import Connection as Sql


class Seen(NamedTuple):
    """An event as readers get it."""

    pos: int
    channel: str
    type: str
    key: str | None
    data: Any


async def publish(sql: Sql, data: object, channel: str = "public.a", **more: object) -> Any:
    """Publish as an application does; returns the message id."""
    names = "".join(f", {name} => ${number}" for number, name in enumerate(more, 4))
    return await sql.fetchval(
        f"SELECT tailrace.publish($1, $2, $3::text::jsonb{names})",
        channel,
        "t",
        json.dumps(data),
        *more.values(),
    )


async def stamp(sql: Sql, limit: int = 10_000) -> list[Seen]:
    """Give everything that is committed a position; what was stamped."""
    before = await sql.fetchval("SELECT pos FROM tailrace.head")
    await sql.execute("SELECT FROM tailrace.stamp($1)", limit)
    return await read(sql, before)


async def read(sql: Sql, after: int = 0) -> list[Seen]:
    """The log after a position, as readers get it."""
    rows = await sql.fetch(
        f"SELECT {COLUMNS} FROM tailrace.event WHERE pos > $1 ORDER BY pos", after
    )
    seen = []
    for pos, channel, key, text in rows:
        body = json.loads(text)
        assert (channel, key) == (body["channel"], body["key"])
        seen.append(Seen(pos, channel, body["type"], key, body["data"]))
    return seen


async def datas(sql: Sql) -> list[Any]:
    """The data of what is stamped now."""
    return [event.data for event in await stamp(sql)]


class Notifications(list[str]):
    """Payloads on the channel `tailrace`, in order."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql

    async def drain(self) -> list[str]:
        """Those so far: whatever was committed before is here by the end of a round trip."""
        await self._sql.fetchval("SELECT 1")
        await asyncio.sleep(0)
        taken = list(self)
        self.clear()
        return taken


@asynccontextmanager
async def listening(sql: Sql) -> AsyncIterator[Notifications]:
    """Listen on this connection."""
    heard = Notifications(sql)

    def hear(_connection: object, _pid: int, _channel: str, payload: object) -> None:
        heard.append(str(payload))

    await sql.add_listener("tailrace", hear)
    yield heard
    await sql.remove_listener("tailrace", hear)


@asynccontextmanager
async def rolled_back(sql: Sql) -> AsyncIterator[None]:
    """A transaction, or a savepoint in one, that comes to nothing."""
    transaction = sql.transaction()
    await transaction.start()
    yield
    await transaction.rollback()

"""Connections to Postgres, embedded or yours: the pool, and single ones outside it."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg

from server.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Connection = asyncpg.Connection[asyncpg.Record]
    Pool = asyncpg.Pool[asyncpg.Record]
    Either = Connection | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
    """A connection, of the pool or not."""

APPLICATION = "tailrace"
CONNECT_TIMEOUT = 10.0
COMMAND_TIMEOUT = 30.0


@dataclass(frozen=True, slots=True)
class Database:
    """Where the database is.

    `direct_url` is set when `url` leads through a pooler in transaction mode: LISTEN, advisory
    locks over several statements and prepared statements need a session of their own.
    """

    url: str
    direct_url: str | None
    embedded: bool

    @property
    def direct(self) -> str:
        """The address for what needs a session."""
        return self.direct_url or self.url


async def create_pool(
    database: Database, size: int, *, check: Callable[[Connection], Awaitable[None]]
) -> Pool:
    """Open the pool; `check` sees every new connection before anybody may use it.

    Raises:
        StartError: there is no connecting; one sentence, without the password.
    """

    async def init(connection: Connection) -> None:
        await check(connection)

    async def keep(connection: Connection) -> None:
        """An open transaction has been rolled back by now, and nothing of ours sets a session up:
        asyncpg's own reset would cost each use a further round trip."""

    try:
        return await asyncpg.create_pool(
            database.url,
            min_size=min(2, size),
            max_size=size,
            reset=keep,
            # A connection closed for idleness would pay connect and check again at the next burst.
            max_inactive_connection_lifetime=0,
            init=init,
            **_options(pooled=database.direct_url is not None),
        )
    except _REFUSALS as error:
        raise _refused(error, database.url) from None


async def connect(database: Database, *, suffix: str = "") -> Connection:
    """A connection of its own, outside the pool and past a pooler; `suffix` names its purpose.

    Raises:
        StartError: there is no connecting; one sentence, without the password.
    """
    try:
        return await asyncpg.connect(database.direct, **_options(pooled=False, suffix=suffix))
    except _REFUSALS as error:
        raise _refused(error, database.direct) from None


def _options(*, pooled: bool, suffix: str = "") -> dict[str, Any]:
    options: dict[str, Any] = {
        "timeout": CONNECT_TIMEOUT,
        # A database that vanished without a word must not be waited for until TCP gives up.
        "command_timeout": COMMAND_TIMEOUT,
        # A startup parameter that PgBouncer knows; it rejects others.
        "server_settings": {"application_name": f"{APPLICATION}{suffix}"},
    }
    if pooled:
        # A named statement of one transaction is not there in the next, on another connection.
        options["statement_cache_size"] = 0
    return options


_REFUSALS = (
    OSError,
    TimeoutError,
    ValueError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncio.IncompleteReadError,
)


def _refused(error: BaseException, url: str) -> StartError:
    """One sentence for a connection that could not be made."""
    where = _where(url)
    if isinstance(error, asyncpg.InvalidPasswordError):
        why = "the user name or the password is wrong"
    elif isinstance(error, asyncpg.InvalidCatalogNameError):
        why = "there is no such database"
    elif isinstance(error, TimeoutError):
        why = f"no answer in {CONNECT_TIMEOUT:.0f} s"
    elif isinstance(error, asyncpg.PostgresError):
        why = f"Postgres says: {error}"
    elif isinstance(error, OSError):
        # asyncio puts "Connect call failed" where the reason belongs.
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    else:
        # asyncpg quotes the address it could not parse, password included.
        why = "the address cannot be understood"
    return StartError(f"cannot connect to Postgres at {where}: {why}; check DATABASE_URL")


def _where(url: str) -> str:
    """Host, port and database of an address, without user and password."""
    try:
        parts = urlsplit(url)
        place = parts.hostname or "the local socket"
        return f"{place}{f':{parts.port}' if parts.port else ''}{parts.path}"
    except ValueError:
        return "the given address"

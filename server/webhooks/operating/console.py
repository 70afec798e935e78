"""What the commands of `tailrace webhooks` share: the way to the database, and foreign text on a
terminal."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import asyncpg

from server.db.faults import LOST
from server.db.pool import Database, connect
from server.errors import StartError
from server.webhooks.operating import sql

if TYPE_CHECKING:
    from server.db.pool import Connection
    from server.settings import Settings

SECONDS = 25.0
"""For a statement; the connection itself gives up after 30."""

T = TypeVar("T")

# What a terminal acts upon, or what turns the direction of text.
_ACTIVE = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")


_NO_SCHEMA = (
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedColumnError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InvalidSchemaNameError,
)


class Place(NamedTuple):
    """Where the commands find what they work on."""

    database: Callable[[], str]
    """The database's address; raises StartError."""
    settings: Callable[[], Settings]


def run(place: Place, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do it on a connection of its own.

    Raises:
        StartError: there is no database, or it can't be done now.
    """
    return asyncio.run(_connected(place.database(), work))


async def _connected(url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    connection = await connect(Database(url, None, embedded=False), suffix=" webhooks")
    try:
        return await work(connection)
    except _NO_SCHEMA:
        msg = "the database has no tables for webhooks yet: run tailrace migrate"
        raise StartError(msg) from None
    except sql.TooSlowError:
        msg = f"it took more than {SECONDS:.0f} s: narrow the time (--since, --until) or --source"
        raise StartError(msg) from None
    except LOST as error:
        msg = f"the database went away: {error}"
        raise StartError(msg) from None
    except asyncpg.PostgresError as error:
        msg = f"Postgres says: {error}"
        raise StartError(msg) from None
    finally:
        await connection.close(timeout=5)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Cells under each other; what a sender wrote can't move them."""
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]


def visible(text: str, *, lines: bool = False) -> str:
    """Foreign text for a terminal: its control characters are spelt out. `lines`: but not those."""
    return _ACTIVE.sub(
        lambda found: found[0] if lines and found[0] in "\n\t" else f"\\u{ord(found[0]):04x}", text
    )

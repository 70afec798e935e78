"""Brings the database to the schema of this code: `schema.sql` as a whole, once per version."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import asyncpg

from server.db.pool import connect
from server.errors import StartError

if TYPE_CHECKING:
    from server.db.pool import Connection, Database

# In a checkout it lies at the top, where people read it; a wheel carries it inside the package.
PACKAGE = Path(__file__).resolve().parents[1]
PLACES = (PACKAGE / "schema.sql", PACKAGE.parent / "schema.sql")
FIRST_LINE = re.compile(r"-- schema_version: (\d+)")

OLDEST_POSTGRES = 14
# Any number, the same in every release: servers that start together migrate one after the other.
LOCK = 7_245_722_301
# A forgotten transaction that holds a table must not hang a deployment without a word.
LOCK_TIMEOUT = "10s"

# Not to_regclass(): inside the transaction that waited for the lock it still answers from the
# session's cache, where the schema is missing, and every waiting server would migrate again.
EXISTS = """
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_class c
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'tailrace' AND c.relname = 'schema_version'
)
"""
NEWEST = "SELECT max(version) FROM tailrace.schema_version"


async def migrate(database: Database, *, force: bool = False) -> bool:
    """Apply the schema when the database has an older one or none; whether it was applied.

    `force` applies it at the same version too (it is idempotent).

    Raises:
        StartError: the database is newer than the code, too old a Postgres, or cannot be changed.
    """
    version, schema = read_schema()
    connection = await connect(database, suffix=" migrate")
    try:
        return await _migrate(connection, version, schema, force=force)
    except asyncpg.LockNotAvailableError:
        msg = (
            f"cannot migrate: another transaction has held a lock for {LOCK_TIMEOUT}; end it"
            " (pg_stat_activity shows it) and start again"
        )
        raise StartError(msg) from None
    except asyncpg.PostgresError as error:
        raise StartError(f"cannot migrate: Postgres says: {error}") from None
    finally:
        await connection.close()


async def check(database: Database) -> None:
    """For a server that may not migrate: the schema must be that of this code.

    Raises:
        StartError: it is another one, or there is none.
    """
    version, _ = read_schema()
    connection = await connect(database, suffix=" migrate")
    try:
        applied = await _applied(connection)
    except asyncpg.PostgresError as error:
        raise StartError(f"cannot read the schema version: Postgres says: {error}") from None
    finally:
        await connection.close()
    if not _settled(applied, version):
        has = "no schema" if applied is None else f"schema version {applied}"
        msg = (
            f"TAILRACE_MIGRATE is off and the database has {has}, not {version}: run tailrace"
            " migrate first"
        )
        raise StartError(msg)


def read_schema() -> tuple[int, str]:
    """The schema of this code and its version, which the first line states."""
    for place in PLACES:
        if place.is_file():
            schema = place.read_text(encoding="utf-8")
            found = FIRST_LINE.match(schema)
            if found is None:
                msg = f"{place} does not begin with its version (-- schema_version: 1)"
                raise StartError(msg)
            return int(found[1]), schema
    msg = "schema.sql is missing from this installation: install Tailrace again"
    raise StartError(msg)


async def _migrate(connection: Connection, version: int, schema: str, *, force: bool) -> bool:
    if connection.get_server_version().major < OLDEST_POSTGRES:
        msg = (
            f"this is Postgres {connection.get_server_version().major}, and Tailrace needs"
            f" {OLDEST_POSTGRES} or newer"
        )
        raise StartError(msg)
    if _settled(await _applied(connection), version) and not force:
        return False
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
        await connection.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
        # Another process may have done it while we waited.
        if _settled(await _applied(connection), version) and not force:
            return False
        await connection.execute(schema)
    return True


def _settled(applied: int | None, version: int) -> bool:
    """Whether the database has this version already; one that is newer stops us."""
    if applied is not None and applied > version:
        msg = (
            f"the database has schema version {applied} and this Tailrace knows {version}:"
            " start the newer Tailrace, or restore the older database"
        )
        raise StartError(msg)
    return applied == version


async def _applied(connection: Connection) -> int | None:
    """The version that the database has, `None` before the first migration."""
    if not await connection.fetchval(EXISTS):
        return None
    found: int | None = await connection.fetchval(NEWEST)
    return found

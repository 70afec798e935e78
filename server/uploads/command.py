"""`tailrace uploads clean`: the cleanup by hand, beside a running server or without one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
import click

from server.db.faults import LOST
from server.db.pool import Database, connect
from server.errors import StartError
from server.uploads.cleaning import ABANDONED, Cleaned, Cleaner
from server.uploads.spool import Spool
from server.uploads.store import StoreError
from server.uploads.stores import open_store

if TYPE_CHECKING:
    from server.settings import Settings

SHOWN = 20
"""Ids of missing files that are listed."""


class Place(NamedTuple):
    """Where the command finds what it works on."""

    database: Callable[[], str]
    """The database's address; raises StartError."""
    settings: Callable[[], Settings]


@click.group()
def uploads() -> None:
    """Clean up after uploads."""


@uploads.command()
@click.option("--dry-run", is_flag=True, help="Only tell what would be removed.")
@click.option(
    "--older-than",
    type=click.FloatRange(min=0),
    default=ABANDONED,
    show_default=True,
    metavar="SECONDS",
    help="Without a write for so long; 0 only while no server runs.",
)
@click.option("--force", is_flag=True, help="Also if most files in the store have no row.")
@click.pass_obj
def clean(place: Place, dry_run: bool, older_than: float, force: bool) -> None:
    """Remove expired uploads, and files that belong to none.

    From the store (STORAGE_URL) and from this machine's spool (TAILRACE_DATA). Files that ought to
    be in the store and are not are reported: then the exit code is 1.
    """
    found = asyncio.run(_clean(place, dry_run=dry_run, older_than=older_than, force=force))
    for line in _lines(found, dry_run=dry_run):
        click.echo(line)
    if found.missing or found.held:
        raise click.exceptions.Exit(1)


async def _clean(place: Place, *, dry_run: bool, older_than: float, force: bool) -> Cleaned:
    settings = place.settings()
    connection = await connect(Database(place.database(), None, embedded=False), suffix=" uploads")
    store, spool = open_store(settings.storage_url, settings.data), Spool(settings.data)
    try:
        return await Cleaner(
            connection, store, spool, older_than=older_than, dry_run=dry_run, force=force
        ).look()
    except asyncpg.UndefinedTableError:
        msg = "the database has no tables for uploads yet: run tailrace migrate"
        raise StartError(msg) from None
    except StoreError as error:
        msg = f"the store can't be cleaned up: {error}"
        raise StartError(msg) from None
    except LOST as error:
        msg = f"the database went away: {error}"
        raise StartError(msg) from None
    finally:
        spool.close()
        await store.close()
        await connection.close(timeout=5)


def _lines(found: Cleaned, *, dry_run: bool) -> Iterator[str]:
    done = "would be removed" if dry_run else "removed"
    yield (
        f"{done}: {found.expired} expired, {found.spooled} in the spool, {found.orphans} in the"
        f" store without a row ({found.size} bytes without a row)"
    )
    if found.held:
        yield (
            f"left: {found.held} files in the store without a row, more than have one. Is this the"
            " database that belongs to the store? If it is: --force"
        )
    if found.missing:
        yield f"missing in the store: {len(found.missing)}"
        yield from (f"  {id_}" for id_ in found.missing[:SHOWN])

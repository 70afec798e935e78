"""The cleanup while others are at work: senders, other cleanups; its timer and its command."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from server.__main__ import main
from server.db.embedded import EmbeddedPostgres
from server.keys import POOL
from server.uploads import cleaning
from server.uploads.cleaning import ABANDONED
from server.uploads.tus import locks
from server.uploads.tus.locks import Locks
from tests.conftest import database_url
from tests.uploads.cleaning import Site, site
from tests.uploads.kept import running
from tests.waiting import until

__all__ = ["site"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_whoever_sends_to_an_upload_that_has_expired_is_made_to_leave(site: Site) -> None:
    await site.empty()
    kept = await site.keep(state="receiving", expires=-1)
    asked = asyncio.Event()

    async def send() -> None:
        async with Locks(site.uploads.spool).take(kept.id) as hold:
            hold.watch(asked.set)
            await asked.wait()
            assert kept.id in await site.known()

    sending = asyncio.create_task(send())
    await until(lambda: list(site.uploads.spool.path(kept.id).parent.glob("*.lock")))
    assert (await site.cleaner(ABANDONED).look()).expired == 1
    await sending
    assert not site.uploads.spool.path(kept.id).exists()


async def test_an_upload_that_is_just_being_stored_is_left_to_become_whole(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    await site.empty()
    kept = await site.keep(state="receiving", expires=-1)
    async with Locks(site.uploads.spool).take(kept.id):
        assert not await site.cleaner(ABANDONED).look()
    assert kept.id in await site.known()
    assert (await site.cleaner(ABANDONED).look()).expired == 1


async def test_several_at_once_do_it_once(site: Site) -> None:
    await site.empty()
    for _ in range(20):
        await site.keep(expires=-1)
    found = await asyncio.gather(*(site.cleaner(ABANDONED).look() for _ in range(4)))
    assert sum(each.expired for each in found) == 20
    assert await site.stored() == await site.known()


async def test_the_timer_goes_on_after_the_database_was_away(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cleaning, "EVERY", 0.02)
    pool = site.server.app[POOL]
    await pool.execute("ALTER TABLE uploads RENAME TO elsewhere")
    await pool.execute(
        "CREATE FUNCTION away() RETURNS timestamptz LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'away' USING ERRCODE = '57P01'; END $$;"
        " CREATE VIEW uploads AS SELECT away() AS expires_at, id, state FROM elsewhere"
    )
    kept = await _expired(site)
    task = asyncio.create_task(site.cleaner(ABANDONED).run())
    await until(lambda: "waits for the database" in caplog.text)
    await pool.execute("DROP VIEW uploads; ALTER TABLE elsewhere RENAME TO uploads")

    async def gone() -> bool:
        return kept not in await site.known()

    await until(gone)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _expired(site: Site) -> str:
    id_ = await site.orphan()
    await site.server.app[POOL].execute(
        "INSERT INTO elsewhere (id, owner, policy, visibility, state, name, type, size, expires_at)"
        " VALUES ($1, 'key:x', 'images', 'public', 'ready', 'a', 'image/png', 1, now())",
        id_,
    )
    return id_


def clean(directory: Path, *words: str, **settings: str) -> Result:
    """Run the command; test_cleaning_killed.py does so in a process of its own."""
    given = {"TAILRACE_DATA": str(directory)} | settings
    return CliRunner().invoke(main, ["uploads", "clean", *words], env=given)


async def test_the_command_cleans_up_and_tells_of_what_is_missing(
    postgres: EmbeddedPostgres, tmp_path: Path
) -> None:
    async with running(postgres, data=tmp_path) as server:
        site = Site(server)
        kept, lost = await site.keep(), await site.keep()
        await site.orphan()
        await site.uploads.store.delete(lost.id)
        name = await server.app[POOL].fetchval("SELECT current_database()")
        url = database_url(postgres, name)
        secret = {"DATABASE_URL": url, "TAILRACE_SECRET": "s" * 32}
        done = await asyncio.to_thread(clean, tmp_path, "--older-than", "0", **secret)
        assert (done.exit_code, done.stderr) == (1, "")
        assert "1 in the store without a row" in done.stdout
        assert f"missing in the store: 1\n  {lost.id}\n" in done.stdout
        assert await site.stored() == {kept.id}
        nowhere = await asyncio.to_thread(clean, tmp_path / "no", **secret)
        assert (nowhere.exit_code, nowhere.stdout) == (1, "")
        assert "the store can't be cleaned up" in nowhere.stderr
        assert "Traceback" not in nowhere.stderr

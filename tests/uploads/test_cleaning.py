"""The cleanup: what it removes, and what it must leave alone."""

from __future__ import annotations

import asyncio
import os
import secrets
import time
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from click.testing import CliRunner, Result

from server.__main__ import main
from server.db.embedded import EmbeddedPostgres
from server.keys import POOL
from server.uploads import cleaning
from server.uploads.cleaning import ABANDONED, Cleaned, Cleaner
from server.uploads.records import Record
from server.uploads.service import UPLOADS
from server.uploads.spool import Spool
from server.uploads.tus import locks
from server.uploads.tus.locks import Locks
from tests.conftest import database_url
from tests.served import Served
from tests.uploads.kept import keep, running
from tests.uploads.making import encoded, picture
from tests.uploads.moto import Moto
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = encoded(picture(), "PNG")


class Site:
    """A server whose files are cleaned up by the tests alone: its own timer waits for minutes."""

    def __init__(self, server: Served) -> None:
        self.server = server
        self.uploads = server.app[UPLOADS]

    def cleaner(self, older_than: float = 0, **more: Any) -> Cleaner:
        pool = self.server.app[POOL]
        store, spool = self.uploads.store, self.uploads.spool
        return Cleaner(pool, store, spool, older_than=older_than, **more)

    async def keep(self, **more: Any) -> Record:
        user, _ = await self.server.sign_in()
        return await keep(self.server, PNG, user, **more)

    async def orphan(self) -> str:
        """A file in the store whose row was never written."""
        id_ = secrets.token_hex(16)
        path = self.spooled(id_)
        await self.uploads.store.put(id_, path, size=len(PNG), content_type="image/png")
        return id_

    def spooled(self, id_: str, age: float = 0) -> Path:
        """A file in the spool, last written so many seconds ago."""
        path = self.uploads.spool.path(id_)
        path.write_bytes(PNG)
        os.utime(path, (time.time() - age,) * 2)
        return path

    async def stored(self) -> set[str]:
        files = self.uploads.store.keys()
        return {item.key async for item in files}

    async def empty(self) -> None:
        await self.server.app[POOL].execute("DELETE FROM uploads")
        for key in await self.stored():
            await self.uploads.store.delete(key)
        for left in await self.uploads.spool.leftovers(0):
            await self.uploads.spool.discard(left.name)

    async def known(self) -> set[str]:
        return {row["id"] for row in await self.server.app[POOL].fetch("SELECT id FROM uploads")}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: EmbeddedPostgres) -> AsyncIterator[Site]:
    async with running(postgres) as server:
        yield Site(server)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(postgres: EmbeddedPostgres, moto: Moto) -> AsyncIterator[Site]:
    endpoint = f"endpoint=http://127.0.0.1:{moto.port}&region=us-east-1"
    url = f"s3://testing:testing@uploads/{uuid.uuid4().hex}?{endpoint}"
    async with running(postgres, storage_url=url) as server:
        yield Site(server)


@pytest.fixture(params=["site", "cloud"])
def chosen(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


@pytest_asyncio.fixture(loop_scope="module")
async def either(chosen: Site) -> Site:
    """One without files."""
    await chosen.empty()
    return chosen


async def test_what_has_expired_goes_with_its_file(either: Site) -> None:
    gone, left = await either.keep(expires=-1), await either.keep(expires=60)
    receiving = await either.keep(state="receiving", expires=-1)
    found = await either.cleaner(ABANDONED).look()
    assert found == Cleaned(expired=2)
    assert await either.known() == await either.stored() == {left.id}
    assert not either.uploads.spool.path(receiving.id).exists()
    assert gone.id not in await either.stored()


async def test_a_file_without_a_row_goes_when_it_is_old(either: Site) -> None:
    kept, orphan = await either.keep(), await either.orphan()
    assert not await either.cleaner(ABANDONED).look()
    assert await either.stored() == {kept.id, orphan}
    found = await either.cleaner().look()
    assert found == Cleaned(orphans=1, size=len(PNG))
    assert await either.stored() == {kept.id}


async def test_a_deleted_users_files_go(either: Site) -> None:
    kept = await either.keep()
    await either.server.app[POOL].execute("DELETE FROM users WHERE id = $1", kept.user_id)
    assert await either.stored() == {kept.id}
    await either.cleaner().look()
    assert await either.stored() == set()


async def test_a_row_whose_file_is_missing_is_reported_and_stays(either: Site) -> None:
    kept, lost = await either.keep(), await either.keep()
    await either.keep(state="receiving", expires=60)
    await either.uploads.store.delete(lost.id)
    found = await either.cleaner(ABANDONED).look()
    assert found == Cleaned(missing=[lost.id])
    assert {kept.id, lost.id} < await either.known()


async def test_a_dry_run_counts_and_removes_nothing(either: Site) -> None:
    await either.keep(), await either.keep(expires=-1), await either.orphan()
    left = either.spooled(secrets.token_hex(16))
    before = (await either.known(), await either.stored())
    found = await either.cleaner(dry_run=True).look()
    assert found == Cleaned(expired=1, spooled=1, orphans=1, size=2 * len(PNG))
    assert (await either.known(), await either.stored()) == before
    assert left.exists()
    assert await either.cleaner().look() == found
    assert len(await either.stored()) == 1


async def test_the_spool_keeps_what_is_coming_in(site: Site) -> None:
    await site.empty()
    receiving = await site.keep(state="receiving", expires=60)
    coming = site.uploads.spool.path(receiving.id)
    os.utime(coming, (0, 0))
    ready = await site.keep()
    left = [
        site.spooled(secrets.token_hex(16), ABANDONED + 1),
        site.spooled(ready.id, ABANDONED + 1),
    ]
    young = site.spooled(secrets.token_hex(16), ABANDONED - 60)
    found = await site.cleaner(ABANDONED).look()
    assert (found.spooled, found.size) == (2, 2 * len(PNG))
    assert [path.exists() for path in (*left, young, coming)] == [False, False, True, True]
    assert ready.id in await site.stored()
    young.unlink()


async def test_a_store_that_is_anothers_is_left_alone(site: Site) -> None:
    await site.empty()
    for _ in range(cleaning.FEW + 1):
        await site.orphan()
    found = await site.cleaner().look()
    assert found == Cleaned(held=cleaning.FEW + 1)
    assert len(await site.stored()) == cleaning.FEW + 1
    forced = await site.cleaner(force=True).look()
    assert forced.orphans == cleaning.FEW + 1
    assert await site.stored() == set()


async def test_so_is_one_with_more_files_than_one_look_removes(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "FEW", 2)
    monkeypatch.setattr(cleaning, "MOST", 3)
    await site.empty()
    for _ in range(4):
        await site.keep()
    for _ in range(5):
        await site.orphan()
    assert await site.cleaner().look() == Cleaned(held=5)
    assert len(await site.stored()) == 9


async def test_so_is_one_that_another_server_is_filling(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its young files have no row here either."""
    monkeypatch.setattr(cleaning, "FEW", 2)
    await site.empty()
    for number in range(8):
        path = site.uploads.store.path(await site.orphan())
        assert path is not None
        if number < 3:
            os.utime(path, (time.time() - ABANDONED - 1,) * 2)
    assert await site.cleaner(ABANDONED).look() == Cleaned(held=3)


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


async def test_where_there_is_no_spool_rows_expire_all_the_same(site: Site, tmp_path: Path) -> None:
    """An upload of another machine's; that one finds the file without a row."""
    await site.empty()
    kept = await site.keep(state="receiving", expires=-1)
    spool = Spool(tmp_path / "none")
    cleaner = Cleaner(site.server.app[POOL], site.uploads.store, spool)
    assert await cleaner.look() == Cleaned(expired=1)
    assert await site.known() == set()
    assert site.uploads.spool.path(kept.id).exists()


async def test_the_locks_of_dead_processes_go(site: Site) -> None:
    await site.empty()
    coming = await site.keep(state="receiving", expires=60)
    left = [
        site.uploads.spool.path(id_).with_suffix(".lock")
        for id_ in (secrets.token_hex(16), coming.id)
    ]
    for path in left:
        path.touch()
    assert not await site.cleaner(ABANDONED, dry_run=True).look()
    assert all(path.exists() for path in left)
    await site.cleaner(ABANDONED).look()
    # The other's may tell which of its bytes do not count.
    assert [path.exists() for path in left] == [False, True]
    left[1].unlink()


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

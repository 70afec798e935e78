"""The cleanup: what it removes, and what it must leave alone."""

from __future__ import annotations

import os
import secrets
import time
from pathlib import Path

import pytest
import pytest_asyncio

from server.keys import POOL
from server.uploads import cleaning
from server.uploads.cleaning import ABANDONED, Cleaned, Cleaner
from server.uploads.spool import Spool
from tests.uploads.cleaning import Site, cloud, site
from tests.uploads.making import PNG

__all__ = ["cloud", "site"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


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

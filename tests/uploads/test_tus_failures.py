"""What goes wrong with an upload by tus on its way: its sender, its bytes, the disk, its row."""

from __future__ import annotations

from typing import Any

import pytest

from server.keys import POOL, SETTINGS
from server.uploads.policies import MIB
from server.uploads.service import UPLOADS
from server.uploads.store import NoSpace
from server.uploads.tus import TUS
from tests.clean import reused
from tests.served import Served
from tests.uploads.making import HTML, PDF
from tests.uploads.tus import PNG, Client, held
from tests.uploads.tus_server import client, gone, kept, server
from tests.waiting import until

__all__ = ["client", "reused", "server"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- the sender and the disk


async def test_a_sender_that_stalls_is_answered_and_what_came_is_kept(client: Client) -> None:
    path = await client.create(len(PNG))
    async with client.hanging(path, 0, PNG[:3000], length=len(PNG)) as request:
        assert await request.status() == 408
    assert (await client.head(path)).offset == 3000


async def test_what_came_before_a_cut_is_kept(server: Served, client: Client) -> None:
    path = await client.create(len(PNG))
    spool = server.app[UPLOADS].spool
    before = spool.received
    async with client.hanging(path, 0, PNG[:3000], length=len(PNG)) as request:
        await until(lambda: spool.received == before + 3000)
        request.writer.close()
    await until(lambda: not server.app[TUS].locks._held)
    assert (await client.head(path)).offset == 3000
    assert (await client.patch(path, 3000, PNG[3000:])).offset == len(PNG)


async def test_a_disk_that_fills_keeps_what_fitted(
    server: Served, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: Any, **__: Any) -> None:
        raise NoSpace("full")

    path = await client.create(len(PNG))
    with monkeypatch.context() as patch:
        patch.setattr(server.app[UPLOADS].store, "put", full)
        assert (await client.patch(path, 0, PNG)).error == (507, "Insufficient storage")
        assert (await client.head(path)).status == 507
    # All is there, so it is made whole before it is told.
    assert (await client.head(path)).offset == len(PNG)
    assert (await client.get(path)).body["state"] == "ready"


# --- the same checks as in a form


@pytest.mark.parametrize(
    ("policy", "filetype", "data"),
    [
        ("images", "image/png", PNG[:-500]),
        ("images", "image/jpeg", PNG),
        ("images", "", HTML),
        ("documents", "text/plain", b"plain\0"),
        ("media", "video/mp4", PDF),
    ],
)
async def test_a_file_that_is_refused_at_its_end_leaves_nothing(
    server: Served, client: Client, policy: str, filetype: str, data: bytes
) -> None:
    path = await client.create(len(data), policy=policy, filetype=filetype)
    half = len(data) // 2
    answer = await client.patch(path, 0, data[:half])
    if answer.status == 204:
        answer = await client.patch(path, half, data[half:])
    assert answer.error == (400, "Invalid file type")
    await gone(server, client, path)


async def test_a_wrong_type_is_refused_at_the_first_bytes(server: Served, client: Client) -> None:
    path = await client.create(100 * MIB, policy="media", filetype="video/mp4")
    async with client.hanging(path, 0, PDF.ljust(9000), length=100 * MIB) as request:
        assert await request.status() == 400
    await gone(server, client, path)


# --- what is lost


async def test_an_upload_whose_bytes_are_lost_is_not_there_any_more(
    server: Served, client: Client
) -> None:
    """Its process died behind the store and before the row, or somebody emptied the spool."""
    path = await client.create(len(PNG))
    id_ = path.rpartition("/")[2]
    spool = server.app[UPLOADS].spool.path(id_)
    spool.write_bytes(PNG)
    await server.app[UPLOADS].store.put(id_, spool, size=len(PNG), content_type="image/png")
    await gone(server, client, path)


async def test_another_machines_upload_is_a_conflict(server: Served, client: Client) -> None:
    path = await client.create(len(PNG))
    id_ = path.rpartition("/")[2]
    assert id_.startswith((await server.app[TUS].host())[:6])
    await server.app[POOL].execute("UPDATE uploads SET host = 'other' WHERE id = $1", id_)
    answer = await client.patch(path, 0, PNG)
    assert answer.error == (409, "Conflict")
    assert "routed by its id" in answer.body["detail"]
    assert (await client.head(path)).status == 409


@pytest.mark.parametrize("file_too", [False, True])
async def test_an_upload_that_is_deleted_while_it_comes_is_not_stored(
    server: Served, client: Client, *, file_too: bool
) -> None:
    path = await client.create(len(PNG))
    id_ = path.rpartition("/")[2]
    async with client.hanging(path, 0, PNG[:-1], length=len(PNG)) as request:
        await held(server.app[SETTINGS].data, path)
        await server.app[POOL].execute("DELETE FROM uploads WHERE id = $1", id_)
        if file_too:
            await server.app[UPLOADS].spool.discard(id_)
        request.writer.write(PNG[-1:])
        assert await request.status() == 404
    assert (await client.head(path)).status == 404
    assert [found for found in kept(server) if found.name == id_] == []

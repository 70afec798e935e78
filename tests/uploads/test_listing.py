"""What somebody has uploaded, page by page, and its deletion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from server.db.embedded import EmbeddedPostgres
from server.keys import POOL, SETTINGS
from server.uploads import records
from server.uploads.owners import Owner
from server.uploads.records import Record
from server.uploads.service import UPLOADS
from server.uploads.tus import TUS, locks
from tests.served import KEY, Served
from tests.uploads.kept import bearer, keep, running
from tests.uploads.making import PNG
from tests.uploads.tus import Client, held

pytestmark = pytest.mark.asyncio(loop_scope="module")

PATH = "/api/uploads"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(postgres: EmbeddedPostgres) -> AsyncIterator[Served]:
    async with running(postgres) as server:
        yield server


class Person:
    """A user with files, and a client."""

    def __init__(self, server: Served, user: str, token: str) -> None:
        self.server = server
        self.user = user
        self.client = httpx.AsyncClient(base_url=server.url, headers=bearer(token))

    async def keep(self, **more: Any) -> Record:
        return await keep(self.server, PNG, self.user, **more)

    async def page(self, query: str = "") -> tuple[list[str], httpx.Response]:
        found = await self.client.get(f"{PATH}?{query}")
        assert found.status_code == 200, found.text
        return [item["id"] for item in found.json()["uploads"]], found


@pytest_asyncio.fixture(loop_scope="module")
async def person(server: Served) -> AsyncIterator[Person]:
    person = Person(server, *await server.sign_in())
    async with person.client:
        yield person


@pytest_asyncio.fixture(loop_scope="module")
async def admin(server: Served) -> AsyncIterator[Person]:
    person = Person(server, *await server.sign_in("admin"))
    async with person.client:
        yield person


async def test_pages_hold_every_file_once_the_newest_first(person: Person) -> None:
    kept = [(await person.keep()).id for _ in range(5)]
    # Files of one moment are told apart by their ids.
    await person.server.app[POOL].execute(
        "UPDATE uploads SET created_at = (SELECT created_at FROM uploads WHERE id = $1)"
        " WHERE id = ANY($2)",
        kept[0],
        kept[:3],
    )
    first, answer = await person.page("limit=2")
    assert answer.headers["Stream-Position"]
    found = list(first)
    while link := answer.links.get("next"):
        answer = await person.client.get(link["url"])
        assert answer.json()["next"] is None or len(answer.json()["uploads"]) == 2
        found += [item["id"] for item in answer.json()["uploads"]]
    assert found == [kept[4], kept[3], *sorted(kept[:3], reverse=True)]


async def test_a_page_goes_on_where_its_last_file_was_deleted(person: Person) -> None:
    kept = [(await person.keep()).id for _ in range(3)]
    _, answer = await person.page("limit=1")
    assert (await person.client.delete(f"{PATH}/{kept[2]}")).status_code == 204
    following = await person.client.get(answer.links["next"]["url"])
    assert following.json()["uploads"][0]["id"] == kept[1]
    rest, _ = await person.page(f"after={answer.json()['next']}")
    assert rest == [kept[1], kept[0]]


async def test_a_list_is_filtered_by_policy_and_state(person: Person) -> None:
    image = (await person.keep()).id
    document = (await person.keep(policy="documents", visibility="private")).id
    coming = (await person.keep(state="receiving", expires=60)).id
    await person.keep(expires=-1)
    assert (await person.page())[0] == [coming, document, image]
    assert (await person.page("policy=documents"))[0] == [document]
    assert (await person.page("state=receiving"))[0] == [coming]
    assert (await person.page("policy=images&state=ready"))[0] == [image]
    _, answer = await person.page("policy=images&state=ready&limit=1")
    assert answer.json()["next"] is None


async def test_the_next_page_keeps_the_filters(person: Person) -> None:
    for policy in ("images", "documents", "images"):
        await person.keep(policy=policy)
    _, answer = await person.page("policy=images&limit=1")
    second = await person.client.get(answer.links["next"]["url"])
    assert [item["policy"] for item in second.json()["uploads"]] == ["images"]
    assert second.json()["next"] is None


async def test_an_empty_list_has_a_position(person: Person) -> None:
    found, answer = await person.page()
    assert (found, answer.json()["next"]) == ([], None)
    assert answer.headers["Stream-Position"]


async def test_only_admins_see_the_files_of_others(person: Person, admin: Person) -> None:
    mine, theirs = (await person.keep()).id, (await admin.keep()).id
    assert (await admin.page(f"owner=user:{person.user}"))[0] == [mine]
    both, answer = await admin.page("all=true&limit=2")
    assert both == [theirs, mine]
    owners = [item["owner"] for item in answer.json()["uploads"]]
    assert owners == [f"user:{admin.user}", f"user:{person.user}"]
    assert "all=true" in answer.links["next"]["url"]
    for query in ("all=true", f"owner=user:{admin.user}", "owner=key:bootstrap"):
        assert (await person.client.get(f"{PATH}?{query}")).status_code == 403
    assert (await person.page(f"owner=user:{person.user}"))[0] == [mine]


async def test_a_key_has_files_of_its_own(server: Served, person: Person) -> None:
    await person.keep()
    kept = await keep(server, PNG, "key:bootstrap")
    found = await person.client.get(PATH, headers=bearer(KEY))
    assert [item["id"] for item in found.json()["uploads"]] == [kept.id]


@pytest.mark.parametrize(
    "query",
    [
        *("after=1", "after=1.2", "after=-1." + "0" * 32, "after=" + "9" * 18 + "." + "0" * 32),
        *("limit=0", "limit=101", "limit=01", "policy=x", "state=gone", "owner=me", "all=1"),
        *("nonsense=1", "after=1." + "A" * 32),
    ],
)
async def test_a_wrong_query_is_refused(person: Person, query: str) -> None:
    assert (await person.client.get(f"{PATH}?{query}")).status_code == 400


async def test_strangers_are_asked_who_they_are(server: Served, person: Person) -> None:
    kept = await person.keep()
    async with httpx.AsyncClient(base_url=server.url) as nobody:
        for method, path in (
            ("GET", PATH),
            ("GET", f"{PATH}/{kept.id}/info"),
            ("DELETE", f"{PATH}/{kept.id}"),
        ):
            assert (await nobody.request(method, path)).status_code == 401


async def test_info_tells_what_a_file_is_to_its_owner(person: Person, admin: Person) -> None:
    kept = await person.keep(state="receiving", expires=60)
    found = await person.client.get(f"{PATH}/{kept.id}/info")
    assert found.json()["id"] == kept.id
    assert found.json()["state"] == "receiving"
    assert found.json()["owner"] == f"user:{person.user}"
    assert (await admin.client.get(f"{PATH}/{kept.id}/info")).status_code == 200
    others = await admin.keep()
    assert (await person.client.get(f"{PATH}/{others.id}/info")).status_code == 404


async def test_a_deleted_file_is_gone_everywhere(server: Served, person: Person) -> None:
    kept = await person.keep()
    uploads = server.app[UPLOADS]
    path = uploads.store.path(kept.id)
    assert path is not None
    assert path.exists()
    assert (await person.client.delete(f"{PATH}/{kept.id}")).status_code == 204
    assert not path.exists()
    assert (await person.client.get(f"{PATH}/{kept.id}")).status_code == 404
    assert (await person.client.delete(f"{PATH}/{kept.id}")).status_code == 404
    assert await records.find(uploads.pool, kept.id) is None


async def test_one_that_is_coming_in_is_deleted_with_its_bytes(
    server: Served, person: Person
) -> None:
    kept = await person.keep(state="receiving", expires=60)
    path = server.app[UPLOADS].spool.path(kept.id)
    assert path.exists()
    assert (await person.client.delete(f"{PATH}/{kept.id}")).status_code == 204
    assert not path.exists()


async def test_who_still_sends_it_is_made_to_leave(server: Served, person: Person) -> None:
    """Or all of it would be received, and then be refused."""
    token = person.client.headers["Authorization"].partition(" ")[2]
    client = Client(server.url, token)
    path = await client.create(len(PNG))
    id_ = path.rpartition("/")[2]
    async with client.hanging(path, 0, PNG[:-1], length=len(PNG)) as sending:
        await held(server.app[SETTINGS].data, path)
        assert (await person.client.delete(f"{PATH}/{id_}")).status_code == 204
        assert await sending.status() == 400
    assert not server.app[UPLOADS].spool.path(id_).exists()
    assert (await person.client.get(f"{PATH}/{id_}/info")).status_code == 404


async def test_one_that_is_just_being_stored_is_gone_at_once(
    server: Served, person: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    kept = await person.keep(state="receiving", expires=60)
    async with server.app[TUS].locks.take(kept.id):
        assert (await person.client.delete(f"{PATH}/{kept.id}")).status_code == 204
    assert await records.find(server.app[POOL], kept.id) is None


async def test_nobody_deletes_the_files_of_others(person: Person, admin: Person) -> None:
    theirs, mine = await admin.keep(), await person.keep()
    assert (await person.client.delete(f"{PATH}/{theirs.id}")).status_code == 404
    assert (await admin.client.get(f"{PATH}/{theirs.id}")).status_code == 200
    assert (await admin.client.delete(f"{PATH}/{mine.id}")).status_code == 204


async def test_of_two_that_delete_one_does(person: Person) -> None:
    kept = await person.keep()
    both = await asyncio.gather(*(person.client.delete(f"{PATH}/{kept.id}") for _ in range(2)))
    assert sorted(answer.status_code for answer in both) == [204, 404]


async def test_a_deletion_gives_the_quota_back_and_is_told(server: Served, person: Person) -> None:
    kept = await person.keep()
    owner = Owner(kept.owner, kept.user_id)
    assert await records.used(server.app[POOL], owner) == len(PNG)
    position = (await person.page())[1].headers["Stream-Position"]
    token = person.client.headers["Authorization"]
    stream = await server.open(
        f"user.{person.user}.uploads", headers={"Authorization": token}, after=position
    )
    assert (await person.client.delete(f"{PATH}/{kept.id}")).status_code == 204
    assert await records.used(server.app[POOL], owner) == 0
    message = await stream.named(None)
    assert kept.id in str(message.data)

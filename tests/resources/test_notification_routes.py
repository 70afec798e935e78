"""Notifications as JSON: everybody sees and changes only their own."""

from __future__ import annotations

from typing import Any

import pytest

from server.keys import POOL
from tests.resources.calls import call
from tests.served import KEY, Served

PATH = "/api/notifications"


async def notify(server: Served, user: str, *titles: str) -> None:
    for title in titles:
        await server.app[POOL].execute(
            "INSERT INTO notifications (user_id, title) VALUES ($1, $2)", user, title
        )


async def titles(server: Served, token: str, query: str = "") -> list[Any]:
    answer = await call(server, "GET", PATH + query, token=token)
    assert answer.status == 200, answer.body
    return [row["title"] for row in answer.json["notifications"]]


async def test_a_list_is_ones_own_the_newest_first(server: Served) -> None:
    user, token = await server.sign_in()
    other, _ = await server.sign_in()
    await notify(server, user, "one", "two")
    await notify(server, other, "secret")
    answer = await call(server, "GET", PATH, token=token)
    assert answer.json["next"] is None
    first = answer.json["notifications"][0]
    assert first.pop("createdAt").endswith("Z")
    assert first == {"id": "2", "userId": user, "title": "two", "body": "", "read": False}
    assert await titles(server, token) == ["two", "one"]


async def test_pages_of_all_and_of_the_unread(server: Served) -> None:
    user, token = await server.sign_in()
    await notify(server, user, "1", "2", "3", "4")
    await call(server, "POST", f"{PATH}/3/read", token=token)
    page = await call(server, "GET", f"{PATH}?unread=true&limit=2", token=token)
    assert [row["title"] for row in page.json["notifications"]] == ["4", "2"]
    assert page.json["next"] == "2"
    assert page.headers["link"] == f'<{PATH}?limit=2&unread=true&after=2>; rel="next"'
    assert await titles(server, token, "?unread=true&limit=2&after=2") == ["1"]
    assert await titles(server, token, "?limit=3&unread=false") == ["4", "3", "2"]
    assert await titles(server, token, "?limit=3&after=2") == ["1"]


@pytest.mark.parametrize("query", ["unread=yes", "unread=1", "limit=0", "after=x", "user_id=1"])
async def test_a_bad_query_is_400(server: Served, query: str) -> None:
    _, token = await server.sign_in()
    answer = await call(server, "GET", f"{PATH}?{query}", token=token)
    assert (answer.status, answer.issues[0][0]) == (400, [query.partition("=")[0]])


async def test_reading_one_and_all_counts_down(server: Served) -> None:
    user, token = await server.sign_in()
    other, _ = await server.sign_in()
    await notify(server, user, "1", "2", "3")
    await notify(server, other, "not mine")

    async def unread() -> int:
        answer = await call(server, "GET", f"{PATH}/unread-count", token=token)
        assert answer.headers["stream-position"]
        return int(answer.json["count"])

    assert await unread() == 3
    for _ in range(2):  # again is no error
        answer = await call(server, "POST", f"{PATH}/1/read", token=token)
        assert (answer.status, answer.json["id"], answer.json["read"]) == (200, "1", True)
    assert await unread() == 2
    answer = await call(server, "POST", f"{PATH}/read-all", token=token)
    assert (answer.status, answer.json) == (200, {"updated": 2})
    assert await unread() == 0
    count = "SELECT count(*) FROM notifications WHERE read_at IS NULL"
    assert await server.app[POOL].fetchval(count) == 1


async def test_what_is_read_already_makes_no_event(server: Served) -> None:
    user, token = await server.sign_in()
    await notify(server, user, "1")
    for _ in range(3):
        await call(server, "POST", f"{PATH}/1/read", token=token)
        await call(server, "POST", f"{PATH}/read-all", token=token)
    await server.settled()
    assert await server.app[POOL].fetchval("SELECT count(*) FROM tailrace.event") == 2


async def test_ones_own_can_be_deleted(server: Served) -> None:
    user, token = await server.sign_in()
    await notify(server, user, "1", "2")
    answer = await call(server, "DELETE", f"{PATH}/2", token=token)
    assert (answer.status, answer.json) == (200, {"success": True})
    assert await titles(server, token) == ["1"]


@pytest.mark.parametrize("number", ["1", "7", "x", "-1", str(2**63)])
async def test_others_missing_and_no_ids_are_404(server: Served, number: str) -> None:
    owner, _ = await server.sign_in()
    _, token = await server.sign_in("admin")
    await notify(server, owner, "1")
    for method, tail in (("DELETE", ""), ("POST", "/read")):
        answer = await call(server, method, f"{PATH}/{number}{tail}", token=token)
        assert (answer.status, answer.json["error"]) == (404, "Not found")
    assert await server.app[POOL].fetchval("SELECT count(*) FROM notifications") == 1


async def test_admins_and_keys_notify_and_the_user_has_it_at_once(server: Served) -> None:
    user, token = await server.sign_in()
    _, admin = await server.sign_in("admin")
    headers = {"Authorization": f"Bearer {token}"}
    stream, _ = await server.live(f"user.{user}.notifications", headers=headers)
    for by in (admin, KEY):
        new = {"userId": user, "title": "T", "body": "B\nB"}
        answer = await call(server, "POST", PATH, new, token=by)
        assert answer.status == 201
        assert answer.json.items() >= (new | {"read": False}).items()
        event = (await stream.named(None)).data
        assert (event["type"], event["key"]) == ("insert", answer.json["id"])
    answer = await call(server, "POST", PATH, {"userId": user, "title": "T"}, token=admin)
    assert answer.json["body"] == ""


async def test_users_notify_nobody(server: Served) -> None:
    user, token = await server.sign_in()
    new = {"userId": user, "title": "T"}
    assert (await call(server, "POST", PATH, new, token=token)).status == 403
    assert (await call(server, "POST", PATH, new)).status == 401


async def test_an_unknown_user_is_an_issue(server: Served) -> None:
    new = {"userId": "nobody", "title": "T"}
    answer = await call(server, "POST", PATH, new, token=KEY)
    assert (answer.status, answer.issues) == (400, [(["userId"], "unknown_user")])


async def test_a_key_has_no_notifications(server: Served) -> None:
    for path in ("", "/unread-count"):
        assert (await call(server, "GET", PATH + path, token=KEY)).status == 403
        assert (await call(server, "GET", PATH + path)).status == 401

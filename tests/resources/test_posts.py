"""Posts: pages, rights, and changes that overwrite nothing unseen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from server.keys import POOL
from tests.resources.calls import Answer, call
from tests.served import KEY, Served
from tests.waiting import until

PATH = "/api/posts"
NEW = {"title": "A title", "content": "Some\ncontent"}


async def write(server: Served, token: str, **fields: str) -> Any:
    answer = await call(server, "POST", PATH, NEW | fields, token=token)
    assert answer.status == 201, answer.body
    return answer.json


async def test_a_post_is_written_and_read(server: Served) -> None:
    user, token = await server.sign_in()
    made = await call(server, "POST", PATH, NEW, token=token)
    assert made.status == 201
    assert made.headers["location"] == "/api/posts/1"
    assert made.json.items() >= (NEW | {"id": "1", "authorId": user}).items()
    assert set(made.json) == {"id", "title", "content", "authorId", "createdAt", "updatedAt"}
    read = await call(server, "GET", made.headers["location"])
    assert (read.status, read.json) == (200, made.json)
    assert read.headers["etag"] == made.headers["etag"]


async def test_what_is_missing_or_no_id_is_404(server: Served) -> None:
    _, token = await server.sign_in()
    away = (
        "x",
        "-1",
        "0",
        "01",
        "1_0",
        "+1",
        "%201",
        "1.0",
        "%00",
        "%D9%A1",
        str(2**63),
        "9" * 400,
    )
    for text in away:
        for method in ("GET", "DELETE"):
            answer = await call(server, method, f"{PATH}/{text}", token=token)
            assert (answer.status, answer.json["error"]) == (404, "Not found"), text
    for text in ("1", str(2**63 - 1)):
        assert (await call(server, "GET", f"{PATH}/{text}")).status == 404


async def test_pages_follow_each_other_to_the_end(server: Served) -> None:
    _, token = await server.sign_in()
    for number in range(5):
        await write(server, token, title=str(number))
    path, seen = f"{PATH}?limit=2", []
    while path:
        page = await call(server, "GET", path)
        seen.append([post["title"] for post in page.json["posts"]])
        link = page.headers.get("link", "")
        assert link.startswith("<") == (page.json["next"] is not None)
        path = link.removeprefix("<").removesuffix('>; rel="next"')
    assert seen == [["4", "3"], ["2", "1"], ["0"]]


async def test_a_list_may_be_of_one_author(server: Served) -> None:
    (ada, first), (bob, second) = await server.sign_in(), await server.sign_in()
    for token in (first, second, first):
        await write(server, token)
    page = await call(server, "GET", f"{PATH}?author={ada}&limit=1")
    assert [post["id"] for post in page.json["posts"]] == ["3"]
    assert page.headers["link"] == f'</api/posts?limit=1&author={ada}&after=3>; rel="next"'
    page = await call(server, "GET", f"{PATH}?author={ada}&limit=1&after=3")
    assert [post["id"] for post in page.json["posts"]] == ["1"]
    assert page.json["next"] is None
    page = await call(server, "GET", f"{PATH}?author={bob}")
    assert [post["authorId"] for post in page.json["posts"]] == [bob]
    assert (await call(server, "GET", f"{PATH}?author=nobody")).json["posts"] == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=101", "limit=x", "limit=1_0", "limit=1&limit=2", "after=x", "after=-1",
     f"after={2**63}", "after=", "author=a%00b", "author=", "author=%27%20OR%201", "other=1"],
)  # fmt: skip
async def test_a_bad_query_is_400_with_its_place(server: Served, query: str) -> None:
    answer = await call(server, "GET", f"{PATH}?{query}")
    assert answer.status == 400
    assert answer.issues[0][0] == [query.partition("=")[0]]


async def test_only_users_write(server: Served) -> None:
    assert (await call(server, "POST", PATH, NEW)).status == 401
    assert (await call(server, "POST", PATH, NEW, token=KEY)).status == 403


async def test_the_author_changes_what_is_given(server: Served) -> None:
    _, token = await server.sign_in()
    post = await write(server, token)
    changed = await call(server, "PATCH", f"{PATH}/1", {"title": "Better"}, token=token)
    assert changed.status == 200
    assert changed.json["updatedAt"] > post.pop("updatedAt")
    assert changed.json.items() >= (post | {"title": "Better"}).items()
    for nothing in ({}, {"title": None}, {"title": ""}, {"title": "a\nb"}):
        answer = await call(server, "PATCH", f"{PATH}/1", nothing, token=token)
        assert answer.status == 400, nothing


async def test_the_author_deletes(server: Served) -> None:
    _, token = await server.sign_in()
    await write(server, token)
    answer = await call(server, "DELETE", f"{PATH}/1", token=token)
    assert (answer.status, answer.json) == (200, {"success": True})
    assert (await call(server, "GET", f"{PATH}/1")).status == 404


async def test_others_and_strangers_change_nothing(server: Served) -> None:
    _, token = await server.sign_in()
    _, other = await server.sign_in()
    await write(server, token)
    for method in ("PATCH", "DELETE"):
        body = [{"title": "Mine"}] if method == "PATCH" else []
        for path in ("1", "2"):  # another's, and missing: not told apart
            answer = await call(server, method, f"{PATH}/{path}", *body, token=other)
            assert (answer.status, answer.json["error"]) == (403, "Forbidden")
            assert (await call(server, method, f"{PATH}/{path}", *body)).status == 401
    assert (await call(server, "GET", f"{PATH}/1")).json["title"] == NEW["title"]


async def test_an_admin_changes_and_deletes_anybodys(server: Served) -> None:
    user, token = await server.sign_in()
    _, admin = await server.sign_in("admin")
    await write(server, token)
    answer = await call(server, "PATCH", f"{PATH}/1", {"title": "Mild"}, token=admin)
    assert (answer.json["title"], answer.json["authorId"]) == ("Mild", user)
    assert (await call(server, "DELETE", f"{PATH}/1", token=admin)).status == 200
    assert (await call(server, "DELETE", f"{PATH}/1", token=admin)).status == 403


async def test_what_the_client_has_is_not_sent_again(server: Served) -> None:
    _, token = await server.sign_in()
    await write(server, token)
    first = await call(server, "GET", f"{PATH}/1")
    tag = first.headers["etag"]
    assert tag.startswith('"')
    for known in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        same = await call(server, "GET", f"{PATH}/1", If_None_Match=known)
        assert (same.status, same.body, same.headers["etag"]) == (304, b"", tag)
        assert same.headers["stream-position"]
    assert (await call(server, "GET", f"{PATH}/1", If_None_Match='"x"')).status == 200
    await server.app[POOL].execute("UPDATE posts SET title = 'New'")
    changed = await call(server, "GET", f"{PATH}/1", If_None_Match=tag)
    assert (changed.status, changed.json["title"]) == (200, "New")
    assert changed.headers["etag"] != tag


async def test_what_the_client_has_not_seen_is_not_overwritten(server: Served) -> None:
    _, token = await server.sign_in()
    await write(server, token)
    tag = (await call(server, "GET", f"{PATH}/1")).headers["etag"]
    patch = {"title": "Mine"}
    for stale in ('"x"', f"W/{tag}", "nonsense", ""):
        for method in ("PATCH", "DELETE"):
            body = [patch] if method == "PATCH" else []
            answer = await call(server, method, f"{PATH}/1", *body, token=token, If_Match=stale)
            assert (answer.status, answer.json["error"]) == (412, "Precondition failed"), stale
    changed = await call(server, "PATCH", f"{PATH}/1", patch, token=token, If_Match=f'"x", {tag}')
    assert changed.status == 200
    tag = changed.headers["etag"]
    assert (
        await call(server, "PATCH", f"{PATH}/1", patch, token=token, If_Match="*")
    ).status == 200
    assert (await call(server, "DELETE", f"{PATH}/1", token=token, If_Match=tag)).status == 412
    tag = (await call(server, "GET", f"{PATH}/1")).headers["etag"]
    assert (await call(server, "DELETE", f"{PATH}/1", token=token, If_Match=tag)).status == 200
    assert (await call(server, "DELETE", f"{PATH}/1", token=token, If_Match="*")).status == 403


async def test_of_many_that_saw_the_same_one_wins(server: Served) -> None:
    _, token = await server.sign_in()
    await write(server, token)
    tag = (await call(server, "GET", f"{PATH}/1")).headers["etag"]
    answers = await asyncio.gather(
        *(
            call(server, "PATCH", f"{PATH}/1", {"title": str(n)}, token=token, If_Match=tag)
            for n in range(12)
        )
    )
    assert sorted(answer.status for answer in answers) == [200, *[412] * 11]


async def test_a_match_is_judged_under_the_lock(server: Served) -> None:
    """The writer holds the row: who asks meanwhile has to wait, and then sees the new version."""
    _, token = await server.sign_in()
    await write(server, token)
    tag = (await call(server, "GET", f"{PATH}/1")).headers["etag"]
    pool = server.app[POOL]

    async def waits() -> bool:
        return bool(
            await pool.fetchval(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
                " AND datname = current_database()"
            )
        )

    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("UPDATE posts SET content = 'other'")
        later: asyncio.Task[Answer] = asyncio.create_task(
            call(server, "DELETE", f"{PATH}/1", token=token, If_Match=tag)
        )
        await until(waits)
    assert (await later).status == 412


async def test_every_change_is_live_whoever_makes_it(server: Served) -> None:
    _, token = await server.sign_in()
    stream, _ = await server.live("posts")
    await write(server, token)
    await call(server, "PATCH", f"{PATH}/1", {"title": "Other"}, token=token)
    await server.app[POOL].execute("UPDATE posts SET title = 'By SQL'")
    await call(server, "DELETE", f"{PATH}/1", token=token)
    events = [block.data for block in await stream.messages(4)]
    assert [(event["type"], event["key"]) for event in events] == [
        ("insert", "1"), ("update", "1"), ("update", "1"), ("delete", "1"),
    ]  # fmt: skip
    titles = [(event["data"]["new"] or {}).get("title") for event in events]
    assert titles == ["A title", "Other", "By SQL", None]


async def test_head_has_the_headers_alone(server: Served) -> None:
    _, token = await server.sign_in()
    await write(server, token)
    for path in (PATH, f"{PATH}/1"):
        answer = await call(server, "HEAD", path)
        assert (answer.status, answer.body) == (200, b"")
        assert answer.headers["stream-position"]


async def test_a_page_of_large_posts_ends_early_and_goes_on(server: Served) -> None:
    user, _ = await server.sign_in()
    await server.app[POOL].execute(
        "INSERT INTO posts (author_id, title, content)"
        " SELECT $1, 'large', repeat('x', 50000) FROM generate_series(1, 30)",
        user,
    )
    seen: list[str] = []
    after = ""
    pages = 0
    while True:
        answer = await call(server, "GET", f"/api/posts?limit=100{after}")
        assert len(answer.body) < 1_000_000
        seen += [post["id"] for post in answer.json["posts"]]
        pages += 1
        if answer.json["next"] is None:
            break
        after = f"&after={answer.json['next']}"
    assert len(seen) == len(set(seen)) == 30
    assert pages > 2

"""`POST /api/upload`: what is taken, and what the user's tabs see of it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from server.db.embedded import EmbeddedPostgres
from server.uploads import progress
from server.uploads.policies import MIB, POLICIES
from tests.served import BEARER, Served, Stream
from tests.uploads import making
from tests.uploads.forms import CLOSE, Door, answer, door, form, head, part
from tests.uploads.making import PNG
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="session")

TEXT = 'form-data; name="file"; filename="a.txt"'


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared(postgres: EmbeddedPostgres) -> AsyncIterator[Door]:
    async with door(postgres) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def uploads(shared: Door) -> AsyncIterator[Door]:
    """The server, without a file."""
    yield shared
    await shared.forget()
    await shared.left_alone()


def bearer(token: str) -> dict[str, str | None]:
    return {"Authorization": f"Bearer {token}"}


async def key(served: Served, *scopes: str) -> str:
    """A new API key."""
    _, admin = await served.sign_in("admin")
    headers = {"Authorization": f"Bearer {admin}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers) as client:
        made = await client.post("/api/keys", json={"name": "k", "scopes": list(scopes)})
    assert made.is_success, made.text
    return str(made.json()["key"])


async def test_an_image_is_kept_as_the_text_says(uploads: Door) -> None:
    found = await uploads.post(form(part(PNG)))
    assert found.status == 200, found.body
    id_ = found.body["id"]
    assert found.body.items() >= {
        "url": f"/api/uploads/{id_}", "name": "a.png", "type": "image/png", "size": len(PNG),
        "sha256": hashlib.sha256(PNG).hexdigest(), "width": 40, "height": 24, "policy": "images",
        "visibility": "public", "state": "ready", "expiresAt": None,
    }.items()  # fmt: skip
    [path] = uploads.files()
    assert (path.name, path.read_bytes()) == (id_, PNG)
    assert await uploads.rows() == 1


@pytest.mark.parametrize(
    ("policy", "kind", "content"),
    [
        ("documents", "text/csv", b"a,b\n1,2\n"),
        ("documents", "application/pdf", making.PDF),
        ("documents", None, making.DOCX),
        ("media", "application/octet-stream", making.MP4),
        ("media", "application/zip", making.archive("a")),
    ],
)
async def test_the_policy_is_chosen_by_the_query(
    uploads: Door, policy: str, kind: str | None, content: bytes
) -> None:
    found = await uploads.post(form(part(content, kind=kind)), f"?policy={policy}")
    assert (found.status, found.body.get("policy")) == (200, policy), found.body
    assert found.body["visibility"] == POLICIES[policy].visibility


async def test_other_fields_are_passed_over(uploads: Door) -> None:
    text = part(b"x" * 1000, 'form-data; name="alt"', None)
    same = part(b"a text", 'form-data; name="file"', None)
    other = part(PNG, 'form-data; name="avatar"; filename="b.png"')
    found = await uploads.post(form(text, same, other, part(PNG), text))
    assert found.status == 200, found.body
    assert len(uploads.files()) == 1


async def test_a_form_of_httpx_is_taken(uploads: Door) -> None:
    async with httpx.AsyncClient(base_url=uploads.running.url, headers=BEARER) as client:
        files = {"file": ('naïve "x".png', PNG, "image/png")}
        found = await client.post("/api/upload", data={"alt": "words"}, files=files)
    assert found.status_code == 200, found.text
    assert found.json()["name"].startswith("naïve ")


async def test_a_chunked_body_is_taken_byte_by_byte(uploads: Door) -> None:
    body = form(part(PNG[:0] + making.png()))
    chunks = b"".join(b"1\r\n" + bytes([byte]) + b"\r\n" for byte in body) + b"0\r\n\r\n"
    stream = await uploads.running.raw(
        head(None, headers={"Transfer-Encoding": "chunked"}) + chunks
    )
    assert (await answer(stream)).status == 200
    stream.abort()


async def test_the_connection_goes_on(uploads: Door) -> None:
    stream = await uploads.send(form(part(PNG)))
    assert (await answer(stream)).status == 200
    await stream.send("GET", "/healthz", {}, b"")
    assert stream.status == 200


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("../../etc/passwd.png", "passwd.png"),
        (r"C:\\temp\\a.png", "a.png"),
        ("a\0b.png", "ab.png"),
        ("\u202egnp.exe", "gnp.exe.png"),
        ("x" * 10_000, "x" * 196 + ".png"),
        ("naïve ☃.png", "naïve ☃.png"),
        ("..", "image.png"),
        ("con.png", "_con.png"),
    ],
)
async def test_a_name_is_made_safe(uploads: Door, name: str, shown: str) -> None:
    user, token = await uploads.running.sign_in()
    body = form(part(PNG, f'form-data; name="file"; filename="{name}"'))
    stream, _ = await uploads.running.live(f"user.{user}.uploads", headers=BEARER)
    found = await uploads.post(body, headers=bearer(token))
    assert (found.status, found.body.get("name")) == (200, shown), found.body
    told = await finished(stream)
    assert all(char.isprintable() for char in told[-1]["name"])
    stream.abort()


async def test_a_name_in_the_extended_form_is_read(uploads: Door) -> None:
    body = form(part(PNG, "form-data; name=file; filename*=UTF-8''na%C3%AFve.png"))
    assert (await uploads.post(body)).body["name"] == "naïve.png"


async def test_exactly_the_size_is_taken_and_a_byte_more_is_not(uploads: Door) -> None:
    policy = POLICIES["images"]
    padding = policy.max_bytes - len(making.png()) - 12
    whole = making.png(before=making.chunk(b"tEXt", b"Comment\0" + b"x" * (padding - 8)))
    assert len(whole) == policy.max_bytes
    found = await uploads.post(form(part(whole)))
    assert found.status == 200, found.body
    found = await uploads.post(form(part(whole + b"x")))
    assert (found.status, found.error) == (413, "File too large")
    assert len(uploads.files()) == 1


async def test_only_who_may_is_asked_for_the_body(uploads: Door) -> None:
    asked: dict[str, str | None] = {"Expect": "100-continue"}
    for refused, status in (
        (head(100, headers=asked | {"Authorization": None}), 401),
        (head(100, headers=asked | bearer(await key(uploads.running, "read"))), 403),
        (head(100, "?policy=none", asked), 400),
        (head(100 * MIB, headers=asked), 413),
        (head(100, headers=asked | {"Content-Type": "image/png"}), 415),
    ):
        stream = await uploads.running.raw(refused)
        assert stream.status == status
        stream.abort()
    body = form(part(PNG))
    stream = await uploads.running.raw(head(len(body), headers=asked))
    assert stream.status == 100
    stream._writer.write(body)
    await stream.head()
    assert (await answer(stream)).status == 200


async def test_a_key_with_the_scope_acts_for_itself(uploads: Door) -> None:
    token = await key(uploads.running, "uploads")
    assert (await uploads.post(form(part(PNG)), headers=bearer(token))).status == 200
    row = await uploads.pool.fetchrow("SELECT owner, user_id FROM uploads")
    assert row is not None
    assert row["owner"].startswith("key:")
    assert row["user_id"] is None


async def finished(stream: Stream) -> list[dict[str, Any]]:
    """The progress of one upload until its end."""
    told: list[dict[str, Any]] = []
    while not told or told[-1]["stage"] not in {"ready", "failed"}:
        block = await stream.named(None)
        if block.data["type"] == "upload.progress":
            told.append(block.data["data"])
    return told


async def test_the_tabs_of_the_user_see_it_come(
    uploads: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "PERIOD", 0.0)
    user, token = await uploads.running.sign_in()
    stream, _ = await uploads.running.live(f"user.{user}.uploads", headers=BEARER)
    found = await uploads.post(form(part(PNG)), headers=bearer(token))
    stages: dict[str, Any] = {}
    row: dict[str, Any] = {}
    while not row or "ready" not in stages:
        event = (await stream.named(None)).data
        if event["type"] == "upload.progress":
            stages[event["data"]["stage"]] = event["data"]
        else:
            row = event["data"]["new"]
    assert list(stages) == ["receiving", "checking", "ready"]
    about = {"id": found.body["id"], "name": "a.png"}
    assert stages["ready"].items() >= (about | {"received": len(PNG)}).items()
    assert row.items() >= (about | {"state": "ready", "size": len(PNG)}).items()
    stream.abort()


@pytest.mark.parametrize("bad", [PNG[:-20], making.HTML, PNG + b"\0" * 5 * MIB])
async def test_the_tabs_of_the_user_see_it_fail(uploads: Door, bad: bytes) -> None:
    user, token = await uploads.running.sign_in()
    stream, _ = await uploads.running.live(f"user.{user}.uploads", headers=BEARER)
    assert (await uploads.post(form(part(bad)), headers=bearer(token))).status in {400, 413}
    assert (await finished(stream))[-1]["stage"] == "failed"
    stream.abort()


async def test_of_two_that_fit_alone_one_fits(
    uploads: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads.uploads, "quota", len(PNG) * 3 // 2)
    _, token = await uploads.running.sign_in()
    both = [uploads.post(form(part(PNG)), headers=bearer(token)) for _ in range(2)]
    found = await asyncio.gather(*both)
    assert sorted(one.status for one in found) == [200, 507]
    refused = next(one for one in found if one.status == 507)
    assert (refused.error, len(uploads.files())) == ("Insufficient storage", 1)
    for left, length in ((0, 100), (1000, 2 * MIB)):
        monkeypatch.setattr(uploads.uploads, "quota", len(PNG) + left)
        stream = await uploads.running.raw(
            head(length, headers={"Expect": "100-continue", **bearer(token)})
        )
        assert stream.status == 507  # not asked for
        stream.abort()


async def test_only_so_many_at_the_same_time(
    uploads: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads.uploads, "_at_once", 1)
    _, token = await uploads.running.sign_in()
    _, other = await uploads.running.sign_in()
    body = form(part(PNG))
    _, writer = await asyncio.open_connection("127.0.0.1", uploads.running.port)
    writer.write(head(len(body), headers=bearer(token)) + body[: -len(CLOSE)])
    await until(lambda: uploads.uploads._running)
    refused = await uploads.post(body, headers=bearer(token))
    assert (refused.status, refused.headers["retry-after"]) == (429, "1")
    assert (await uploads.post(body, headers=bearer(other))).status == 200
    writer.transport.abort()
    await until(lambda: not uploads.uploads._running)
    assert (await uploads.post(body, headers=bearer(token))).status == 200

"""The core of tus over HTTP, and what its uploads share with all others."""

from __future__ import annotations

import hashlib
import io
from collections.abc import AsyncIterator

import pytest

from server.uploads.policies import MIB
from tests.clean import reused
from tests.served import KEY, Served
from tests.uploads.making import MP4
from tests.uploads.tus import BASE, BYTES, NOWHERE, PNG, Client, metadata
from tests.uploads.tus_server import client, kept, server, spooled

__all__ = ["client", "reused", "server"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- the core protocol


async def test_a_file_comes_in_pieces_and_is_the_file(server: Served, client: Client) -> None:
    path = await client.create(len(PNG), filename="../a b.png", filetype="image/png")
    offset = 0
    while offset < len(PNG):
        assert (await client.head(path)).offset == offset
        assert (await client.get(path)).body["state"] == "receiving"
        answer = await client.patch(path, offset, PNG[offset : offset + 20_000])
        assert answer.status == 204
        offset = answer.offset
    whole = await client.get(path)
    assert whole.body["state"] == "ready"
    assert whole.body["name"] == "a b.png"
    assert whole.body["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert (whole.body["width"], whole.body["height"]) == (160, 120)
    id_ = whole.body["id"]
    (stored,) = [found for found in kept(server) if found.name == id_]
    assert stored.read_bytes() == PNG
    assert [name for name in spooled(server) if id_ in name] == []


async def test_head_tells_all_and_is_not_kept_by_caches(client: Client) -> None:
    given = metadata(filename="ä.png", policy="images") + ",flag"
    made = await client.send("POST", BASE, Upload_Length="70000", Upload_Metadata=given)
    answer = await client.head(made.headers["Location"])
    assert answer.status == 200
    assert answer.headers["Upload-Offset"] == "0"
    assert answer.headers["Upload-Length"] == "70000"
    assert answer.headers["Upload-Metadata"] == given
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_retry_of_what_was_whole_is_answered_as_the_first(client: Client) -> None:
    path = await client.create(len(PNG))
    assert (await client.patch(path, 0, PNG)).offset == len(PNG)
    assert (await client.head(path)).offset == len(PNG)
    assert (await client.patch(path, len(PNG), b"")).offset == len(PNG)
    assert (await client.patch(path, 0, PNG)).error == (409, "Conflict")
    assert (await client.patch(path, len(PNG), b"x")).error == (413, "Payload too large")


async def test_another_offset_than_the_files_is_a_conflict(client: Client) -> None:
    path = await client.create(len(PNG))
    assert (await client.patch(path, 0, PNG[:1000])).offset == 1000
    for offset in (0, 999, 1001, len(PNG) + 1):
        answer = await client.patch(path, offset, b"x")
        assert answer.error == (409, "Conflict")
        assert answer.headers["Upload-Offset"] == "1000"
    assert (await client.head(path)).offset == 1000


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content_Type": "application/octet-stream"}, 415),
        ({"Content_Type": None}, 415),
        ({"Content_Encoding": "gzip"}, 415),
        ({"Upload_Offset": None}, 400),
        ({"Upload_Offset": "-1"}, 400),
        ({"Upload_Offset": "0x10"}, 400),
        ({"Upload_Offset": "٣"}, 400),
        ({"Tus_Resumable": None}, 412),
        ({"Tus_Resumable": "0.2.2"}, 412),
        ({"Upload_Checksum": "md5 AAAA"}, 400),
        ({"Upload_Checksum": "sha1 AAAA"}, 400),
        ({"Upload_Checksum": "sha1 ???"}, 400),
        ({"Authorization": None}, 401),
    ],
)
async def test_a_wrong_piece_changes_nothing(
    client: Client, headers: dict[str, str | None], status: int
) -> None:
    path = await client.create(len(PNG))
    answer = await client.patch(path, 0, PNG, **headers)
    assert answer.error[0] == status
    if status == 412:
        assert answer.headers["Tus-Version"] == "1.0.0"
    assert (await client.head(path)).offset == 0


async def test_a_piece_beyond_the_end_is_refused_and_not_kept(client: Client) -> None:
    path = await client.create(len(PNG))
    assert (await client.patch(path, 0, PNG + b"x")).error == (413, "Payload too large")
    assert (await client.patch(path, 0, PNG[:500])).offset == 500

    async def endless() -> AsyncIterator[bytes]:
        yield PNG[500:]
        yield b"more than there is"

    assert (await client.patch(path, 500, endless())).error == (413, "Payload too large")
    assert (await client.head(path)).offset == 500
    assert (await client.patch(path, 500, PNG[500:])).offset == len(PNG)


async def test_an_upload_of_somebody_else_or_of_nobody_is_not_there(
    server: Served, client: Client
) -> None:
    path = await client.create(len(PNG))
    other = Client(server.url, (await server.sign_in("admin"))[1])
    for who, where in ((other, path), (client, NOWHERE), (client, f"{BASE}/x")):
        assert (await who.head(where)).status == 404
        for answer in (
            await who.send("GET", where),
            await who.patch(where, 0, PNG),
            await who.send("DELETE", where),
        ):
            assert answer.error == (404, "Not found")
    assert (await client.head(path)).offset == 0


async def test_an_api_key_uploads_for_itself(server: Served) -> None:
    client = Client(server.url, KEY)
    path = await client.create(len(PNG))
    assert (await client.patch(path, 0, PNG)).offset == len(PNG)


async def test_a_method_may_be_named_in_a_header(client: Client) -> None:
    path = await client.create(len(PNG))
    with_body = {"Content_Type": BYTES, "Upload_Offset": "0"}
    answer = await client.send("POST", path, PNG[:10], X_HTTP_Method_Override="patch", **with_body)
    assert (answer.status, answer.offset) == (204, 10)
    assert (await client.send("POST", path, X_HTTP_Method_Override="HEAD")).offset == 10
    assert (await client.send("POST", path)).error == (405, "Method not allowed")
    assert (await client.send("POST", path, X_HTTP_Method_Override="DELETE")).status == 204
    assert (await client.head(path)).status == 404


async def test_a_body_is_not_asked_for_that_would_be_refused(client: Client) -> None:
    path = await client.create(len(PNG))
    for offset, status in ((1, 409), (0, 100)):
        async with client.hanging(
            path, offset, b"", length=len(PNG) - offset, Expect="100-continue"
        ) as request:
            assert await request.status() == status
            if status == 100:
                request.writer.write(PNG)
                await request.reader.readline()
                assert await request.status() == 204


# --- options


@pytest.mark.parametrize("path", [BASE, NOWHERE])
async def test_options_tell_what_is_spoken_to_everybody(server: Served, path: str) -> None:
    stranger = Client(server.url, "")
    answer = await stranger.send("OPTIONS", path, Authorization=None, Tus_Resumable="9")
    assert answer.status == 204
    told = {name: value for name, value in answer.headers.items() if name.startswith("Tus-")}
    assert told == {
        "Tus-Resumable": "1.0.0",
        "Tus-Version": "1.0.0",
        "Tus-Extension": "creation,creation-with-upload,expiration,checksum,termination",
        "Tus-Max-Size": str(2048 * MIB),
        "Tus-Checksum-Algorithm": "sha1,sha256",
    }


# --- the same policies as in a form


async def test_other_policies_have_their_own_terms(client: Client) -> None:
    data = MP4 + bytes(6 * MIB)
    path = await client.create(len(data), policy="media", filename="a.mp4")
    assert (await client.patch(path, 0, io.BytesIO(data))).offset == len(data)
    found = (await client.get(path)).body
    assert (found["policy"], found["visibility"], found["type"]) == (
        "media", "private", "video/mp4"
    )  # fmt: skip


# --- what is live


async def test_the_owners_tabs_see_it_come(server: Served) -> None:
    user, token = await server.sign_in()
    client = Client(server.url, token)
    stream, _ = await server.live(
        f"user.{user}.uploads", headers={"Authorization": f"Bearer {token}"}
    )
    path = await client.create(len(PNG), filename="a.png")
    await client.patch(path, 0, PNG)
    stages, states = [], []
    while "ready" not in states or "ready" not in stages:
        data = (await stream.named(None)).data
        if data["type"] == "upload.progress":
            stages.append(data["data"]["stage"])
            assert data["data"]["size"] == len(PNG)
        else:
            states.append(data["data"]["new"]["state"])
    assert states == ["receiving", "ready"]
    assert {"checking", "ready"} <= set(stages)

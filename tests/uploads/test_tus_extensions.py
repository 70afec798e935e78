"""The extensions of tus: creation, creation-with-upload, expiration, checksum, termination."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest

from server.keys import POOL, SETTINGS
from server.uploads.policies import MIB
from server.uploads.service import UPLOADS
from server.uploads.tus import TUS
from server.uploads.tus import parts as tus_parts
from tests.clean import reused
from tests.served import Served
from tests.uploads.making import HTML
from tests.uploads.tus import BASE, BYTES, PNG, Client, metadata, sha1
from tests.uploads.tus_server import client, gone, server, spooled

__all__ = ["client", "reused", "server"]
pytestmark = pytest.mark.asyncio(loop_scope="module")


# --- creation


async def test_creation_answers_where_the_bytes_go(client: Client) -> None:
    answer = await client.send("POST", BASE, Upload_Length="100")
    assert answer.status == 201
    assert answer.headers["Location"].startswith(f"{BASE}/")
    assert answer.headers["Upload-Offset"] == "0"


@pytest.mark.parametrize(
    ("headers", "status", "error"),
    [
        ({"Upload_Length": None}, 400, "Invalid input"),
        ({"Upload_Length": "1e3"}, 400, "Invalid input"),
        ({"Upload_Length": "9" * 16}, 400, "Invalid input"),
        ({"Upload_Length": "0"}, 400, "No file provided"),
        ({"Upload_Length": str(5 * MIB + 1)}, 413, "File too large"),
        ({"Upload_Length": None, "Upload_Defer_Length": "1"}, 400, "Invalid input"),
        ({"Upload_Concat": "partial"}, 400, "Invalid input"),
        ({"Tus_Resumable": "2.0.0"}, 412, "Precondition failed"),
        ({"Upload_Metadata": "filename ???"}, 400, "Invalid input"),
        ({"Upload_Metadata": "filename YQ"}, 400, "Invalid input"),
        ({"Upload_Metadata": "a YQ==,a YQ=="}, 400, "Invalid input"),
        ({"Upload_Metadata": "ä YQ=="}, 400, "Invalid input"),
        ({"Upload_Metadata": ",".join(f"k{n}" for n in range(21))}, 400, "Invalid input"),
        ({"Upload_Metadata": f"k {'A' * 5000}"}, 400, "Invalid input"),
        ({"Upload_Metadata": "filename /w=="}, 400, "Invalid input"),
        ({"Upload_Metadata": metadata(policy="nothing")}, 400, "Invalid input"),
        ({"Upload_Metadata": metadata(filetype="image/gif")}, 400, "Invalid file type"),
        ({"Authorization": None}, 401, "Unauthorized"),
        ({"X_HTTP_Method_Override": "PATCH"}, 405, "Method not allowed"),
    ],
)
async def test_a_wrong_creation_makes_nothing(
    server: Served, client: Client, headers: dict[str, str | None], status: int, error: str
) -> None:
    before = spooled(server)
    given = {"Upload_Length": "100"} | headers
    assert (await client.send("POST", BASE, **given)).error == (status, error)
    assert spooled(server) == before


async def test_the_room_of_an_upload_is_its_own_from_the_beginning(server: Served) -> None:
    client = Client(server.url, (await server.sign_in())[1])
    quota = server.app[UPLOADS].quota
    server.app[UPLOADS].quota = 150_000
    try:
        path = await client.create(100_000)
        answer = await client.send("POST", BASE, Upload_Length="50001")
        assert answer.error == (507, "Insufficient storage")
        assert (await client.send("DELETE", path)).status == 204
        await client.create(50_001)
    finally:
        server.app[UPLOADS].quota = quota


async def test_not_too_many_uploads_may_be_open(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tus_parts, "MAX_OPEN", 2)
    first = await client.create(100)
    await client.create(100)
    answer = await client.send("POST", BASE, Upload_Length="100")
    assert answer.error == (429, "Too many requests")
    await client.send("DELETE", first)
    await client.create(100)


# --- creation with upload


async def test_the_first_bytes_may_come_with_the_creation(client: Client) -> None:
    for count in (1000, len(PNG)):
        answer = await client.send(
            "POST", BASE, PNG[:count], Upload_Length=str(len(PNG)), Content_Type=BYTES
        )
        assert (answer.status, answer.offset) == (201, count)
        path = answer.headers["Location"]
        assert (await client.head(path)).offset == count
    assert (await client.get(path)).body["state"] == "ready"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (HTML.ljust(9000), {}, 400),
        (PNG[:1000], {"Upload_Checksum": sha1(b"others")}, 460),
        (PNG + b"x", {}, 413),
        (PNG, {"Content_Encoding": "gzip"}, 415),
    ],
)
async def test_first_bytes_that_are_refused_leave_nothing(
    server: Served, client: Client, body: bytes, headers: dict[str, str], status: int
) -> None:
    before = spooled(server)
    answer = await client.send(
        "POST", BASE, body, Upload_Length=str(len(PNG)), Content_Type=BYTES, **headers
    )
    assert answer.error[0] == status
    assert "Location" not in answer.headers
    assert spooled(server) == before


# --- expiration


async def test_an_upload_that_is_not_whole_expires(server: Served, client: Client) -> None:
    made = await client.send("POST", BASE, Upload_Length=str(len(PNG)))
    path = made.headers["Location"]
    sent = await client.patch(path, 0, PNG[:10])
    for answer in (made, sent, await client.head(path)):
        ends = parsedate_to_datetime(answer.headers["Upload-Expires"])
        left = (ends - datetime.now(UTC)).total_seconds()
        assert 0 < left <= server.app[SETTINGS].upload_expires
    await server.app[POOL].execute("UPDATE uploads SET expires_at = now() WHERE state <> 'ready'")
    assert (await client.head(path)).status == 410
    assert (await client.patch(path, 10, PNG[10:])).error == (410, "Gone")
    assert await server.app[TUS].discard(path.rpartition("/")[2])
    await gone(server, client, path)


async def test_a_whole_one_does_not(client: Client) -> None:
    path = await client.create(len(PNG))
    assert "Upload-Expires" not in (await client.patch(path, 0, PNG)).headers
    assert "Upload-Expires" not in (await client.head(path)).headers
    assert (await client.get(path)).body["expiresAt"] is None


# --- checksum


async def test_a_checksum_is_verified_before_the_bytes_count(client: Client) -> None:
    path = await client.create(len(PNG))
    first, rest = PNG[:30_000], PNG[30_000:]
    answer = await client.patch(path, 0, first, Upload_Checksum=sha1(b"others"))
    assert answer.error == (460, "Checksum mismatch")
    assert (await client.head(path)).offset == 0
    assert (await client.patch(path, 0, first, Upload_Checksum=sha1(first))).offset == 30_000
    wrong = await client.patch(path, 30_000, rest[::-1], Upload_Checksum=sha1(rest))
    assert wrong.error == (460, "Checksum mismatch")
    assert (await client.head(path)).offset == 30_000
    digest = base64.b64encode(hashlib.sha256(rest).digest()).decode()
    last = await client.patch(path, 30_000, rest, Upload_Checksum=f"sha256 {digest}")
    assert last.offset == len(PNG)
    found = (await client.get(path)).body
    assert found["sha256"] == hashlib.sha256(PNG).hexdigest()


async def test_bytes_whose_checksum_can_not_be_known_do_not_count(client: Client) -> None:
    path = await client.create(len(PNG))
    async with client.hanging(
        path, 0, PNG[:3000], length=len(PNG), Upload_Checksum=sha1(PNG)
    ) as request:
        assert await request.status() == 408
    assert (await client.head(path)).offset == 0


async def test_damage_on_the_way_is_not_taken_for_a_wrong_type(client: Client) -> None:
    path = await client.create(len(PNG), filetype="image/png")
    damaged = HTML.ljust(9000) + PNG[9000:]
    answer = await client.patch(path, 0, damaged, Upload_Checksum=sha1(PNG))
    assert answer.error == (460, "Checksum mismatch")
    assert (await client.patch(path, 0, PNG, Upload_Checksum=sha1(PNG))).offset == len(PNG)


# --- termination


async def test_an_upload_can_be_ended_whole_or_not(server: Served, client: Client) -> None:
    for count in (0, 1000, len(PNG)):
        path = await client.create(len(PNG))
        if count:
            await client.patch(path, 0, PNG[:count])
        assert (await client.send("DELETE", path)).status == 204
        await gone(server, client, path)
        assert (await client.send("DELETE", path)).error == (404, "Not found")

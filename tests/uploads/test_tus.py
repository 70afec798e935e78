"""tus over HTTP: each request, each extension, each thing that may be wrong with them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from server.db.pool import Database
from server.keys import POOL, SETTINGS
from server.uploads.service import UPLOADS
from server.uploads.store import NoSpace
from server.uploads.tus import TUS
from server.uploads.tus import parts as tus_parts
from tests.clean import reused
from tests.served import KEY, Served, served
from tests.uploads.making import HTML, MP4, PDF
from tests.uploads.tus import BASE, BYTES, PNG, Client, held, metadata
from tests.waiting import until

__all__ = ["reused"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

NOWHERE = f"{BASE}/{'0' * 32}"
MIB = 1024 * 1024


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server(reused: Database) -> AsyncIterator[Served]:
    """One server for all of them."""
    async with served(reused, upload_stall=0.3, limits="off") as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: Served) -> Client:
    """A new user's."""
    return Client(server.url, (await server.sign_in())[1])


def sha1(data: bytes) -> str:
    return f"sha1 {base64.b64encode(hashlib.sha1(data).digest()).decode()}"


def spooled(server: Served) -> list[str]:
    """What is in the spool, but for its own name."""
    directory = server.app[SETTINGS].data / "spool"
    return sorted(path.name for path in directory.iterdir() if path.name != ".host")


def kept(server: Served) -> list[Path]:
    """The files in the store."""
    store = server.app[SETTINGS].data / "uploads"
    return [path for path in store.rglob("*") if path.is_file()]


async def rows(server: Served, path: str) -> int:
    id_ = path.rpartition("/")[2]
    return int(await server.app[POOL].fetchval("SELECT count(*) FROM uploads WHERE id = $1", id_))


async def gone(server: Served, client: Client, path: str) -> None:
    """Nothing of an upload may be left."""
    assert (await client.head(path)).status == 404
    assert await rows(server, path) == 0
    id_ = path.rpartition("/")[2]
    assert [name for name in spooled(server) if id_ in name] == []
    assert [found for found in kept(server) if found.name == id_] == []


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


async def test_a_sender_that_stalls_is_answered_and_what_came_is_kept(client: Client) -> None:
    path = await client.create(len(PNG))
    async with client.hanging(path, 0, PNG[:3000], length=len(PNG)) as request:
        assert await request.status() == 408
    assert (await client.head(path)).offset == 3000


async def test_what_came_before_a_cut_is_kept(server: Served, client: Client) -> None:
    path = await client.create(len(PNG))
    async with client.hanging(path, 0, PNG[:3000], length=len(PNG)) as request:
        await until(lambda: server.app[TUS].locks._held)
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

"""Files on their way out, from both stores, on real sockets."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import time
import uuid
from collections.abc import AsyncIterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from server.auth import keys
from server.auth.sessions import token_hash
from server.db.embedded import EmbeddedPostgres
from server.keys import POOL
from server.uploads import serving
from server.uploads.policies import POLICIES
from server.uploads.records import Record
from server.uploads.service import UPLOADS
from server.uploads.signing import URL_KEY, sign
from tests.served import Served
from tests.uploads.kept import bearer, keep, running
from tests.uploads.making import HTML, encoded, picture
from tests.uploads.moto import Moto
from tests.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

PNG = encoded(picture(), "PNG")
LARGE = random.Random(3).randbytes(6 * 1024 * 1024 + 7)
KINDS = sorted({each.name for policy in POLICIES.values() for each in policy.types})


class Site:
    """A server with a client for it, a user, and that user's token."""

    def __init__(self, server: Served, user: str, token: str) -> None:
        self.server = server
        self.user = user
        self.mine = bearer(token)
        self.client = httpx.AsyncClient(base_url=server.url)

    async def keep(self, content: bytes = PNG, **more: Any) -> Record:
        return await keep(self.server, content, self.user, **more)

    async def private(self, content: bytes = b"%PDF-1.4", **more: Any) -> Record:
        given = {"name": "a.pdf", "type_": "application/pdf"} | more
        return await self.keep(content, policy="documents", visibility="private", **given)

    async def get(self, path: str, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(f"/api/uploads/{path}", headers=named)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def site(postgres: EmbeddedPostgres) -> AsyncIterator[Site]:
    """On the local disk."""
    async with running(postgres, write_deadline=0.5) as server:
        site = Site(server, *await server.sign_in())
        async with site.client:
            yield site


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cloud(postgres: EmbeddedPostgres, moto: Moto) -> AsyncIterator[Site]:
    """On S3."""
    endpoint = f"endpoint=http://127.0.0.1:{moto.port}&region=us-east-1"
    url = f"s3://testing:testing@uploads/{uuid.uuid4().hex}?{endpoint}"
    async with running(postgres, storage_url=url, write_deadline=0.5) as server:
        site = Site(server, *await server.sign_in())
        async with site.client:
            yield site


@pytest.fixture(params=["site", "cloud"])
def either(request: pytest.FixtureRequest) -> Site:
    found: Site = request.getfixturevalue(request.param)
    return found


async def test_a_file_comes_as_it_was_with_all_its_headers(either: Site) -> None:
    kept = await either.keep(LARGE, name="Käse.png")
    found = await either.get(kept.id)
    assert (found.status_code, found.content == LARGE) == (200, True)
    wanted = {
        "content-type": "image/png",
        "content-length": str(len(LARGE)),
        "etag": f'"{sha256(LARGE).hexdigest()}"',
        "accept-ranges": "bytes",
        "x-content-type-options": "nosniff",
        "content-disposition": "inline; filename=\"Kase.png\"; filename*=UTF-8''K%C3%A4se.png",
        "content-security-policy": serving.SANDBOX,
        "cross-origin-resource-policy": "cross-origin",
        "cache-control": "public, max-age=3600, immutable",
        "referrer-policy": "no-referrer",
    }
    assert {name: found.headers.get(name) for name in wanted} == wanted
    assert found.headers["Last-Modified"].endswith("GMT")


async def test_head_has_the_headers_of_get(either: Site) -> None:
    kept = await either.keep()
    got, head = await either.get(kept.id), await either.client.head(f"/api/uploads/{kept.id}")
    own = {"date", "x-request-id"}
    assert {k: v for k, v in got.headers.items() if k not in own} == {
        k: v for k, v in head.headers.items() if k not in own
    }
    ranged = await either.client.head(f"/api/uploads/{kept.id}", headers={"Range": "bytes=0-0"})
    assert (ranged.status_code, ranged.headers["Content-Length"]) == (200, str(len(PNG)))


SIZE = len(LARGE)


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("0-0", 0, 1),
        (f"{SIZE - 1}-", SIZE - 1, SIZE),
        (f"{SIZE - 1}-{SIZE}", SIZE - 1, SIZE),
        ("-1", SIZE - 1, SIZE),
        (f"-{SIZE + 1}", 0, SIZE),
        ("262143-262145", 262_143, 262_146),
        ("1000-", 1000, SIZE),
    ],
)
async def test_a_range_at_the_edges(either: Site, wanted: str, start: int, end: int) -> None:
    kept = await _large(either)
    found = await either.get(kept.id, Range=f"bytes={wanted}")
    assert found.status_code == 206
    assert found.headers["Content-Range"] == f"bytes {start}-{end - 1}/{SIZE}"
    assert found.content == LARGE[start:end]


_KEPT: dict[int, Record] = {}


async def _large(site: Site) -> Record:
    if id(site) not in _KEPT:
        _KEPT[id(site)] = await site.keep(LARGE)
    return _KEPT[id(site)]


async def test_what_is_no_range_of_the_file(site: Site) -> None:
    kept = await site.keep()
    behind = await site.get(kept.id, Range=f"bytes={len(PNG)}-")
    assert (behind.status_code, behind.json()["error"]) == (416, "Range not satisfiable")
    assert behind.headers["Content-Range"] == f"bytes */{len(PNG)}"
    for text in ("bytes=0-1,3-4", "bytes=9-1", "lines=1-2"):
        whole = await site.get(kept.id, Range=text)
        assert (whole.status_code, whole.content) == (200, PNG), text


async def test_conditions_are_answered(site: Site) -> None:
    kept = await site.keep()
    first = await site.get(kept.id)
    etag, modified = first.headers["ETag"], first.headers["Last-Modified"]
    for headers in ({"If_None_Match": etag}, {"If_Modified_Since": modified}):
        same = await site.get(kept.id, **headers)
        assert (same.status_code, same.content, same.headers["ETag"]) == (304, b"", etag)
        assert same.headers["Cache-Control"] == first.headers["Cache-Control"]
    other = await site.get(kept.id, If_Match='"other"')
    assert (other.status_code, other.json()["status"]) == (412, 412)
    assert other.headers["Cache-Control"] == "no-store"
    stale = await site.get(kept.id, Range="bytes=0-0", If_Range='"other"')
    fresh = await site.get(kept.id, Range="bytes=0-0", If_Range=etag)
    assert (stale.status_code, fresh.status_code) == (200, 206)


async def test_several_lines_of_a_condition_are_one_list(site: Site) -> None:
    kept = await site.keep()
    path = f"/api/uploads/{kept.id}"
    for name, status in (("If-None-Match", 304), ("If-Match", 200)):
        lines = [(name, '"other"'), (name, f'"{sha256(PNG).hexdigest()}"')]
        assert (await site.client.get(path, headers=lines)).status_code == status
    ranges = [("Range", "bytes=0-0"), ("Range", "bytes=1-1")]
    assert (await site.client.get(path, headers=ranges)).status_code == 200


@pytest.mark.parametrize("name", ["If-Modified-Since", "If-Unmodified-Since", "If-Range"])
async def test_an_absurd_date_is_no_condition(site: Site, name: str) -> None:
    kept = await site.keep()
    absurd = {name: f"Sun, 22 Nov {'9' * 20} 16:04:05 GMT"}
    found = await site.client.get(
        f"/api/uploads/{kept.id}", headers={"Range": "bytes=0-0"} | absurd
    )
    assert found.status_code == (200 if name == "If-Range" else 206)


async def test_a_keys_reads_of_private_files_count_in_its_rate(site: Site) -> None:
    """As all that it asks for; who reads a public file is not asked who they are."""
    token = keys.new()
    key = await site.server.app[POOL].fetchval(
        "INSERT INTO api_keys (user_id, name, start, key_hash, scopes, rate_count, rate_seconds)"
        " VALUES ($1, 'reader', 'trk_', $2, '{uploads}', 2, 60) RETURNING id",
        site.user,
        token_hash(token),
    )
    kept = await keep(site.server, PNG, f"key:{key}", visibility="private")
    public = await site.keep()
    found = [(await site.get(kept.id, **bearer(token))).status_code for _ in range(3)]
    assert found == [200, 200, 429]
    assert (await site.get(public.id, **bearer(token))).status_code == 200


async def test_a_download_goes_on_with_curl(either: Site, tmp_path: Path) -> None:
    kept = await _large(either)
    target = tmp_path / "part"
    target.write_bytes(LARGE[:1_000_001])
    url = f"{either.server.url}/api/uploads/{kept.id}"
    command = ["curl", "-sS", "--fail", "-C", "-", "-o", str(target), url]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert target.read_bytes() == LARGE


async def test_a_connection_serves_one_file_after_another(either: Site) -> None:
    large, small = await _large(either), await either.keep()
    path = f"/api/uploads/{large.id}"
    stream = await either.server.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert await stream.rest() == LARGE
    await stream.send("GET", f"/api/uploads/{small.id}", {}, b"")
    assert (stream.status, await stream.rest()) == (200, PNG)


@pytest.mark.parametrize("kind", KINDS)
async def test_only_images_are_shown_and_no_type_is_guessed(site: Site, kind: str) -> None:
    """HTML that got in as any of them stays what it was declared to be."""
    kept = await site.keep(HTML, type_=kind, name="a.bin")
    found = await site.get(kept.id)
    assert found.headers["Content-Type"].partition(";")[0] == kind
    assert found.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in found.headers["Content-Security-Policy"]
    shown = found.headers["Content-Disposition"].partition(";")[0]
    assert shown == ("inline" if kind.startswith("image/") else "attachment")
    saved = await site.get(f"{kept.id}?download=1")
    assert saved.headers["Content-Disposition"].startswith("attachment;")


async def test_a_type_that_is_no_longer_taken_is_bytes(site: Site) -> None:
    kept = await site.keep(HTML, type_="text/html", name="a.html")
    found = await site.get(kept.id)
    assert found.headers["Content-Type"] == "application/octet-stream"
    assert found.headers["Content-Disposition"].startswith("attachment;")


async def test_a_private_file_is_its_owners_and_the_admins(site: Site) -> None:
    kept = await site.private()
    _, other = await site.server.sign_in()
    _, admin = await site.server.sign_in("admin")
    found = {
        "nobody": (await site.get(kept.id)).status_code,
        "other": (await site.get(kept.id, **bearer(other))).status_code,
        "admin": (await site.get(kept.id, **bearer(admin))).status_code,
        "owner": (await site.get(kept.id, **site.mine)).status_code,
        "bad key": (await site.get(kept.id, **bearer("trk_no"))).status_code,
        "bad key, no file": (await site.get("0" * 32, **bearer("trk_no"))).status_code,
    }
    assert found == {
        "nobody": 404,
        "other": 404,
        "admin": 200,
        "owner": 200,
        "bad key": 401,
        "bad key, no file": 401,
    }
    mine = await site.get(kept.id, **site.mine)
    assert mine.headers["Cache-Control"] == "private, no-cache"
    assert mine.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    missing, hidden = await site.get("0" * 32), await site.get(kept.id)
    assert {**missing.json(), "request_id": ""} == {**hidden.json(), "request_id": ""}


async def test_a_private_file_of_a_key_is_that_keys(site: Site) -> None:
    kept = await keep(site.server, PNG, "key:bootstrap", visibility="private")
    assert (await site.get(kept.id, **bearer("k" * 32))).content == PNG
    assert (await site.get(kept.id, **site.mine)).status_code == 404


async def test_a_signed_address_opens_one_file_for_anybody(site: Site) -> None:
    kept, other = await site.private(), await site.private()
    path = f"/api/uploads/{kept.id}/url"
    signed = await site.client.post(path, json={"expiresIn": 60}, headers=site.mine)
    assert signed.status_code == 200
    url = signed.json()["url"]
    assert (await site.client.get(url)).content == b"%PDF-1.4"
    assert (await site.client.get(url + "&download=1")).status_code == 200
    assert (await site.client.head(url)).status_code == 200
    moved = url.replace(kept.id, other.id)
    longer = url.replace("expires=", "expires=1")
    cut, short = url[:-1], url.partition("&")[0]
    for bad in (moved, longer, cut, short, url.replace("signature=", "signature=%ff")):
        # Also for the owner: a bad signature is never made good by a cookie or key.
        for headers in ({}, site.mine):
            refused = await site.client.get(bad, headers=headers)
            assert (refused.status_code, refused.json()["error"]) == (403, "Forbidden"), bad


async def test_a_signed_address_expires(site: Site) -> None:
    kept = await site.private()
    past = int(time.time()) - 1
    signature = sign(kept.id, past, site.server.app[URL_KEY])
    old = await site.get(f"{kept.id}?expires={past}&signature={signature}", **site.mine)
    assert (old.status_code, old.json()["detail"]) == (403, "this address has expired")


async def test_only_the_owner_signs_and_not_for_ever(site: Site) -> None:
    kept = await site.private()
    _, other = await site.server.sign_in()
    path = f"/api/uploads/{kept.id}/url"
    for headers, body, status in (
        ({}, {}, 401),
        (bearer(other), {}, 404),
        (site.mine, {"expiresIn": 604_801}, 400),
        (site.mine, {"expiresIn": 0}, 400),
        (site.mine, {"expiresIn": "9"}, 400),
        (site.mine, {}, 200),
    ):
        assert (await site.client.post(path, json=body, headers=headers)).status_code == status


async def test_what_is_not_whole_or_has_expired_is_not_there(site: Site) -> None:
    receiving = await site.keep(state="receiving", expires=3600)
    expired = await site.keep(expires=-1)
    for kept in (receiving, expired):
        assert (await site.get(kept.id, **site.mine)).status_code == 404
        path = f"/api/uploads/{kept.id}/url"
        assert (await site.client.post(path, json={}, headers=site.mine)).status_code == 404


async def test_a_file_that_expires_is_not_cached_beyond_that(site: Site) -> None:
    kept = await site.keep(expires=60)
    age = (await site.get(kept.id)).headers["Cache-Control"].split("=")[1].partition(",")[0]
    assert 0 <= int(age) <= 60


@pytest.mark.parametrize(
    "id_",
    [
        *("..", "../../etc/passwd", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..%5cetc"),
        *("0" * 31, "0" * 33, "A" * 32, "%00" * 32, "0" * 31 + "%0a", "0" * 31 + "é"),
        *(".incoming", "ab%2f" + "0" * 32, "'; DROP TABLE uploads; --", "%ff%fe", "0" * 8000),
    ],
)
async def test_hostile_ids_name_nothing(site: Site, id_: str) -> None:
    request = f"GET /api/uploads/{id_} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    stream = await site.server.raw(request.encode())
    assert stream.status in {400, 404}
    assert b"root:" not in await stream.rest()


async def test_a_file_that_the_store_has_lost_is_missing_and_logged(
    either: Site, caplog: pytest.LogCaptureFixture
) -> None:
    kept = await either.keep()
    await either.server.app[UPLOADS].store.delete(kept.id)
    got, head = await either.get(kept.id), await either.client.head(f"/api/uploads/{kept.id}")
    assert (got.status_code, head.status_code) == (404, 404)
    assert f"upload {kept.id} is known, but not in the store" in caplog.text


async def test_a_file_cut_short_is_never_taken_for_whole(site: Site) -> None:
    kept = await site.keep(LARGE)
    path = site.server.app[UPLOADS].store.path(kept.id)
    assert path is not None
    path.write_bytes(LARGE[:1_000_000])
    with pytest.raises(httpx.RemoteProtocolError):
        await site.get(kept.id)


async def test_the_store_is_away(cloud: Site, moto: Moto) -> None:
    kept = await cloud.keep()
    moto.guard("0")
    try:
        away = await cloud.get(kept.id)
    finally:
        moto.guard("inf")
    assert (away.status_code, away.headers["Retry-After"]) == (503, "5")


async def test_a_client_that_goes_away_ends_the_reading(either: Site) -> None:
    kept = await _large(either)
    before = open_files()
    path = f"/api/uploads/{kept.id}"
    stream = await either.server.raw(
        f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), buffer=4096
    )
    stream.pause()
    stream.abort()
    await until(lambda: open_files() <= before)


async def test_a_client_that_takes_nothing_is_cut(either: Site) -> None:
    kept = await either.keep(LARGE * 2)
    handlers = either.server.runner.server
    assert handlers is not None
    before = set(handlers.connections)
    request = f"GET /api/uploads/{kept.id} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
    stream = await either.server.raw(request, buffer=4096)
    stream.pause()
    (connection,) = set(handlers.connections) - before
    await until(lambda: connection not in handlers.connections)
    stream.resume()
    await stream.gone()


async def test_the_log_has_no_signature(
    postgres: EmbeddedPostgres, capsys: pytest.CaptureFixture[str]
) -> None:
    async with running(postgres, access_log="on") as server:
        user, token = await server.sign_in()
        kept = await keep(server, PNG, user, visibility="private")
        head = f"POST /api/uploads/{kept.id}/url HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        made = await server.raw(f"{head}Content-Length: 2\r\n\r\n{{}}".encode())
        url = json.loads(await made.rest())["url"]
        answer = await server.raw(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert await answer.rest() == PNG
    printed = capsys.readouterr().err
    assert f"/api/uploads/{kept.id}" in printed
    assert url.rpartition("=")[2] not in printed


async def test_public_files_need_no_session(site: Site) -> None:
    kept = await site.keep()
    stale = {"Cookie": "tailrace.session_token=trs_" + "x" * 32}
    found = await site.client.get(f"/api/uploads/{kept.id}", headers=stale)
    assert (found.status_code, "Set-Cookie" in found.headers) == (200, False)
    assert await site.server.app[POOL].fetchval("SELECT count(*) FROM uploads") > 0


def open_files() -> int:
    """Open descriptors of this process that are files or sockets."""
    return len(list(Path("/proc/self/fd").iterdir()))

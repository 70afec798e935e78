"""Files on their way out, from both stores, on real sockets."""

from __future__ import annotations

import asyncio
import random
import subprocess
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from server.uploads import serving
from server.uploads.policies import POLICIES
from server.uploads.records import Record
from server.uploads.service import UPLOADS
from tests.uploads.making import HTML, PNG
from tests.uploads.moto import Moto
from tests.uploads.serving import Site, cloud, site
from tests.waiting import until

__all__ = ["cloud", "site"]
pytestmark = pytest.mark.asyncio(loop_scope="module")

LARGE = random.Random(3).randbytes(6 * 1024 * 1024 + 7)
KINDS = sorted({each.name for policy in POLICIES.values() for each in policy.types})


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


def open_files() -> int:
    """Open descriptors of this process that are files or sockets."""
    return len(list(Path("/proc/self/fd").iterdir()))

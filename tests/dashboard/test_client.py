"""The browser client as it is served: to pages of any origin, small, and what its sources say."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server.dashboard import page

Client = TestClient[web.Request, web.Application]

MOST = 8192
"""Bytes of all modules together, as they are served to a browser."""
MODULES = sorted(page.CLIENT.rglob("*.js"))
ESBUILD = Path(__file__).parents[1] / "node" / "node_modules" / ".bin" / "esbuild"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    page.add_routes(app)
    # Bodies are measured as sent: the client must not unpack them.
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


async def test_all_modules_that_a_page_loads_have_at_most_8_kib(client: Client) -> None:
    found, left = dict[str, int](), ["/client.js"]
    while left:
        path = left.pop()
        answer = await client.get(path, headers={"Accept-Encoding": "gzip"})
        assert answer.headers["Content-Encoding"] == "gzip"
        body = await answer.read()
        found[path] = len(body)
        names = re.findall(
            rb'(?:from |URL\()"\./?(.+?\.js)"|URL\("(\w+\.js)"', gzip.decompress(body)
        )
        folder = path.rpartition("/")[0]
        for name in {f"{folder}/{(one or other).decode().lstrip('/')}" for one, other in names}:
            if name not in found and name not in left:
                left.append(name)
    assert {*found} == {f"/{path.relative_to(page.CLIENT).as_posix()}" for path in MODULES}
    assert sum(found.values()) <= MOST, found


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/client.js", "text/javascript; charset=utf-8"),
        ("/client/hub.js", "text/javascript; charset=utf-8"),
        ("/client.d.ts", "application/typescript; charset=utf-8"),
    ],
)
async def test_pages_of_any_origin_may_load_it(
    client: Client, path: str, content_type: str
) -> None:
    answer = await client.get(path, headers={"Origin": "https://elsewhere.example"})
    assert answer.status == 200
    assert answer.headers["Content-Type"] == content_type
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Cache-Control"] == "no-cache"
    headers = {"If-None-Match": answer.headers["ETag"]}
    assert (await client.get(path, headers=headers)).status == 304
    # And nothing else.
    answer = await client.get("/static/page.js", headers={"Origin": "https://elsewhere.example"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/client/", "/client/none.js", "/client/client.js", "/client.ts"])
async def test_only_its_files_are_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


@pytest.mark.node
@pytest.mark.usefixtures("node")
async def test_what_is_left_out_changes_nothing() -> None:
    async def meaning(script: bytes) -> bytes:
        process = await asyncio.create_subprocess_exec(
            ESBUILD, "--minify", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        return (await process.communicate(script))[0]

    served = page.read_assets(page.CLIENT, page.lean)
    for path in MODULES:
        asset = served[path.relative_to(page.CLIENT).as_posix()]
        assert len(asset.body) < path.stat().st_size
        assert await meaning(asset.body) == await meaning(path.read_bytes()) != b""

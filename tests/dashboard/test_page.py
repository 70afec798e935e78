"""The page's routes alone: headers, caching, and that everything the page names is there."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from server import __version__
from server.dashboard import page

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

Client = TestClient[web.Request, web.Application]

VENDOR = page.STATIC / "vendor"
SCRIPTS = sorted(path for path in page.STATIC.rglob("*.js") if VENDOR not in path.parents)
STYLES = sorted(page.STATIC.rglob("*.css"))


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    app = web.Application()
    page.add_routes(app)
    # Bodies are compared as sent: the client must not unpack them.
    async with TestClient(TestServer(app), auto_decompress=False) as client:
        yield client


def name(path: Path) -> str:
    return path.relative_to(page.STATIC).as_posix()


class Tags(HTMLParser):
    """Every start tag with its attributes, and the text inside scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inline = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1][0] in {"script", "style"}:
            self.inline += data.strip()


def index_tags() -> Tags:
    parser = Tags()
    parser.feed((page.STATIC / page.INDEX).read_text())
    return parser


async def test_the_page_is_html_under_a_strict_policy(client: Client) -> None:
    answer = await client.get("/")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
        " connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self';"
        " frame-ancestors 'none'"
    )
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_every_asset_is_served_with_its_type_and_the_same_headers(client: Client) -> None:
    for asset, kept in client.app[page.ASSETS].items():
        if asset == page.INDEX:
            continue
        answer = await client.get(f"/static/{asset}", headers={"Accept-Encoding": "identity"})
        assert answer.status == 200
        assert answer.headers["Content-Type"] == kept.content_type
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Content-Security-Policy" in answer.headers
        assert await answer.read() == (page.STATIC / asset).read_bytes()


@pytest.mark.parametrize("path", ["/", "/static/page.js", "/static/vendor/inter.woff2"])
@pytest.mark.parametrize("encoding", ["gzip", "identity"])
async def test_a_known_version_is_answered_304_without_body(
    client: Client, path: str, encoding: str
) -> None:
    headers = {"Accept-Encoding": encoding}
    first = await client.get(path, headers=headers)
    etag = first.headers["ETag"]
    assert not etag.startswith("W/")
    assert first.headers["Cache-Control"] == "no-cache"
    again = await client.get(path, headers={**headers, "If-None-Match": etag})
    assert (again.status, await again.read(), again.headers["ETag"]) == (304, b"", etag)
    other = await client.get(path, headers={**headers, "If-None-Match": '"another"'})
    assert other.status == 200


async def test_the_compressed_form_has_its_own_tag_and_the_same_content(client: Client) -> None:
    path = "/static/vendor/uplot.js"
    plain = await client.get(path, headers={"Accept-Encoding": "identity"})
    packed = await client.get(path, headers={"Accept-Encoding": "br, gzip"})
    assert packed.headers["Content-Encoding"] == "gzip"
    assert packed.headers["Vary"] == plain.headers["Vary"] == "Accept-Encoding"
    assert packed.headers["ETag"] != plain.headers["ETag"]
    assert gzip.decompress(await packed.read()) == await plain.read()


@pytest.mark.parametrize(
    "path",
    [
        "/static/",
        "/static/none.js",
        "/static/index.html",
        "/static/vendor",
        "/static/vendor/README.md",
        "/static/../page.py",
        "/static/%2e%2e/page.py",
        "/static/..%2fpage.py",
        "/static/vendor/../../page.py",
        "/static/vendor/%2e%2e/page.js",
        "/static//page.js",
        "/static/%2Fetc%2Fpasswd",
        "/static/page.js%00.css",
        "//static/page.js",
        "/static/../../../../etc/passwd",
    ],
)
async def test_only_enumerated_names_are_served(client: Client, path: str) -> None:
    # On a bare connection: an HTTP client would tidy the path up before it leaves.
    reader, writer = await asyncio.open_connection(client.host, client.port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert (await reader.readline()).startswith(b"HTTP/1.1 404 ")
    writer.close()
    await writer.wait_closed()


async def test_files_of_other_kinds_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "secret.env").write_text("2")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.css").write_text("3")
    assert set(page.read_assets(tmp_path)) == {"a.js", "b/c.css"}


async def test_the_page_is_told_what_its_reader_may_see() -> None:
    async def describe(request: web.Request) -> page.PageInfo:
        takes = page.Takes("images", ("image/png",), ("png",), 100)
        return page.PageInfo(demo=True, metrics="admin" in request.query, uploads=(takes,))

    app = web.Application()
    page.add_routes(app, describe)
    async with TestClient(TestServer(app)) as client:
        answer = await client.get("/api/page?admin")
        assert answer.headers["Cache-Control"] == "no-store"
        takes = {"name": "images", "types": ["image/png"], "extensions": ["png"], "most": 100}
        assert await answer.json() == {
            "demo": True,
            "metrics": True,
            "uploads": [takes],
            "version": __version__,
        }


async def test_by_default_a_stranger_sees_no_metrics(client: Client) -> None:
    answer = await client.get("/api/page")
    info = await answer.json()
    assert (info["demo"], info["metrics"]) == (False, False)


def test_the_page_has_nothing_inline_that_the_policy_would_block() -> None:
    parser = index_tags()
    assert parser.inline == ""
    for _tag, attributes in parser.tags:
        assert not [key for key in attributes if key == "style" or key.startswith("on")]


def test_every_address_in_the_page_is_an_asset_of_ours() -> None:
    addresses = [
        value
        for _tag, attributes in index_tags().tags
        for key, value in attributes.items()
        if key in {"src", "href"}
    ]
    assets = {f"/static/{asset}" for asset in page.read_assets()}
    assert addresses
    assert set(addresses) <= assets


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_every_import_is_an_asset_of_ours(script: Path) -> None:
    for target in re.findall(r"(?:from|import)\s*\(?\"([^\"]+)\"", script.read_text()):
        assert target.startswith("."), target
        if target == "../../client.js":  # of `/static/lib`: the browser client
            assert script.parent == page.STATIC / "lib"
            assert (page.CLIENT / "client.js").is_file()
            continue
        assert (script.parent / target).resolve().is_relative_to(page.STATIC)
        assert (script.parent / target).is_file(), target


@pytest.mark.parametrize("style", STYLES, ids=name)
def test_every_url_in_a_style_is_an_asset_of_ours(style: Path) -> None:
    text = style.read_text()
    assert "@import" not in text
    for target in re.findall(r"url\([\"']?([^\"')]+)", text):
        assert (style.parent / target).resolve().relative_to(page.STATIC).as_posix() in (
            page.read_assets()
        )


@pytest.mark.parametrize("script", SCRIPTS, ids=name)
def test_no_script_of_ours_makes_markup_or_code_of_text(script: Path) -> None:
    sinks = (
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser"
    )
    assert not re.search(sinks, script.read_text())


@pytest.mark.parametrize("source", [*SCRIPTS, page.STATIC / page.INDEX], ids=name)
def test_our_files_stay_small(source: Path) -> None:
    assert len(source.read_text().splitlines()) <= 250


def test_vendored_files_are_those_the_readme_records() -> None:
    readme = (VENDOR / "README.md").read_text()
    recorded = dict(re.findall(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", readme, re.MULTILINE))
    present = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR.iterdir()
        if path.name != "README.md"
    }
    assert recorded == present

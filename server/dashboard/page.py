"""The dashboard: one page and its assets, read once at start and served from memory.

A URL is only ever a key into what was enumerated at start, never a path: nothing to traverse.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from aiohttp import web

from server import __version__

STATIC = Path(__file__).parent / "static"
CLIENT = Path(__file__).parent / "client"
INDEX = "index.html"

CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".ts": "application/typescript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}
"""Also the allow-list: a file of any other kind beside the assets is not served."""

# The page shows data of strangers. It renders it as text only; should that ever fail, nothing
# inline runs, nothing foreign loads, and no answer can be framed or read by another origin.
HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "; ".join(
        (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self' data:",
            "connect-src 'self'",
            "font-src 'self'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # Revalidated each time: a new version shows at once, an old one costs a 304.
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}

# The browser client is for pages of any origin. Its policy counts where it runs as a worker,
# which may connect to wherever its page says.
CLIENT_HEADERS: Mapping[str, str] = {
    "Access-Control-Allow-Origin": "*",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src *",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}


@dataclass(frozen=True, slots=True)
class Takes:
    """What one policy of uploads takes: the page chooses by a file's type, else its extension."""

    name: str
    types: tuple[str, ...]
    extensions: tuple[str, ...]
    most: int
    """Bytes of a file."""


@dataclass(frozen=True, slots=True)
class PageInfo:
    """What the page is told about the server and about what its reader may see."""

    demo: bool = False
    metrics: bool = False
    """Whether this reader may subscribe to `ops.metrics`."""
    uploads: tuple[Takes, ...] = ()
    """The last one is for whatever no other takes."""
    version: str = field(default=__version__)


Describe = Callable[[web.Request], Awaitable[PageInfo]]


@dataclass(frozen=True, slots=True)
class Asset:
    """One file in memory, with its compressed form when that is smaller."""

    body: bytes
    content_type: str
    etag: str
    gzipped: bytes | None

    @classmethod
    @functools.cache
    def of(cls, body: bytes, content_type: str) -> Asset:
        """These bytes, compressed once however often an application is built."""
        packed = gzip.compress(body, mtime=0)
        return cls(
            body=body,
            content_type=content_type,
            etag=hashlib.sha256(body).hexdigest()[:32],
            gzipped=packed if len(packed) < 0.9 * len(body) else None,
        )


@functools.cache
def read_assets(
    root: Path = STATIC, prepare: Callable[[Path, bytes], bytes] = lambda _, body: body
) -> Mapping[str, Asset]:
    """Every servable file below `root`, by its path relative to it (`vendor/uplot.js`); read once.

    `prepare` makes what is served of a file.
    """
    return {
        path.relative_to(root).as_posix(): Asset.of(
            prepare(path, path.read_bytes()), CONTENT_TYPES[path.suffix]
        )
        for path in sorted(root.rglob("*"))
        if path.suffix in CONTENT_TYPES and path.is_file()
    }


def lean(path: Path, body: bytes) -> bytes:
    """A script of ours without indentation and without lines that are only a comment.

    Every page that uses the client loads it. Strings that span lines would suffer: there are none.
    """
    if path.suffix != ".js":
        return body
    lines = (line.strip() for line in body.splitlines())
    return (
        b"\n".join(line for line in lines if line and not line.startswith((b"//", b"/**"))) + b"\n"
    )


ASSETS: web.AppKey[Mapping[str, Asset]] = web.AppKey("dashboard_assets")
CLIENT_ASSETS: web.AppKey[Mapping[str, Asset]] = web.AppKey("client_assets")
DESCRIBE: web.AppKey[Describe] = web.AppKey("dashboard_describe")

routes = web.RouteTableDef()


@routes.get("/")
async def index(request: web.Request) -> web.Response:
    return _answer(request, request.app[ASSETS][INDEX])


@routes.get("/static/{name:.+}")
async def static(request: web.Request) -> web.Response:
    name = request.match_info["name"]
    asset = request.app[ASSETS].get(name)
    if asset is None or name == INDEX:
        raise web.HTTPNotFound
    return _answer(request, asset)


@routes.get("/client.js")
@routes.get("/client.d.ts")
@routes.get("/client/{name:.+}")
async def client(request: web.Request) -> web.Response:
    asset = request.app[CLIENT_ASSETS].get(request.path.removeprefix("/"))
    if asset is None:
        raise web.HTTPNotFound
    return _answer(request, asset, CLIENT_HEADERS)


@routes.get("/api/page")
async def page_info(request: web.Request) -> web.Response:
    info = await request.app[DESCRIBE](request)
    return web.json_response(asdict(info), headers={"Cache-Control": "no-store"})


async def describe(request: web.Request) -> PageInfo:
    """What a stranger sees; the composition root passes one that knows sessions and `--demo`."""
    del request
    return PageInfo()


def add_routes(app: web.Application, describe: Describe = describe) -> None:
    """Serve the page, its assets, the browser client and `GET /api/page` from `app`."""
    app[ASSETS] = read_assets()
    app[CLIENT_ASSETS] = read_assets(CLIENT, lean)
    app[DESCRIBE] = describe
    app.add_routes(routes)


def _answer(
    request: web.Request, asset: Asset, headers: Mapping[str, str] = HEADERS
) -> web.Response:
    """200 with the body the reader can take, or 304. Each form has its own strong ETag."""
    body, etag, encoding = asset.body, asset.etag, None
    if asset.gzipped is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        body, etag, encoding = asset.gzipped, f"{asset.etag}-gzip", "gzip"
    known = request.if_none_match or ()
    if any(tag.value in {etag, "*"} for tag in known):
        response = web.Response(status=304, headers=headers)
    else:
        response = web.Response(body=body, headers=headers)
        response.headers["Content-Type"] = asset.content_type
        if encoding:
            response.headers["Content-Encoding"] = encoding
    response.etag = etag
    return response

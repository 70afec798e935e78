"""tus-js-client and Uppy: each is cut in the middle of a file, on a connection that stays open for
the server, and goes on where it was."""

from __future__ import annotations

import asyncio
import hashlib
import json
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Page, Response

from tests.clients.bundle import bundle
from tests.clients.conftest import Serve, page, serve
from tests.clients.program import Program
from tests.clients.proxy import Link, Proxy
from tests.clients.served import API_KEY
from tests.uploads.tus import BASE, Client
from tests.waiting import until

__all__ = ["page", "serve"]
pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="session")]

SCRIPT = str(Path(__file__).parents[1] / "node" / "tus.mjs")
SIZE = 6 * 1024 * 1024
DATA = b"0123456789abcde\n" * (SIZE // 16)
HALF = SIZE // 2


class Dam(Proxy):
    """Lets `left` bytes through to the server and holds up the rest; `None`: all."""

    def __init__(self, upstream: int) -> None:
        super().__init__(upstream)
        self.left: int | None = None

    def forsake(self) -> None:
        """End the connections of clients without a word to the server."""
        for link in list(self._links):
            link.end("rst")

    async def _up(self, link: Link, back: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await link.reader.read(65536):
                while self.left is not None and self.left <= 0:
                    await asyncio.Event().wait()
                if self.left is not None:
                    self.left -= len(chunk)
                back.write(chunk)
                await back.drain()


def written(place: Path) -> bool:
    """Whether some of the file is on the server's disk."""
    spool = place / "process0" / "data" / "spool"
    return any(len(path.name) == 32 and path.stat().st_size for path in spool.iterdir())


async def whole(url: str, path: str, bearer: str) -> None:
    """The upload must be there, and be the file."""
    client = Client(url, bearer)
    found = (await client.get(path)).body
    assert (found["state"], found["name"]) == ("ready", "numbers.txt")
    assert found["sha256"] == hashlib.sha256(DATA).hexdigest()


async def test_tus_js_client_goes_on_where_it_was_cut(serve: Serve, place: Path, node: str) -> None:
    served = await serve(TAILRACE_UPLOAD_STALL="120")
    async with Dam(served.port) as dam:
        dam.left = HALF
        endpoint = f"{dam.url}{BASE}"
        async with Program(node, SCRIPT, endpoint, API_KEY, str(SIZE)) as program:
            await until(lambda: written(place))
            dam.left = None
            dam.forsake()
            await program.wait(lambda lines: any('"success"' in line for line in lines))
        told = [json.loads(line) for line in program.lines]
        assert [line["event"] for line in told] == ["POST", "HEAD", "PATCH", "success"]
        assert [line["status"] for line in told[:-1]] == [201, 200, 204]
        assert 0 < told[1]["offset"] < HALF + 65536
        assert told[2]["offset"] == SIZE
        await whole(served.url, urlsplit(told[-1]["url"]).path, API_KEY)


@pytest.mark.browser
@pytest.mark.usefixtures("node")
async def test_uppy_goes_on_where_it_was_cut(serve: Serve, place: Path, page: Page) -> None:
    served = await serve(TAILRACE_UPLOAD_STALL="120")
    async with Dam(served.port) as dam:
        await page.goto(f"{dam.url}/healthz")
        await page.evaluate(
            """() => fetch("/api/auth/sign-up/email", {method: "POST",
              headers: {"Content-Type": "application/json"},
              body: JSON.stringify({name: "A", email: "a@example.com", password: "long enough"})})
            """
        )
        await page.evaluate(await bundle("uppy-page.ts"))
        answers: list[Response] = []

        def note(answer: Response) -> None:
            answers.append(answer)

        page.on("response", note)
        dam.left = HALF
        sending = asyncio.create_task(page.evaluate("(size) => send(size)", SIZE))
        await until(lambda: written(place))
        dam.left = None
        dam.forsake()
        result = await sending
        assert result["failed"] == 0, result
        # Chromium itself repeats the PATCH that was cut, and is told 409.
        told = [(it.request.method, it.status) for it in answers if it.status != 409]
        assert told == [("POST", 201), ("HEAD", 200), ("PATCH", 204)]
        offset = next(it.headers["upload-offset"] for it in answers if it.request.method == "HEAD")
        assert 0 < int(offset) < HALF + 65536
        (cookie,) = await page.context.cookies()
        await whole(served.url, urlsplit(result["url"]).path, str(cookie["value"]))
        await page.goto("about:blank")

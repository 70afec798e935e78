"""The dashboard in a browser: frames a second and memory while events rush in."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import aiohttp
import asyncpg
from playwright.async_api import Page, async_playwright

from scripts.benchmark.loadgen import MeasureError
from scripts.benchmark.log import PUBLISH, Log
from scripts.benchmark.meter import Meter
from scripts.benchmark.peers import NotInstalledError
from scripts.benchmark.process import ALL_CORES, free_port, pss_kb
from scripts.benchmark.result import Goal, Line, Result
from scripts.benchmark.rounds import Measured, collect
from scripts.benchmark.world import CHANNEL, Target, World
from server.auth import sessions

RATE = 5_000
"""Events a second."""
SECONDS = 20.0
WARM = 3.0
"""Seconds of the same rate before anything is measured."""
STEP = 0.02
"""Seconds between two transactions."""
LOOK = 0.25
"""Seconds between two looks at the heaps."""
PAGES = {"events": "/events", "overview": "/"}
FRAMES, SLOWEST, HEAP, MEMORY, COMMITTED = (
    "frames a second",
    "longest time without a frame",
    "JavaScript heap of the page",
    "growth of its processes",
    "events/s",
)
GOALS = {FRAMES: Goal("at least", 30), HEAP: Goal("at most", 150)}
UNITS = {FRAMES: "1/s", SLOWEST: "ms", HEAP: "MB", MEMORY: "MB", COMMITTED: "1/s"}
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-extensions")
_COUNT = """() => { const seen = []; window.frames_ = seen;
  const frame = (now) => { seen.push(now); requestAnimationFrame(frame); };
  requestAnimationFrame(frame); }"""
_ADMIN = (
    "INSERT INTO public.users (name, email, role)"
    " VALUES ('Bench', gen_random_uuid() || '@bench', 'admin') RETURNING id"
)


def run(world: World, result: Result) -> None:
    """Each page in turn, signed in as an admin."""
    options = world.options
    seconds = 2.0 if options.quick else SECONDS
    result.method = (
        f"{RATE:,} events/s of 200 bytes are committed on a channel that the page listens to, for"
        f" {seconds:g} s, in a transaction every {STEP * 1000:g} ms; Chromium without a screen and"
        " without a GPU (software draws), 1,280 × 800, signed in as an admin; browser, server and"
        " Postgres share all cores. Frames are counted by requestAnimationFrame; the heap is looked"
        f" at every {LOOK * 1000:g} ms through the DevTools protocol, garbage included, and the"
        " highest counts. The shared worker, which has the connection, does not tell its heap: so"
        " beside it stands by how much the PSS of all the browser's renderer processes together is"
        " higher at most than it was at the begin. Afterwards the page must have counted every"
        " single event."
    )

    def measure(name: str) -> Measured:
        return asyncio.run(_measure(world, PAGES[name], seconds))

    collected = collect(
        list(PAGES),
        list(PAGES),
        measure,
        pairs=options.times(3),
        repeats=options.repeats,
        other_pct=options.other_pct,
    )
    for name in PAGES:
        result.lines += [
            Line(name, what, unit, collected.value(name, what), goal=GOALS.get(what))
            for what, unit in UNITS.items()
        ]
    result.notes += collected.notes()


async def _measure(world: World, path: str, seconds: float) -> Measured:
    with world.serve("tailrace") as target:
        _unpin(target)
        base = f"http://127.0.0.1:{target.process.port}"
        async with Log(world) as log, _chromium(base, log.connection) as (page, port):
            await page.goto(f"{base}/#{path}")
            await page.locator(".pill.live").wait_for()
            sent = await _rush(log, WARM)
            meter = Meter(target.process.pid, *target.others)
            await page.evaluate(_COUNT)
            async with Heaps(port) as heaps:
                begun = time.monotonic()
                during = await _rush(log, seconds)
                took = time.monotonic() - begun
            frames: list[float] = await page.evaluate("window.frames_")
            other = meter.other_pct()
            await _all_there(page, sent + during)
    gaps = [after - before for before, after in pairwise(frames)]
    if not gaps:
        raise MeasureError("the page has drawn no frame")
    figures = {
        FRAMES: len(gaps) / took,
        SLOWEST: max(gaps),
        HEAP: heaps.highest,
        MEMORY: heaps.growth,
        COMMITTED: during / took,
    }
    return Measured(figures, other)


def _unpin(target: Target) -> None:
    """The browser has many processes: nobody gets a core of its own."""
    os.sched_setaffinity(0, ALL_CORES)
    for thread in Path(f"/proc/{target.process.pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), ALL_CORES)


async def _rush(log: Log, seconds: float) -> int:
    """Commit events at the rate; how many."""
    loop = asyncio.get_running_loop()
    each, sent = int(RATE * STEP), 0
    begun = loop.time()
    while (passed := loop.time() - begun) < seconds:
        due = int(passed / STEP) * each + each
        if sent < due:
            await log.connection.execute(PUBLISH, CHANNEL, due - sent)
            sent = due
        await asyncio.sleep(max(0.0, begun + sent / RATE - loop.time()))
    return sent


async def _all_there(page: Page, events: int) -> None:
    """Wait until the page has counted all of them, whichever page of the dashboard it shows.

    Raises:
        MeasureError: it does not within a minute.
    """
    await page.evaluate("location.hash = '/events'")
    foot = page.locator(".foot")
    deadline, text = time.monotonic() + 60, ""
    while time.monotonic() < deadline:
        text = await foot.inner_text()
        found = re.match(r"([\d,]+) events?\b", text)
        if found and int(found[1].replace(",", "")) == events:
            return
        await asyncio.sleep(0.2)
    raise MeasureError(f"of {events:,} events the page tells: {text}")


@asynccontextmanager
async def _chromium(
    base: str, connection: asyncpg.Connection[Any]
) -> AsyncIterator[tuple[Page, int]]:
    """A tab whose user is an admin, and the port of the browser's DevTools.

    Raises:
        NotInstalledError: there is no Chromium.
    """
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        raise NotInstalledError("Chromium (apt-get install chromium)")
    port = free_port()
    user = await connection.fetchval(_ADMIN)
    token = await sessions.create(connection, user)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=program, args=[*_FLAGS, f"--remote-debugging-port={port}"]
        )
        try:
            context = await browser.new_context(viewport={"width": 1280, "height": 800})
            await context.add_cookies([{"name": sessions.COOKIE, "value": token, "url": base}])
            yield await context.new_page(), port
        finally:
            await browser.close()


class Heaps:
    """A context: the highest JavaScript heap of a page in the browser, and the growth of
    the processes that run pages and workers (PSS, together, at most); both in MB."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.highest = self.growth = 0.0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        address = f"http://127.0.0.1:{self._port}/json/list"
        async with self._session.get(address) as answer:
            targets = await answer.json(content_type=None)
        self._looks = [
            asyncio.create_task(self._look(target["webSocketDebuggerUrl"]))
            for target in targets
            # A shared worker does not tell its heap.
            if target["type"] == "page" and "webSocketDebuggerUrl" in target
        ]
        self._looks.append(asyncio.create_task(self._weigh()))
        return self

    async def __aexit__(self, *_: object) -> None:
        for look in self._looks:
            look.cancel()
        ended = await asyncio.gather(*self._looks, return_exceptions=True)
        await self._session.close()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    async def _look(self, address: str) -> None:
        async with self._session.ws_connect(address) as socket:
            while True:
                await socket.send_json({"id": 1, "method": "Runtime.getHeapUsage"})
                told = await socket.receive_json()
                used = told["result"]["usedSize"] / 1e6
                self.highest = max(self.highest, used)
                await asyncio.sleep(LOOK)

    async def _weigh(self) -> None:
        renderers = _renderers()
        before = sum(map(pss_kb, renderers))
        while True:
            await asyncio.sleep(LOOK)
            self.growth = max(self.growth, (sum(map(pss_kb, renderers)) - before) / 1000)


def _renderers() -> list[int]:
    """The processes of the browsers that this one has started, in which pages and workers run."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(FileNotFoundError, ProcessLookupError):
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return [pid for pid in ours if b"--type=renderer" in Path(f"/proc/{pid}/cmdline").read_bytes()]

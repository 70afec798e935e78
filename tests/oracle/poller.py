"""A logical subscriber by long poll: `GET /api/events?wait=…`, page after page.

Its history is put into the form of a stream's, so that the same law judges it: a page is a
session that begins at `after`, and its `next` is an id-only block.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any

import aiohttp

from tests.oracle.model import Ask, Block, History, Session
from tests.oracle.servers import Server
from tests.oracle.witness import Witness

PATIENCE = 2.0
WAIT = "0.5"


class Poller:
    """Reads from where its last page ended, from whichever server answers."""

    def __init__(
        self, name: str, channels: Sequence[str], witness: Witness, rng: random.Random
    ) -> None:
        self.history = History(name, tuple(channels))
        self.position = 0
        self.over = False
        self._witness = witness
        self._rng = rng
        self._last = f"{witness.epoch}.{witness.head}"

    async def run(self, servers: Sequence[Server]) -> None:
        """Poll until `over`."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(timeout=timeout) as http:
            while not self.over:
                try:
                    await self._poll(http, self._rng.choice(servers))
                except (aiohttp.ClientError, TimeoutError, ConnectionError):
                    await asyncio.sleep(self._rng.uniform(0.01, 0.05))

    def finish(self) -> None:
        """Let `run` return."""
        self.over = True

    async def _poll(self, http: aiohttp.ClientSession, server: Server) -> None:
        query = [("channel", name) for name in self.history.channels]
        query += [("after", self._last), ("limit", str(self._rng.choice((1, 40, 1000))))]
        query += [("wait", WAIT)]
        ask = Ask(self._last, head=self._witness.seen, floor=self._witness.floor)
        url = f"http://127.0.0.1:{server.port}/api/events"
        async with http.get(url, params=query) as answer:
            if answer.status == 503:
                await asyncio.sleep(0.05)
                return
            page = await answer.json()
            if answer.status != 200:
                self.history.malformed.append(f"{answer.status}: {page}")
                return
        continues = bool(self.history.sessions)
        self.history.sessions.append(Session(ask, continues, blocks(ask, page), "ended"))
        self._last = page["next"]
        self.position = int(self._last[9:])


def blocks(ask: Ask, page: Any) -> list[Block]:
    """A page as the blocks of a stream. It may have waited before it came upon a gap."""
    gap = page["gap"]
    at_once = gap is not None and gap["after"] == ask.last
    found = [Block(None if at_once else ask.last, "ready", "{}")]
    if gap is not None:
        found.append(Block(gap["resumed"], "gap", json.dumps(gap)))
    for event in page["events"]:
        at = event.pop("id")
        found.append(Block(at, "", json.dumps(event)))
    return [*found, Block(page["next"])]

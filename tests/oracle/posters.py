"""Writers over HTTP: a publish is repeated with the same message ids until somebody answers."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from collections import Counter
from typing import Any

import aiohttp

from tests.oracle.ledger import Item, Ledger, Transaction
from tests.oracle.servers import API_KEY
from tests.oracle.world import World
from tests.oracle.writers import CHANNELS, TEXTS

PATIENCE = 1.0
ATTEMPTS = 60


class Poster:
    """Publishes to whichever server answers."""

    def __init__(
        self, name: str, world: World, ledger: Ledger, rng: random.Random, pace: float
    ) -> None:
        self.name = name
        self.over = False
        self.did: Counter[str] = Counter()
        self._world = world
        self._ledger = ledger
        self._rng = rng
        self._pace = pace
        self._count = 0
        self._given: list[str] = []

    async def run(self) -> None:
        """Publish until `over`."""
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        headers = {"Authorization": f"Bearer {API_KEY}"}
        async with aiohttp.ClientSession(timeout=timeout, headers=headers) as session:
            while not self.over:
                await self._publish(session)
                await asyncio.sleep(self._rng.uniform(0, self._pace))

    async def _publish(self, session: aiohttp.ClientSession) -> None:
        transaction = self._ledger.begin(self.name, time.monotonic())
        events = [self._event(transaction) for _ in range(self._rng.choice((1, 1, 1, 2, 5, 20)))]
        body = events[0] if len(events) == 1 else {"events": events}
        transaction.outcome = "maybe"
        # Without ids of its own a repeat would be a second event.
        attempts = ATTEMPTS if all("message_id" in event for event in events) else 1
        for _ in range(attempts):
            if await self._post(session, body, transaction):
                break
            await asyncio.sleep(0.05)
        self.did[f"post {transaction.outcome}"] += 1

    async def _post(
        self, session: aiohttp.ClientSession, body: Any, transaction: Transaction
    ) -> bool:
        port = self._rng.choice(self._world.servers).port
        try:
            async with session.post(f"http://127.0.0.1:{port}/api/events", json=body) as answer:
                if answer.status == 503:
                    self.did["post refused"] += 1
                    return False
                assert answer.status == 200, await answer.text()
                ids = (await answer.json())["ids"]
        except (aiohttp.ClientError, TimeoutError, ConnectionError):
            self.did["post unanswered"] += 1
            return False
        names = [item.name for item in transaction.items]
        transaction.ids = dict(zip(names, ids, strict=True))
        transaction.outcome, transaction.acked = "committed", time.monotonic()
        return True

    def _event(self, transaction: Transaction) -> dict[str, Any]:
        self._count += 1
        key = f"{self.name}-{self._count}"
        event: dict[str, Any] = {
            "channel": self._rng.choice(CHANNELS),
            "type": "post",
            "key": key,
            "data": {"text": self._rng.choice(TEXTS), "n": self._count},
        }
        given = None
        if self._rng.random() < 0.8:
            again = self._given and self._rng.random() < 0.15
            given = self._rng.choice(self._given) if again else str(self._uuid())
            self._given = [*self._given[-4:], given]
            event["message_id"] = given
        transaction.items.append(Item(f"post:{key}", time.monotonic(), given))
        return event

    def _uuid(self) -> uuid.UUID:
        return uuid.UUID(int=self._rng.getrandbits(128), version=4)

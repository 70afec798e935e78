"""Senders as real ones are: the same id up to five times, on time-outs and 5xx, now and then again
after a 2xx, and sometimes at two servers in the same moment. Each attempt is signed anew.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import aiohttp
from standardwebhooks import Webhook

from server.webhooks.providers.dodo import DODO, TEXT_FORM
from server.webhooks.providers.github import GITHUB
from server.webhooks.providers.stripe import STRIPE
from tests.oracle.servers import Server
from tests.webhooks.oracle.law import LATER
from tests.webhooks.oracle.model import Form, Ledger, Message

DODO_KEY = "whsec_" + "b3JhY2xlLW9yYWNsZS1vcmFjbGUtb3JhY2xl"
STRIPE_KEY = "whsec_oracle_0123456789"
GITHUB_KEY = "It's a secret to the oracle"
SECRETS = {
    "DODO_PAYMENTS_WEBHOOK_KEY": DODO_KEY,
    "STRIPE_WEBHOOK_SECRET": STRIPE_KEY,
    "GITHUB_WEBHOOK_SECRET": GITHUB_KEY,
}
PATHS: dict[Form, str] = {
    "dodo": DODO.path,
    "dodo text": DODO.path,
    "stripe": STRIPE.path,
    "github": GITHUB.path,
}
ATTEMPTS = 5
TIMEOUT = 3.0
AT_ONCE, AGAIN, HASTY = 0.15, 0.1, 0.1
"""How often a message goes to two servers at once, comes again after its 2xx, and how often a
sender gives up after milliseconds, which is while its delivery is being stored."""


def signed(message: Message, now: float) -> dict[str, str]:
    """The headers of an attempt. Dodo's are signed by the standard's own library."""
    body = message.body
    if message.form == "dodo":
        moment = datetime.fromtimestamp(int(now), UTC)
        return {
            "webhook-id": message.id,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": Webhook(DODO_KEY).sign(message.id, moment, body.decode()),
        }
    if message.form == "dodo text":
        return TEXT_FORM.sign(body, DODO_KEY, message_id="", at=now)
    if message.form == "stripe":
        return STRIPE.scheme.sign(body, STRIPE_KEY, message_id="", at=now)
    headers = GITHUB.scheme.sign(body, GITHUB_KEY, message_id=message.id, at=now)
    return headers | GITHUB.headers(message.type)


class Sender:
    """One of many; `pace` is the longest pause between two of its messages, in seconds."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        servers: Sequence[Server],
        ledger: Ledger,
        rng: random.Random,
        pace: float,
    ) -> None:
        self.over = False
        self.left: list[Message] = []
        """What was not acknowledged in five attempts."""
        self._session = session
        self._servers = servers
        self._ledger = ledger
        self._rng = rng
        self._pace = pace

    async def run(self, messages: Iterator[Message]) -> None:
        """Take one message after another until `over`."""
        while not self.over:
            await self._deliver(next(messages))
            await asyncio.sleep(self._rng.uniform(0, self._pace))

    async def _deliver(self, message: Message) -> None:
        for number in range(ATTEMPTS):
            if await self._once(message):
                if self._rng.random() < AGAIN:
                    await self._once(message)
                return
            await asyncio.sleep(self._rng.uniform(0, 0.05 * 2**number))
        self.left.append(message)

    async def _once(self, message: Message) -> bool:
        """One attempt, or two at the same moment; whether one was acknowledged."""
        count = 2 if self._rng.random() < AT_ONCE else 1
        servers = self._rng.sample(self._servers, min(count, len(self._servers)))
        timeout = self._rng.uniform(0.001, 0.02) if self._rng.random() < HASTY else TIMEOUT
        answers = await asyncio.gather(*(self._ask(message, one, timeout) for one in servers))
        # One that is told to be wrong would be wrong the next time: the law looks at the answers.
        return any(answer is not None and answer not in LATER for answer in answers)

    async def finish(self, message: Message) -> bool:
        """One more attempt, hours later as it were; whether it was answered for good."""
        answer = await self._ask(message, self._rng.choice(self._servers), TIMEOUT)
        return answer is not None and answer not in LATER

    async def _ask(self, message: Message, server: Server, timeout: float) -> int | None:
        now = time.time()
        attempt = self._ledger.begin(message, server.name, now)
        status, id_ = None, None
        try:
            async with self._session.post(
                f"http://127.0.0.1:{server.port}{PATHS[message.form]}",
                data=message.body,
                headers=signed(message, now),
                timeout=aiohttp.ClientTimeout(total=timeout),
            ) as answer:
                if answer.status == 200:
                    id_ = (await answer.json())["id"]
                status = answer.status
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass
        finally:
            self._ledger.end(attempt, time.time(), status, id_)
        return status

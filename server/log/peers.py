"""The other processes of this database, and what they answer when asked.

A question is a control message (server/log/control.py). An answer is a row in an unlogged table,
as it may be too large for a notification; whoever has asked takes the rows away.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from server.db.faults import LOST
from server.log.control import sign
from server.log.ephemeral import SEND, dumps
from server.log.hearing import Hearing

if TYPE_CHECKING:
    from server.db.pool import Pool
    from server.log.ephemeral import Ephemeral
    from server.log.living import Living

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds that the others have for an answer."""
TAKING = 1.0
"""Seconds that the database has after that to give us the answers."""
FAREWELL = 0.5
"""Seconds that the others may be told that we leave."""
POLL = 0.1
"""Seconds between two looks for answers where notifications do not arrive."""
WAITING = 64
"""Questions that may wait for our answer; beyond it one is left unanswered and counted."""
ANSWERING = 4
"""Questions answered at a time."""

# What is said and noted here is worth nothing after a crash: nobody waits for a flush.
_ANSWER = """
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), told AS (
      INSERT INTO tailrace.report (request, process, body)
      SELECT $1, $2, $3::text::json FROM quick ON CONFLICT DO NOTHING RETURNING request)
    SELECT pg_notify('tailrace', $4) FROM told"""
_WHO = "SELECT process FROM tailrace.report WHERE request = $1"
_TAKE = """
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    DELETE FROM tailrace.report r USING quick WHERE r.request = $1 RETURNING r.process, r.body"""

Answerer = Callable[[Mapping[str, Any]], Awaitable[Any]]


@dataclass(slots=True)
class Answers:
    """What the others said. `missing`: who lives and said nothing in time. `known`: whether it
    could be found out who lives."""

    found: dict[str, Any] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    known: bool = True


@dataclass(slots=True)
class _Asked:
    """A question of ours that waits."""

    left: set[str]
    done: asyncio.Event = field(default_factory=asyncio.Event)

    def answered(self, process: str) -> None:
        self.left.discard(process)
        if not self.left:
            self.done.set()


class Peers:
    """Asks the other processes, and answers them.

    `polling()`: whether notifications do not arrive here. `dropped`: questions that nobody here
    had time for.
    """

    def __init__(
        self,
        living: Living,
        pool: Pool,
        ephemeral: Ephemeral,
        key: bytes,
        polling: Callable[[], bool],
    ) -> None:
        self.process = living.process
        self._living = living
        self._pool = pool
        self._ephemeral = ephemeral
        self._key = key
        self._polling = polling
        self._answerers: dict[str, Answerer] = {}
        self._questions: asyncio.Queue[tuple[uuid.UUID, str, Mapping[str, Any]]] = asyncio.Queue(
            WAITING
        )
        self._asked: dict[uuid.UUID, _Asked] = {}
        self._hearing = Hearing(key, self._obey)
        self.dropped = 0

    def answer(self, what: str, answerer: Answerer) -> None:
        """Answer questions about `what` with the JSON that `answerer(args)` gives."""
        self._answerers[what] = answerer

    async def ask(self, what: str, args: Mapping[str, Any], process: str | None = None) -> Answers:
        """Ask all others, or one of them, for `PATIENCE`; takes at most `TAKING` longer.

        Alone in the database, nothing is sent and no answer looked for.
        """
        until = asyncio.get_running_loop().time() + PATIENCE
        try:
            async with asyncio.timeout_at(until + TAKING):
                others = await self._living.others()
                if process is not None and (process in others or not self._living.known):
                    others = {process}
                elif process is not None:
                    others = set()
                if not others:
                    return Answers(known=self._living.known)
                to = None if process is None else [process]
                found = await self._ask({"what": what, "args": args, "to": to}, others, until)
                missing = others - set(found)
                if missing:
                    missing &= await self._living.others()  # who has left has nothing to say
        except LOST as error:
            log.info("the other processes can't be asked: %r", error)
            return Answers(known=False)
        return Answers(found, frozenset(missing), self._living.known)

    async def _ask(
        self, question: Mapping[str, Any], others: set[str], until: float
    ) -> dict[str, Any]:
        """Whatever has answered, be it among `others` or not: no stranger writes into the table."""
        request = uuid.uuid4()
        asked = self._asked[request] = _Asked(set(others))
        try:
            self._ephemeral.control(self._signed({"ask": str(request), **question}))
            with suppress(TimeoutError):
                async with asyncio.timeout_at(until):
                    await self._told(request, asked)
        finally:
            del self._asked[request]
        found = {}
        for row in await self._pool.fetch(_TAKE, request):
            found[row["process"]] = json.loads(row["body"])
            await asyncio.sleep(0)  # it may be megabytes
        return found

    async def _told(self, request: uuid.UUID, asked: _Asked) -> None:
        """Until all have answered; where notifications do not arrive, by looking."""
        while not asked.done.is_set():
            polling = self._polling()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await asked.done.wait()
            if polling:
                for row in await self._pool.fetch(_WHO, request):
                    asked.answered(row["process"])

    def _signed(self, body: Mapping[str, Any]) -> dict[str, str]:
        told = {"from": self.process, **body}
        return sign(told, self._key, at=time.time(), mark=secrets.token_hex(8))

    def hear(self, payload: str) -> None:
        """Take a notification's control messages; what is not of us is counted and seldom told."""
        self._hearing.hear(payload)

    @property
    def refused(self) -> int:
        """Messages that were not listened to."""
        return self._hearing.refused

    def _obey(self, body: Mapping[str, Any]) -> None:
        if body.get("from") == self.process:
            return
        match body:
            case {"answered": str(request), "from": str(sender)}:
                asked = self._asked.get(uuid.UUID(request))
                if asked is not None:
                    asked.answered(sender)
            case {"leaving": True, "from": str(sender)}:
                self._living.leave(sender)
                for asked in self._asked.values():
                    asked.answered(sender)
            case {"ask": str(request), "what": str(what), "args": dict(args), "to": to}:
                if to is not None and self.process not in to:
                    return
                try:
                    self._questions.put_nowait((uuid.UUID(request), what, args))
                except asyncio.QueueFull:
                    self.dropped += 1
            case _:
                log.info("a control message of another version: %s", sorted(body))

    async def run(self) -> None:
        """Answer until cancelled; several questions at a time, as some take a while. At the end
        the others are told, who would miss us otherwise."""
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(ANSWERING):
                    group.create_task(self._answer_all())
        except asyncio.CancelledError:
            with suppress(*LOST):
                async with asyncio.timeout(FAREWELL):
                    told = dumps(self._signed({"leaving": True}))
                    await self._pool.execute(SEND, f"c[{told}]")
            raise

    async def _answer_all(self) -> None:
        while True:
            request, what, args = await self._questions.get()
            try:
                await self._answer(request, what, args)
            except LOST as error:
                log.info("an answer to another process was lost: %r", error)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                # Not us: something that it awaited was cancelled.
                log.exception("a question about %.50s could not be answered", what)
            except Exception:
                # Of another version, perhaps: it goes without our answer.
                log.exception("a question about %.50s could not be answered", what)

    async def _answer(self, request: uuid.UUID, what: str, args: Mapping[str, Any]) -> None:
        answerer = self._answerers.get(what)
        if answerer is None:
            return
        body = dumps(await answerer(args))
        told = dumps(self._signed({"answered": str(request)}))
        await self._pool.execute(_ANSWER, request, self.process, body, f"c[{told}]")

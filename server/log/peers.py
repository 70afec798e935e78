"""The other processes of this database, and what they answer when asked.

A question is a control message (server/log/control.py). An answer is a row in an unlogged table,
as it may be too large for a notification; whoever has asked takes the rows away.
"""

from __future__ import annotations

import asyncio
import itertools
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
from server.log.control import MAX_AGE, Control, RefusedError, sign, verify
from server.log.ephemeral import dumps

if TYPE_CHECKING:
    from server.db.pool import Pool
    from server.log.ephemeral import Ephemeral
    from server.log.living import Living

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds that the others have for an answer."""
POLL = 0.1
"""Seconds between two looks for answers where notifications do not arrive."""
WAITING = 64
"""Questions that may wait for our answer; beyond it one is left unanswered and counted."""
ANSWERING = 4
"""Questions answered at a time."""
REMEMBERED = 10_000
"""Messages of the last minute of which a repeat is known."""

# What is said and noted here is worth nothing after a crash: nobody waits for a flush.
_ANSWER = """
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), told AS (
      INSERT INTO tailrace.report (request, process, body)
      SELECT $1, $2, $3::text::json FROM quick ON CONFLICT DO NOTHING RETURNING request)
    SELECT pg_notify('tailrace', $4) FROM told"""
_WHO = "SELECT process FROM tailrace.report WHERE request = $1"
# Those of others are what came too late for who had asked.
_TAKE = """
    WITH quick AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true)), old AS (
      DELETE FROM tailrace.report
      WHERE at < clock_timestamp() - interval '1 minute' AND request <> $1)
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

    `polling()`: whether notifications do not arrive here. `refused`: messages that were not
    listened to. `dropped`: questions that nobody here had time for.
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
        self._heard: dict[str, float] = {}
        self.refused = 0
        self.dropped = 0

    def answer(self, what: str, answerer: Answerer) -> None:
        """Answer questions about `what` with the JSON that `answerer(args)` gives."""
        self._answerers[what] = answerer

    async def ask(self, what: str, args: Mapping[str, Any], process: str | None = None) -> Answers:
        """Ask all others, or one of them, and wait for at most some `PATIENCE`.

        Alone in the database, nothing is sent and no answer looked for.
        """
        try:
            others = await self._living.others()
            if process is not None:
                others &= {process}
            if not others:
                return Answers()
            to = None if process is None else [process]
            found = await self._ask({"what": what, "args": args, "to": to}, others)
            missing = others - set(found)
            if missing:
                missing &= await self._living.others()  # who has ended has nothing to say
        except LOST as error:
            log.info("the other processes can't be asked: %r", error)
            return Answers(known=False)
        return Answers(found, frozenset(missing))

    async def _ask(self, question: Mapping[str, Any], others: set[str]) -> dict[str, Any]:
        request = uuid.uuid4()
        asked = self._asked[request] = _Asked(set(others))
        try:
            self._ephemeral.control(self._signed({"ask": str(request), **question}))
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    await self._told(request, asked)
        finally:
            del self._asked[request]
        async with asyncio.timeout(PATIENCE):
            rows = await self._pool.fetch(_TAKE, request)
        return {row["process"]: json.loads(row["body"]) for row in rows if row["process"] in others}

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
        """Take a notification's control messages; what is not of us is counted and said once."""
        try:
            messages = json.loads(payload)
            if not isinstance(messages, list):
                msg = "not a list"
                raise RefusedError(msg)
        except (ValueError, RecursionError, RefusedError) as error:
            self._refuse(error)
            return
        for message in messages:
            try:
                control = verify(message, self._key, time.time())
                self._once(control)
                self._obey(control.body)
            except (ValueError, RecursionError, RefusedError) as error:
                self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self.refused += 1
        if self.refused == 1:
            log.warning(
                "a control message was refused: %s (further ones are counted, not told; do all"
                " processes have the same TAILRACE_SECRET?)",
                error,
            )

    def _once(self, control: Control) -> None:
        """Refuse what was heard before."""
        heard, now = self._heard, time.time()
        if control.mark in heard:
            msg = "a repeat"
            raise RefusedError(msg)
        # In the order of arrival, which is nearly that of their times.
        for mark in list(itertools.takewhile(lambda mark: heard[mark] < now - MAX_AGE, heard)):
            del heard[mark]
        if len(heard) >= REMEMBERED:
            del heard[next(iter(heard))]
        heard[control.mark] = control.at

    def _obey(self, body: Mapping[str, Any]) -> None:
        if body.get("from") == self.process:
            return
        match body:
            case {"answered": str(request), "from": str(sender)}:
                asked = self._asked.get(uuid.UUID(request))
                if asked is not None:
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
        """Answer until cancelled; several questions at a time, as some take a while."""
        async with asyncio.TaskGroup() as group:
            for _ in range(ANSWERING):
                group.create_task(self._answer_all())

    async def _answer_all(self) -> None:
        while True:
            request, what, args = await self._questions.get()
            try:
                await self._answer(request, what, args)
            except LOST as error:
                log.info("an answer to another process was lost: %r", error)
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

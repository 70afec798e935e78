"""The open streams of all processes: described, counted and ended.

Each process describes its own; the others are asked for theirs (server/log/peers.py). Whatever
goes through all streams gives the loop a turn every few thousand names.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

from aiohttp import web

from server.log.peers import Peers
from server.stream.limits import payer
from server.stream.names import covers
from server.stream.streams import Stream, Streams

log = logging.getLogger(__name__)

SLICE = 2_000
"""Channel names looked at before the loop has a turn: about a millisecond."""
SHOWN = 20
"""Channels that are told of a stream; it may have 128."""
MOST_NAMES = 5_000
"""Channels that are told to another process, those with the most subscribers."""

Ending = Literal["ended", "absent", "silent"]


@dataclass(frozen=True, slots=True)
class Reports:
    """What the processes told. `missing`: who lives and did not answer. `known`: whether it could
    be found out who lives."""

    found: Mapping[str, Any]
    missing: frozenset[str]
    known: bool

    @property
    def complete(self) -> bool:
        """Whether nobody is missing, as far as can be known."""
        return self.known and not self.missing


class Directory:
    """Knows the streams of this process and asks for those of the others."""

    def __init__(self, streams: Streams, peers: Peers) -> None:
        self._streams = streams
        self._peers = peers
        self._turn = asyncio.Lock()
        peers.answer("streams", self.describe)
        peers.answer("channels", self._most)
        peers.answer("end", self._end)

    @property
    def process(self) -> str:
        """This process."""
        return self._streams.process

    async def streams(self, args: Mapping[str, Any], process: str | None) -> Reports:
        """What every process, or one, says to `describe(args)`."""
        return await self._gather("streams", args, process)

    async def channels(self, args: Mapping[str, Any]) -> Reports:
        """What every process counts (`count(args)`); the others tell only their `MOST_NAMES`."""
        return await self._gather("channels", args, None)

    async def end(self, stream_id: str) -> Ending:
        """End a stream wherever it lives. `silent`: its process lives and did not answer."""
        process = stream_id.partition("-")[0]
        args = {"stream": stream_id}
        if process == self.process:
            return "ended" if (await self._end(args))["ended"] else "absent"
        answers = await self._peers.ask("end", args, process)
        if process in answers.found:
            return "ended" if answers.found[process].get("ended") is True else "absent"
        return "silent" if answers.missing or not answers.known else "absent"

    async def _gather(self, what: str, args: Mapping[str, Any], process: str | None) -> Reports:
        """Own ones need no detour through the database, and are told when it is away."""
        found: dict[str, Any] = {}
        own = {"streams": self.describe, "channels": self.count}[what]
        if process == self.process:
            return Reports({process: await own(args)}, frozenset(), known=True)
        asking = asyncio.create_task(self._peers.ask(what, args, process), name=f"ask {what}")
        try:
            if process is None:
                found[self.process] = await own(args)
            answers = await asking
        finally:
            asking.cancel()
        return Reports(found | answers.found, answers.missing, answers.known)

    async def describe(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """The oldest `limit` streams that match `channel` and `user`, how many match, and how many
        are open at all."""
        limit, total = int(args["limit"]), 0
        chosen: list[Stream] = []
        async with self._turn:
            async for stream in self._matching(args.get("channel"), args.get("user")):
                total += 1
                if len(chosen) < limit:  # they stand in the order in which they were opened
                    chosen.append(stream)
            told = []
            for stream in chosen:
                told.append(self._told(stream))
                if len(told) % 100 == 0:
                    await asyncio.sleep(0)
        return {"open": len(self._streams), "total": total, "streams": told}

    async def _matching(self, channel: str | None, user: str | None) -> AsyncIterator[Stream]:
        work = 0
        verdicts: dict[str, bool] = {}  # most patterns are those of many streams
        for stream in self._streams:
            channels = stream.subscriber.channels
            work += 1 + len(channels.patterns)
            if work > SLICE:
                work = 0
                await asyncio.sleep(0)
            if stream.connection.closed or (user is not None and payer(stream.principal) != user):
                continue
            if channel is None or channel in channels.exact:
                yield stream
                continue
            for pattern in channels.patterns:
                if pattern not in verdicts:
                    verdicts[pattern] = covers(pattern, channel)
                if verdicts[pattern]:
                    yield stream
                    break

    def _told(self, stream: Stream) -> dict[str, Any]:
        """One stream in words of JSON: nothing of it opens anything."""
        subscriber, connection, who = stream.subscriber, stream.connection, stream.principal
        pubsub = self._streams.pubsub
        # A live one has been handed everything up to here that it wants.
        position = pubsub.id if subscriber.live else subscriber.position
        lag = max(0, pubsub.position - position.pos) if position.epoch == pubsub.epoch else None
        names = list(subscriber.channels)
        by_key = who.kind == "token" and (who.name or "").startswith("key:")
        return {
            "id": stream.id,
            "process": self.process,
            "channels": names[:SHOWN],
            "channel_count": len(names),
            "mode": "latest" if subscriber.latest else "all",
            "kind": who.kind,
            "user": payer(who),
            "key": (who.name or "")[4:] if by_key else who.key_id,
            "address": stream.address,
            "opened_at": time.time() - (time.monotonic() - stream.opened),
            "position": str(position),
            "lag": lag,
            "bytes": connection.written,
            "waiting": subscriber.pending_bytes
            + (0 if connection.closed else connection.waiting()),
            "state": "ending" if subscriber.ended else "live" if subscriber.live else "lagging",
        }

    async def count(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """How many streams have each channel or pattern; with `match`, of those that it covers."""
        match: str | None = args.get("match")
        counts: dict[str, int] = {}
        wanted: dict[str, bool] = {}
        work = 0
        async with self._turn:
            for stream in self._streams:
                channels = stream.subscriber.channels
                if stream.connection.closed:
                    continue
                for name in chain(channels.exact, dict.fromkeys(channels.patterns)):
                    work += 1
                    if match is not None:
                        if name not in wanted:
                            wanted[name] = covers(match, name)
                        if not wanted[name]:
                            continue
                    counts[name] = counts.get(name, 0) + 1
                if work > SLICE:
                    work = 0
                    await asyncio.sleep(0)
        return {"open": len(self._streams), "channels": counts, "cut": False}

    async def _most(self, args: Mapping[str, Any]) -> dict[str, Any]:
        found = await self.count(args)
        counts: dict[str, int] = found["channels"]
        most = dict(await ranked(counts, MOST_NAMES))
        return {**found, "channels": most, "cut": len(most) < len(counts)}

    async def _end(self, args: Mapping[str, Any]) -> dict[str, Any]:
        """Say `bye` to a stream; one that does not take it is cut soon (streams.py)."""
        stream = self._streams.find(str(args["stream"]))
        if stream is None:
            return {"ended": False}
        self._streams.end(stream, "revoked")
        log.info("an admin has ended the stream %s (%s)", stream.id, stream.principal.label)
        return {"ended": True}


async def ranked(counts: Mapping[str, int], limit: int) -> list[tuple[str, int]]:
    """Those with the most subscribers first; in a thread, as there may be millions."""
    return await asyncio.to_thread(
        heapq.nsmallest, limit, counts.items(), key=lambda item: (-item[1], item[0])
    )


DIRECTORY = web.AppKey("directory", Directory)

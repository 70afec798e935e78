"""Stretches of the log that many lagging subscribers read together.

When a thousand clients come back at once from further than the ring reaches, they all want about
the same events. Each stretch is then read once, unfiltered, encoded once, and kept for a moment.
It proves itself: its positions follow each other without a hole, so no floor has to be asked.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from server.log.history import History
from server.stream import wire

SIZE = 256
"""Positions in a block."""
CAPACITY = 16 * 1024 * 1024
"""Bytes of frames that are kept."""


class Framed(NamedTuple):
    """An event as it goes out."""

    pos: int
    channel: str
    frame: bytes


Block = list[Framed]


class Blocks:
    """Reads blocks, each once for all who ask for it within a moment."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._blocks: OrderedDict[tuple[str, int, int], asyncio.Task[Block | None]] = OrderedDict()
        self._sizes: dict[tuple[str, int, int], int] = {}
        self.reads = 0

    async def after(self, epoch: str, pos: int, upto: int) -> Block | None:
        """The block that holds the position after `pos`, as far as `upto`.

        `None` when it can't be had whole: pruned, of another epoch, or too large.
        """
        low = pos - pos % SIZE
        key = (epoch, low, min(low + SIZE, upto))
        task = self._blocks.get(key)
        if task is None:
            task = asyncio.create_task(self._read(key), name="block")
            self._blocks[key] = task
        else:
            self._blocks.move_to_end(key)
        # Shared: whoever goes away must not take it from the others.
        return await asyncio.shield(task)

    async def _read(self, key: tuple[str, int, int]) -> Block | None:
        epoch, low, high = key
        kept = False
        try:
            self.reads += 1
            page = await self._history.stretch(low, high)
            if page is None:
                return None
            whole = page.head.epoch == epoch and [item.pos for item in page.events] == list(
                range(low + 1, high + 1)
            )
            if not whole:
                return None
            block = [Framed(e.pos, e.channel, wire.event(epoch, e)) for e in page.events]
            self._sizes[key] = sum(len(item.frame) for item in block)
            kept = True
            return block
        finally:
            if not kept:
                self._blocks.pop(key, None)
            self._forget()

    def _forget(self) -> None:
        """Drop what was asked for the longest ago, beyond the capacity."""
        size = sum(self._sizes.values())
        while size > CAPACITY and len(self._sizes) > 1:
            key = next(key for key in self._blocks if key in self._sizes)
            del self._blocks[key]
            size -= self._sizes.pop(key)

    def clear(self) -> None:
        """Forget everything: nobody catches up any more."""
        for key in list(self._sizes):
            self._blocks.pop(key, None)
        self._sizes.clear()

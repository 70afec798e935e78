"""Sets of a channel's events as bits of one number: which lie where, and who must have which."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from scripts.load.ledger import Channel

STEPS = 64
"""Masks of a channel's beginnings that are kept, at least 512 events apart."""


class Order:
    """A channel's events in the order of their positions; and who must have which, as bits."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        placed = sorted((key, seq) for seq, key in enumerate(channel.keys) if key)
        self.keys = [key for key, _ in placed]
        self.seqs = [seq for _, seq in placed]
        # Committed, and nobody has it.
        self.nowhere = [s for s, key in enumerate(channel.keys) if not key and channel.acked[s]]
        self._all = self._bits(self.seqs)
        self._step = max(512, -(-len(self.seqs) // STEPS))
        self._steps = [0]
        for at in range(0, len(self.seqs) - self._step + 1, self._step):
            self._steps.append(self._steps[-1] | self._bits(self.seqs[at : at + self._step]))
        self._first: dict[int, int] = {}
        self._after: dict[int, int] = {}

    def _bits(self, seqs: Sequence[int]) -> int:
        bits = bytearray(len(self.channel.keys) // 8 + 1)
        for seq in seqs:
            bits[seq >> 3] |= 1 << (seq & 7)
        return int.from_bytes(bits, "little")

    def until(self, key: int) -> int:
        """Bits of the events up to this position."""
        count = bisect_right(self.keys, key)
        if count not in self._first:
            if len(self._first) >= STEPS:
                self._first.clear()
            step = count // self._step
            rest = self._bits(self.seqs[step * self._step : count])
            self._first[count] = self._steps[step] | rest
        return self._first[count]

    def between(self, spans: Sequence[tuple[int, int]]) -> int:
        """Bits of the events after the first position of a span, up to its second."""
        bits = 0
        for after, at in spans:
            if at > after:
                bits |= self.until(at) & ~self.until(after)
        return bits

    def lost_after(self, sent: int) -> int:
        """Bits of what was committed and came to nobody, from the event `sent` on."""
        at = bisect_left(self.nowhere, sent)
        if at not in self._after:
            if len(self._after) >= STEPS:
                self._after.clear()
            self._after[at] = self._bits(self.nowhere[at:])
        return self._after[at]

    def expected(self, start: int, sent: int) -> int:
        """Bits of what a client must have that started at `start`, after `sent` were sent."""
        return (self._all & ~self.until(start)) | self.lost_after(sent)

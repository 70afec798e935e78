"""Catching up with `mode=latest`: of what a client has missed, the newest event of each slot.

A slot is a channel and a key; the events of a channel that have no key share one. A client that
lags is not given every event between its cursor and the present: those that a later event of
their slot replaces are skipped, and counted.

The argument that nothing is lost that way: *frames are handed out in order of position, and an
event is skipped only when a later one of its slot has been seen.* So whatever id a client was cut
at, of each event up to that id it has had it, or a later event of its slot stands behind that id
in the log, or was itself replaced by one that stands further behind, and the last of these is
replaced by none. A client that comes back with that id, in either mode and to any process, reads
on behind it and so comes to hold the newest event of every slot, as one does that was never away.
What was collected and did not fit is forgotten for the same reason: it lies behind the cursor.
What stands behind the id has to stay: the log may lose it from below, which is told as a gap as
ever, and at its end in a failover, which begins an epoch. So in this mode a new epoch is told as
a gap to everybody, even where it shares the id that a client has: what he skipped before that id
may have been replaced behind it, by an event that another process had and that is lost.
Who comes back in the other mode is not known to have skipped anything, so this he is not told:
"in either mode" holds within an epoch (docs/streams.md says so).

Live events are not compacted: a client that keeps up gets each one.
"""

from __future__ import annotations

HOLD = 1024 * 1024
"""Bytes of frames that are collected at most, but for the last look's."""
LONG = 0.05
"""Seconds for which it is collected, but for the last look."""


class Newest:
    """The newest frame of each slot among those that were added, in order of position.

    `seen`: frames added. `size`: bytes of those that are kept.
    """

    def __init__(self) -> None:
        self.seen = 0
        self.size = 0
        self._frames: dict[bytes, tuple[int, bytes]] = {}
        """By slot, the frame and which of the frames seen it was; the last added is last."""

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frames: list[bytes]) -> None:
        """Take the next frames in order of position; each replaces its slot's former one."""
        kept = self._frames
        for frame in frames:
            self.seen += 1
            name = slot(frame)
            former = kept.pop(name, None)
            if former is not None:
                self.size -= len(former[1])
            kept[name] = (self.seen, frame)
            self.size += len(frame)

    def first(self, most: int, count: int | None) -> tuple[list[bytes], int]:
        """The first frames kept: of `most` bytes together, or one that is larger, and at most
        `count`; and how many frames up to the last of them were skipped."""
        frames: list[bytes] = []
        size = last = 0
        for number, frame in self._frames.values():
            if frames and (size + len(frame) > most or len(frames) == count):
                break
            frames.append(frame)
            size += len(frame)
            last = number
        return frames, last - len(frames)


def slot(frame: bytes) -> bytes:
    """The channel and key of an event's frame, as they stand in it.

    `tailrace.body` (schema.sql) makes the JSON without spaces and with its members in this order:
    channel, type, key, at, … A channel holds no quotes. In a JSON string a quote is escaped, so
    one that follows a comma at once begins or ends a string; and what follows the end of one is
    a comma, never a letter. So the first `,"key":` is the member, whatever the type holds, and
    the first `,"at":` behind it ends the key.
    """
    kind = frame.index(b',"type":')
    key = frame.index(b',"key":', kind)
    return frame[frame.index(b"\n") : kind] + frame[key : frame.index(b',"at":', key)]


def position(frame: bytes) -> int:
    """The position in the id of an event's frame."""
    return int(frame[frame.index(b".") + 1 : frame.index(b"\n")])

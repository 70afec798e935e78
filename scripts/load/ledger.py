"""What was published: each channel's events by sequence number, and the positions they came at.

A position is known when any client has received the event: `id: <epoch>.<pos>` becomes one number
that grows from epoch to epoch, in the order in which the epochs were seen.
"""

from __future__ import annotations

from array import array

SHIFT = 48
MOST = (1 << SHIFT) - 1


class Epochs:
    """Ids as numbers that can be compared, and back."""

    def __init__(self) -> None:
        self._ranks: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._ranks)

    def key(self, text: bytes) -> int | None:
        """`3f2a9c1e.1043` as a number above 0; `None` when it is no id."""
        epoch, dot, pos = text.partition(b".")
        if not (epoch and dot and pos.isdigit() and len(pos) < 15):
            return None
        rank = self._ranks.setdefault(epoch, len(self._ranks) + 1)
        return (rank << SHIFT) | int(pos)

    def text(self, key: int) -> str:
        """The id of such a number."""
        rank = key >> SHIFT
        epoch = next((epoch for epoch, at in self._ranks.items() if at == rank), b"?")
        return f"{epoch.decode(errors='replace')}.{key & MOST}"


class Channel:
    """The events of one channel, by sequence number from 0.

    `due`: when each was to be sent, µs. `keys`: its position, 0 while unknown. `acked`: 1 when the
    server has answered that it is committed.
    """

    __slots__ = ("acked", "due", "keys", "last", "unplaced")

    def __init__(self) -> None:
        self.due = array("q")
        self.keys = array("q")
        self.acked = bytearray()
        self.last = 0
        """The highest position known."""
        self.unplaced = 0
        """Acknowledged events whose position is not known yet."""

    def publish(self, due: int) -> int:
        """Note an event that is about to be sent; its sequence number."""
        self.due.append(due)
        self.keys.append(0)
        self.acked.append(0)
        return len(self.due) - 1

    def acknowledge(self, seq: int) -> None:
        """The server has committed it."""
        if not self.acked[seq]:
            self.acked[seq] = 1
            self.unplaced += not self.keys[seq]

    def place(self, seq: int, key: int) -> int:
        """Somebody has received it at this position: the one that is known first stays.

        Returns the position that is known for it.

        Raises:
            IndexError: nothing of this number was published.
        """
        if not self.keys[seq]:
            self.keys[seq] = key
            self.last = max(self.last, key)
            self.unplaced -= self.acked[seq]
        return self.keys[seq]


class Ledger:
    """All channels of a run. `run`: 12 hex digits in its channels and ids."""

    def __init__(self, run: str, channels: int) -> None:
        self.run = run
        self.epochs = Epochs()
        self.channels = [Channel() for _ in range(channels)]

    def name(self, channel: int) -> str:
        """What a channel is called on the server."""
        return f"public.load.{self.run}.{channel}"

    @property
    def pattern(self) -> str:
        """All channels of the run."""
        return f"public.load.{self.run}.*"

    def message_id(self, channel: int, seq: int) -> str:
        """The same for every try, so that a repeat publishes nothing."""
        run = f"{self.run[:8]}-{self.run[8:12]}"
        return f"{run}-4{channel & 0xFFF:03x}-8{channel >> 12:03x}-{seq:012x}"

    @property
    def published(self) -> int:
        """Events that were sent, answered or not."""
        return sum(len(channel.due) for channel in self.channels)

    @property
    def acknowledged(self) -> int:
        """Events that are committed for certain."""
        return sum(sum(channel.acked) for channel in self.channels)

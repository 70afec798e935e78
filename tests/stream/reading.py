"""What one client reads over all its connections, held against the log: the law of a stream.

It knows the log as the test wrote it, and of the server only the bytes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from server.log.model import EventId, parse_id
from server.stream.names import Matcher
from tests.served import Block, parse
from tests.stream.pipe import Pipe


class Violation(AssertionError):  # noqa: N818 - it is no fault of the program's
    """A client was given what the contract does not allow."""


class Entry(NamedTuple):
    """An event as it was published."""

    channel: str
    key: str | None
    number: int

    @property
    def slot(self) -> tuple[str, str | None]:
        return self.channel, self.key


def must(condition: object, what: str) -> None:
    if not condition:
        raise Violation(what)


class Chronicle:
    """What every epoch of the log holds, and where it forked."""

    def __init__(self, epoch: str) -> None:
        self.epochs = [epoch]
        self.forks = [0]
        self.logs: dict[str, dict[int, Entry]] = {epoch: {}}
        self.heads = {epoch: 0}
        self.floor = 0

    @property
    def epoch(self) -> str:
        return self.epochs[-1]

    @property
    def head(self) -> int:
        return self.heads[self.epoch]

    def add(self, entry: Entry) -> None:
        self.heads[self.epoch] += 1
        self.logs[self.epoch][self.head] = entry

    def fork(self, epoch: str, pos: int) -> None:
        """A new epoch goes on after `pos`."""
        log = {at: entry for at, entry in self.logs[self.epoch].items() if at <= pos}
        self.epochs.append(epoch)
        self.forks.append(pos)
        self.logs[epoch], self.heads[epoch] = log, pos

    def shared(self, one: str, other: str) -> int:
        """The last position that two epochs have in common."""
        first, last = sorted((self.epochs.index(one), self.epochs.index(other)))
        return min(self.forks[first + 1 : last + 1], default=2**63)


@dataclass
class Connection:
    """One connection of a client.

    `asked`: the id it came with. `missed`: events not delivered; `told`: skipped ones told of.
    """

    pipe: Pipe
    chunked: bool
    asked: EventId | None
    begun: bool = False
    gap_due: bool = False
    missed: int = 0
    told: int = 0
    _text: bytearray = field(default_factory=bytearray)

    def blocks(self) -> list[Block]:
        """What has come whole since the last time."""
        raw = self.pipe.taken
        if self.chunked:
            while (end := raw.find(b"\r\n")) >= 0:
                size = int(bytes(raw[:end]), 16)
                must(size, "the answer ended")
                if len(raw) < end + size + 4:
                    break
                must(raw[end + 2 + size : end + 4 + size] == b"\r\n", "a chunk without its end")
                self._text += raw[end + 2 : end + 2 + size]
                del raw[: end + 4 + size]
        else:
            self._text += raw
            raw.clear()
        *whole, rest = bytes(self._text).split(b"\n\n")
        self._text = bytearray(rest)
        try:
            return [parse(block.decode()) for block in whole]
        except (AssertionError, ValueError) as error:
            raise Violation(f"no block: {whole}") from error


class Client:
    """One reader of a few channels, over all its connections."""

    def __init__(self, names: list[str], chronicle: Chronicle, *, latest: bool) -> None:
        self.names = names
        self.latest = latest
        self.at: EventId | None = None
        self.connection: Connection | None = None
        self._wanted = Matcher(names)
        self._log = chronicle
        self._base = 0
        self._seen: dict[tuple[str, str | None], int] = {}
        self.counts: Counter[str | None] = Counter()

    def start(self, at: EventId) -> None:
        """It comes with this id although it never was here."""
        self.at, self._base = at, at.pos

    def read(self) -> None:
        """Look at what has come.

        Raises:
            Violation: it breaks the contract.
        """
        if self.connection is None:
            return
        for block in self.connection.blocks():
            name = "mark" if block.mark else block.event
            self.counts[name] += 1
            self._look(self.connection, block, name)

    def _look(self, connection: Connection, block: Block, name: str | None) -> None:
        must(connection.begun == (name != "ready"), f"not the time for {block.raw!r}")
        must(not connection.gap_due or name == "gap", "no gap after a ready without an id")
        if name == "skipped":
            must(self.latest and block.id is None and block.data["count"] > 0, block.raw)
            connection.told += block.data["count"]
            return
        if name == "ready":
            connection.begun, connection.gap_due = True, block.id is None
            if block.id is None:
                return
        at = parse_id(block.id or "")
        if at is None:
            raise Violation(f"no id in {block.raw!r}")
        if name == "ready":
            must(connection.asked in (None, self.at), "another start")
            must(self.at is None or at.pos == self.at.pos, f"ready at {at}, asked for {self.at}")
            if self.at is None:
                self._base = at.pos
            self.at = at
        elif name == "mark":
            self._advance(connection, at, at.pos + 1)
        elif name == "gap":
            self._gap(connection, block, at)
        else:
            must(name is None, f"unexpected {block.raw!r}")
            self._event(connection, block, at)

    def _event(self, connection: Connection, block: Block, at: EventId) -> None:
        must(self.at is not None and at.pos > self.at.pos, f"{at} after {self.at}")
        self._advance(connection, at, at.pos)
        entry = self._log.logs[at.epoch].get(at.pos)
        data = block.data
        must(
            entry == Entry(data["channel"], data["key"], data["data"]["n"]),
            f"{at} is {entry}, not {block.raw!r}",
        )
        if entry is not None:
            must(entry.channel in self._wanted, f"not of {self.names}: {entry}")
            self._seen[entry.slot] = at.pos

    def _advance(self, connection: Connection, to: EventId, before: int) -> None:
        """Go on to an id: what lies between, up to `before`, is not delivered any more."""
        at = self.at
        if at is None:
            raise Violation(f"{to} before a ready")
        must(to.pos >= at.pos, f"back from {at} to {to}")
        log = self._log.logs.get(to.epoch)
        if log is None or to.pos > self._log.heads[to.epoch]:
            raise Violation(f"{to} is not in the log")
        if to.epoch != at.epoch:
            older = min(at, to, key=lambda id_: self._log.epochs.index(id_.epoch))
            shared = self._log.shared(at.epoch, to.epoch)
            must(older.pos <= shared, f"from {at} over a fork to {to}")
        between = [p for p in range(at.pos + 1, before) if p in log]
        missed = [p for p in between if log[p].channel in self._wanted]
        must(self.latest or not missed, f"missed {missed} from {at} to {to}")
        connection.missed += len(missed)
        must(connection.missed <= connection.told, f"missed {missed}, which was not told")
        self.at = to

    def _gap(self, connection: Connection, block: Block, to: EventId) -> None:
        data = block.data
        after = parse_id(data["after"])
        if after is None or data["resumed"] != block.id:
            raise Violation(f"not a gap: {block.raw!r}")
        if connection.gap_due:
            must(after == self.at, f"a gap after {after}, not {self.at}")
            connection.gap_due = False
        else:
            self._advance(connection, after, after.pos + 1)
        if data["reason"] == "pruned":
            must(after.pos < to.pos <= self._log.floor, f"nothing was pruned: {block.raw!r}")
        else:
            must(data["reason"] == "epoch" and after.epoch != to.epoch, block.raw)
        self.at, self._base = to, to.pos
        self._seen.clear()

    def settled(self) -> None:
        """At the end it has come to the head, and holds the newest event of each slot.

        Raises:
            Violation: it has not, or was told of a wrong count.
        """
        connection, log = self.connection, self._log
        if connection is None:
            raise Violation("not connected")
        must(self.at == EventId(log.epoch, log.head), f"at {self.at}, the head is {log.head}")
        newest = {
            entry.slot: pos
            for pos, entry in log.logs[log.epoch].items()
            if pos > self._base and entry.channel in self._wanted
        }
        must(self._seen == newest, f"holds {self._seen}, the newest are {newest}")
        must(connection.missed == connection.told, f"{connection.told} told to be skipped")

"""The types of events: each declared once, checked before it enters the log, and documented.

    MEASUREMENT = CATALOG.published("measurement", "public.demo", Measurement, "What a gauge reads")
    await outbox.publish([MEASUREMENT.draft(Measurement(level=2.4))])

What `tailrace.watch()` announces is made by the database: declared for the document alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, RootModel

from server.log.ephemeral import body_of
from server.log.model import is_channel
from server.log.outbox import Draft, draft

Source = Literal["published", "ephemeral", "watched"]
"""By our code into the log; by our code to whoever looks just now; by `watch()` on a table."""

WATCHED = {
    "insert": "A row was added",
    "update": "A row was changed",
    "delete": "A row was removed",
    "truncate": "The table was emptied",
}
"""The types of a watched table's events."""

_PATTERN = re.compile(r"(([A-Za-z0-9_-]+|\*)\.)*([A-Za-z0-9_-]+|\*|>)", re.ASCII)

Row = TypeVar("Row", bound=BaseModel)


class Change(BaseModel, Generic[Row]):
    """A row of a watched table, after and before."""

    model_config = ConfigDict(extra="forbid")

    new: Row | None = Field(description="The row as it is now; `null` when it was removed.")
    old: Row | None = Field(
        description="The row as it was; `null` when it was added, or has come from another channel."
    )


class Untold(BaseModel):
    """The row was too large to be told, or can't be: fetch it by the event's key."""

    model_config = ConfigDict(extra="forbid")

    truncated: Literal[True]


@dataclass(frozen=True, slots=True)
class EventType:
    """One type of event: its name, the channel or pattern of channels, the model of its data."""

    name: str
    channel: str
    model: type[BaseModel]
    summary: str
    source: Source = "published"

    def draft(
        self, data: BaseModel, *, channel: str | None = None, key: str | None = None
    ) -> Draft:
        """The event as the outbox takes it; `channel` may be left out if there is only one.

        Raises:
            TypeError, ValueError: a fault of our own code.
            ApiError: 400 for what Postgres could not store.
        """
        self._must_be("published")
        return draft(self._channel(channel), self.name, self._json(data), key)

    def body(self, data: BaseModel, *, channel: str | None = None, key: str | None = None) -> str:
        """The JSON text of an ephemeral event, as the pubsub takes it.

        Raises:
            TypeError, ValueError: a fault of our own code.
        """
        self._must_be("ephemeral")
        return body_of(self._channel(channel), self.name, self._json(data), key)

    def _must_be(self, source: Source) -> None:
        if self.source != source:
            msg = f"{self.name} on {self.channel} is {self.source}, not {source}"
            raise TypeError(msg)

    def _channel(self, channel: str | None) -> str:
        found = self.channel if channel is None else channel
        if not is_channel(found) or not _within(self.channel, found):
            msg = f"{found!r} is not a channel of {self.name} ({self.channel})"
            raise ValueError(msg)
        return found

    def _json(self, data: BaseModel) -> Any:
        if not isinstance(data, self.model):
            msg = f"the data of {self.name} is a {self.model.__name__}, not {type(data).__name__}"
            raise TypeError(msg)
        # As an instance it has been validated; what was changed or smuggled in since is an error.
        return data.model_dump(mode="json", by_alias=True, warnings="error")


class Catalog:
    """Every declared type, in order of declaration."""

    def __init__(self) -> None:
        self._types: dict[tuple[str, str], EventType] = {}

    def __iter__(self) -> Iterator[EventType]:
        return iter(self._types.values())

    def published(self, name: str, channel: str, model: type[BaseModel], summary: str) -> EventType:
        """Declare what our code puts into the log."""
        return self._add(EventType(name, channel, model, summary))

    def ephemeral(self, name: str, channel: str, model: type[BaseModel], summary: str) -> EventType:
        """Declare what our code tells without keeping it."""
        return self._add(EventType(name, channel, model, summary, "ephemeral"))

    def watched(self, channel: str, row: type[BaseModel], summary: str) -> None:
        """Declare a watched table: `row` has its columns as the events show them."""
        change = _change(row)
        for name, what in WATCHED.items():
            self._add(EventType(name, channel, change, f"{summary}: {what.lower()}", "watched"))

    def announced(self, name: str, channel: str, model: type[BaseModel], summary: str) -> None:
        """Declare what a trigger of ours puts into the log."""
        self._add(EventType(name, channel, model, summary, "watched"))

    def _add(self, item: EventType) -> EventType:
        if not _PATTERN.fullmatch(item.channel):
            msg = f"{item.channel!r} is not a channel or pattern"
            raise ValueError(msg)
        if (item.name, item.channel) in self._types:
            msg = f"{item.name} on {item.channel} is declared twice"
            raise ValueError(msg)
        self._types[item.name, item.channel] = item
        return item


def _change(row: type[BaseModel]) -> type[BaseModel]:
    """The data of a watched table's events, under a name of its own in the document."""
    # The argument is a value here, which a type checker can't follow.
    either: Any = RootModel[Change[row] | Untold]  # type: ignore[valid-type]
    return type(f"{row.__name__}Change", (either,), {"__doc__": f"A change of a {row.__name__}."})


def _within(pattern: str, channel: str) -> bool:
    have, want = pattern.split("."), channel.split(".")
    if have[-1] == ">":
        have = have[:-1]
        if len(want) <= len(have):
            return False
        want = want[: len(have)]
    return len(have) == len(want) and all(a in ("*", b) for a, b in zip(have, want, strict=True))


CATALOG = Catalog()
"""The event types of this server; who declares one is imported by the composition root."""

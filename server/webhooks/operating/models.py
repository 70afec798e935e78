"""Deliveries as operators ask for them, and as they see them: over the API and as JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

import asyncpg
from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from server.openapi.fields import Input, Key, Line, Moment, Output, Text
from server.openapi.shapes import Id, Paged, optional
from server.stream.request import Since
from server.webhooks.events import State
from server.webhooks.operating.sql import AGAIN, MAX_COUNTED, Filter

Settled = Literal["done", "unhandled", "unmatched", "dead"]
NEVER = datetime(2000, 1, 1, tzinfo=UTC)


def _written(value: Any) -> Any:
    if not isinstance(value, str):
        code = "datetime_type"
        raise PydanticCustomError(code, "a time is text: ISO 8601, or as 30m, 12h, 7d ago")
    return value


Source = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$", examples=["stripe"])]
Type = Annotated[
    str,
    # A type as server/webhooks/providers/envelope.py stores it, or a family of them.
    Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}(\.\*)?$", examples=["payment.*"]),
]
Time = Annotated[Since, BeforeValidator(_written)]


class Chosen(Input):
    """Which deliveries: all that fit everything that is given."""

    source: Source = Field("", json_schema_extra=optional)
    type: Type = Field(
        "", description="A type, or a family as `payment.*`.", json_schema_extra=optional
    )
    key: Annotated[Line, Field(min_length=1, max_length=200)] = Field(
        "", description="Whose events keep their order.", json_schema_extra=optional
    )
    since: Time = Field(
        NEVER, description="Received at this time or later.", json_schema_extra=optional
    )
    until: Time = Field(NEVER, description="Received before.", json_schema_extra=optional)
    q: Annotated[Text, Field(min_length=2, max_length=200)] = Field(
        "", description="Text in the payload, in any case.", json_schema_extra=optional
    )

    def filter(self, states: Iterable[str]) -> Filter:
        """For the statements."""
        given = {name: getattr(self, name) for name in Chosen.model_fields if self._has(name)}
        text = given.pop("q", None)
        return Filter(**given, text=text, states=tuple(dict.fromkeys(states)))

    def _has(self, name: str) -> bool:
        return name in self.model_fields_set


class Wanted(Paged, Chosen):
    """A page of the list. `state` may stand there several times."""

    state: list[State] = Field([], max_length=5, json_schema_extra=optional)

    def query(self) -> dict[str, str | int | list[str]]:
        """The parameters of the following page, without `after`."""
        found: dict[str, str | int | list[str]] = {}
        for name in (*Chosen.model_fields, "state"):
            if self._has(name):
                value = getattr(self, name)
                # Once told apart from now, `1h` has to mean the same on every page.
                found[name] = value.isoformat() if isinstance(value, datetime) else value
        return found | {"limit": self.limit}


MEANT = ("source", "type", "state", "since")


class Replay(Chosen):
    """What is to be handled again: at least one of `source`, `type`, `state`, `since`."""

    model_config = ConfigDict(json_schema_extra={"anyOf": [{"required": [name]} for name in MEANT]})

    state: list[Settled] = Field([*AGAIN], min_length=1, max_length=4)
    limit: int = Field(1000, ge=1, le=10_000, strict=True)
    dry_run: bool = Field(False, strict=True, description="Only tell how many there are.")

    @model_validator(mode="after")
    def _meant(self) -> Self:
        if not self.model_fields_set & set(MEANT):
            code = "too_few"
            raise PydanticCustomError(code, "give at least one of source, type, state and since")
        return self


class DeliveryPath(Input):
    """Which delivery."""

    id: Key


class DeliveryRow(Output):
    """A delivery without headers and body. `size`: the body's bytes, `null` once it is gone."""

    id: str
    seq: Id
    source: str
    message_id: str
    type: str
    key: str | None
    state: State
    attempts: int
    error: str | None
    event_at: Moment | None
    received_at: Moment
    due_at: Moment
    handled_at: Moment | None
    size: int | None


class Attempt(Output):
    """One attempt to handle a delivery."""

    at: Moment
    state: str = Field(description="What came of it: a state, or `failed`.")
    error: str | None
    ms: float


class DeliveryWhole(DeliveryRow):
    """A delivery as it came, and what was done with it. `body`: `null` once it is gone."""

    headers: dict[str, str]
    body: str | None
    history: list[Attempt]

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `operating_sql.show`."""
        values: dict[str, Any] = dict(row)
        body = values.pop("body")
        return cls(
            **values
            | {
                "headers": json.loads(row["headers"]),
                "history": json.loads(row["history"]),
                "body": None if body is None else body.decode(errors="replace"),
            }
        )


class DeliveryList(Output):
    """A page of deliveries, the newest first; `next` is the following page's `after`."""

    deliveries: list[DeliveryRow]
    next: str | None


class ReplayDone(Output):
    """How many are handled again, of how many that matched, up to the limit. `more`: there are
    others, beyond it or just then in a worker's hands."""

    replayed: int
    matched: int
    more: bool


class SourceCounts(Output):
    """A source's deliveries, by state."""

    source: str
    pending: int = 0
    done: int = 0
    unhandled: int = 0
    unmatched: int = 0
    dead: int = 0
    oldest_pending: Moment | None = Field(None, description="When it was received.")


class Counts(Output):
    """Deliveries by source and state.

    `pending`, `unmatched` and `dead` are all there are; `done` and `unhandled` those since `since`.
    """

    sources: list[SourceCounts]
    since: Moment | None = Field(
        description="When the oldest of the newest 10,000 deliveries was received."
    )
    pending_seconds: float | None = Field(description="How long the oldest pending one waits.")
    complete: bool = Field(
        description="False: of one kind there are 10,000 or more; no more are counted."
    )

    @classmethod
    def of(cls, rows: Iterable[asyncpg.Record]) -> Self:
        """From the rows of `operating_sql.summary`."""
        found: dict[str, dict[str, Any]] = {}
        *counts, looked = rows
        for row in counts:
            values = found.setdefault(row["source"], {"source": row["source"]})
            values[row["state"]] = row["count"]
            if row["state"] == "pending":
                values["oldest_pending"] = row["oldest"]
        waiting = [row["oldest"] for row in counts if row["state"] == "pending"]
        totals = [
            sum(row["count"] for row in counts if row["state"] == state)
            for state in ("unmatched", "dead")
        ]
        pending = [row["count"] for row in counts if row["state"] == "pending"]
        age = (looked["now"] - min(waiting)).total_seconds() if waiting else None
        return cls(
            sources=[SourceCounts(**values) for _, values in sorted(found.items())],
            since=looked["oldest"],
            pending_seconds=None if age is None else max(age, 0.0),
            complete=max([*totals, *pending], default=0) < MAX_COUNTED,
        )

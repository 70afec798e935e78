"""Deliveries in Postgres: how they are stored, each once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from server.db.group import ContendedError

if TYPE_CHECKING:
    from server.db.pool import Pool

_STORE = "SELECT n, id, fresh FROM tailrace.store_deliveries($1, $2, $3, $4, $5, $6, $7)"
ATTEMPTS = 3


class Delivery(NamedTuple):
    """A verified delivery, as it is stored. `headers`: JSON text."""

    source: str
    message_id: str
    type: str
    key: str | None
    event_at: datetime | None
    headers: str
    body: bytes


class Stored(NamedTuple):
    """Where a delivery is. `new`: whether it came for the first time."""

    id: str
    new: bool


async def store(pool: Pool, deliveries: Sequence[Delivery]) -> list[Stored]:
    """Commit what is new of them.

    A delivery that is there already, in another transaction that is about to commit, or twice
    among these has the id of the first.

    Raises:
        ContendedError: one was there, and was removed while we asked for it, again and again.
    """
    first: dict[tuple[str, str], Delivery] = {}
    for item in deliveries:
        first.setdefault(item[:2], item)
    found: dict[tuple[str, str], Stored] = {}
    for _ in range(ATTEMPTS):
        left = [item for name, item in first.items() if name not in found]
        if not left:
            break
        columns = [list(column) for column in zip(*left, strict=True)]
        for row in await pool.fetch(_STORE, *columns):
            # What is new is told first, then all that are there.
            found.setdefault(left[row["n"] - 1][:2], Stored(row["id"], row["fresh"]))
    if len(found) < len(first):
        raise ContendedError
    stored = []
    for item in deliveries:
        stored.append(found[item[:2]])
        found[item[:2]] = stored[-1]._replace(new=False)
    return stored

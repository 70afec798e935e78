"""The server's own way into the log: concurrent publishes share one statement and one commit."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from server.db.group import GroupCommit
from server.errors import INVALID, ApiError, Issue
from server.log.model import is_channel

if TYPE_CHECKING:
    from server.db.pool import Pool

MAX_DATA_BYTES = 1024 * 1024
"""As tailrace.max_data_bytes() in schema.sql; a test holds the two together."""
DRAFT_BYTES = 600
"""What a draft takes in memory beside its data."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PUBLISH = "SELECT tailrace.publish_batch($1, $2, $3, $4, $5, $6)"


class Draft(NamedTuple):
    """An event to be published; `data` is JSON text. `given`: the caller chose the message id."""

    channel: str
    type: str
    key: str | None
    message_id: uuid.UUID
    given: bool
    data: str


def draft(
    channel: str,
    type_: str,
    data: Any,
    key: str | None = None,
    message_id: uuid.UUID | None = None,
) -> Draft:
    """Check an event where it enters, by the rules of `tailrace.publish()`.

    Raises:
        ApiError: 400 with all faults as issues.
    """
    issues = [*_name_faults(channel, type_, key)]
    text = ""
    try:
        text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        size = len(text.encode())
    except (ValueError, RecursionError):
        # Infinities, NaN and lone surrogates: Python's parser takes them, JSON does not.
        issues.append(Issue(("data",), "data is not JSON that can be stored", "invalid_json"))
    else:
        if size > MAX_DATA_BYTES:
            message = f"data has {size} bytes, more than the limit of {MAX_DATA_BYTES}"
            issues.append(Issue(("data",), message, "too_large"))
        if "\\u0000" in text and _has_nul(data):
            issues.append(Issue(("data",), "data must not contain NUL characters", "nul"))
    if issues:
        raise ApiError(INVALID, issues=tuple(issues))
    return Draft(channel, type_, key, message_id or uuid.uuid4(), message_id is not None, text)


def _name_faults(channel: str, type_: str, key: str | None) -> list[Issue]:
    issues = []
    if not is_channel(channel):
        message = "segments of [A-Za-z0-9_-] joined by dots, at most 200 characters"
        issues.append(Issue(("channel",), message, "invalid_channel"))
    if not type_ or len(type_) > 100 or _CONTROL.search(type_) or not _encodable(type_):
        message = "1 to 100 characters, no control characters"
        issues.append(Issue(("type",), message, "invalid_type"))
    if key is not None and (len(key) > 512 or _CONTROL.search(key) or not _encodable(key)):
        message = "at most 512 characters, no control characters"
        issues.append(Issue(("key",), message, "invalid_key"))
    return issues


def _encodable(text: str) -> bool:
    return not any("\ud800" <= char <= "\udfff" for char in text)


def _has_nul(data: Any) -> bool:
    left = [data]  # not by recursion: data may be nested as deep as the parser allows
    while left:
        item = left.pop()
        if isinstance(item, dict):
            left += item
            left += item.values()
        elif isinstance(item, list):
            left += item
        elif isinstance(item, str) and "\0" in item:
            return True
    return False


class Outbox(GroupCommit[Sequence[Draft], None]):
    """Concurrent publishes share one statement and one commit."""

    batch_rows = 1_000
    batch_bytes = 16 * 1024 * 1024
    max_bytes = 64 * 1024 * 1024
    full = "too many publishes wait"
    contended = "another transaction holds the same message_id"
    lost = "the database is not reachable; the outcome is unknown, repeat with the same message_id"

    def __init__(self, pool: Pool, on_commit: Callable[[], None]) -> None:
        super().__init__()
        self._pool = pool
        self._on_commit = on_commit
        self.published = 0

    async def publish(self, drafts: Sequence[Draft]) -> None:
        """Return when all of `drafts`, in one transaction, are committed.

        Raises:
            ApiError: 503 when too much waits already, or the database is gone (the outcome is
                then unknown: a repeat with the same `message_id` is safe).
        """
        await self.submit(drafts)

    def weigh(self, item: Sequence[Draft]) -> tuple[int, int]:
        """One row for each draft."""
        return len(item), sum(len(one.data) + DRAFT_BYTES for one in item)

    async def write(self, items: Sequence[Sequence[Draft]]) -> Sequence[None]:
        """All drafts of all requests, in one statement."""
        drafts = [one for drafts in items for one in drafts]
        columns = [list(column) for column in zip(*drafts, strict=True)]
        await self._pool.execute(_PUBLISH, *columns)
        self.published += len(drafts)
        return [None] * len(items)

    def committed(self) -> None:
        """Wake the stamper."""
        self._on_commit()

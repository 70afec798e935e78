"""The server's own way into the log: concurrent publishes share one statement and one commit."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import asyncpg

from server.db.faults import LOST
from server.errors import INVALID, UNAVAILABLE, ApiError, Issue
from server.log.model import is_channel

if TYPE_CHECKING:
    from server.db.pool import Pool

MAX_DATA_BYTES = 1024 * 1024
"""As tailrace.max_data_bytes() in schema.sql; a test holds the two together."""
BATCH = 1_000
BATCH_BYTES = 16 * 1024 * 1024
MAX_WAITING_BYTES = 64 * 1024 * 1024

DRAFT_BYTES = 600
"""What a draft takes in memory beside its data."""

REFUSED = (asyncpg.DataError, asyncpg.ProgramLimitExceededError)
CONTENDED = (
    asyncpg.DeadlockDetectedError,
    asyncpg.LockNotAvailableError,
    asyncpg.SerializationError,
)

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


class Outbox:
    """Group commit: what arrives while one batch is being written goes into the next."""

    def __init__(self, pool: Pool, on_commit: Callable[[], None]) -> None:
        self._pool = pool
        self._on_commit = on_commit
        self._waiting: list[tuple[Sequence[Draft], asyncio.Future[None]]] = []
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self.published = 0
        self.batches = 0

    async def publish(self, drafts: Sequence[Draft]) -> None:
        """Return when all of `drafts`, in one transaction, are committed.

        Raises:
            ApiError: 503 when too much waits already, or the database is gone (the outcome is
                then unknown: a repeat with the same `message_id` is safe).
        """
        size = sum(len(item.data) + DRAFT_BYTES for item in drafts)
        if self._waiting_bytes + size > MAX_WAITING_BYTES:
            raise ApiError(UNAVAILABLE, "too many publishes wait", headers={"Retry-After": "1"})
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((drafts, done))
        self._waiting_bytes += size
        self._arrived.set()
        await done

    async def run(self) -> None:
        """Write batches until cancelled."""
        try:
            while True:
                await self._arrived.wait()
                self._arrived.clear()
                while self._waiting:
                    await self._write(self._take())
        finally:
            # Whoever waits gets an answer, and nothing of it is published behind their backs.
            waiting, self._waiting, self._waiting_bytes = self._waiting, [], 0
            self._fail(waiting, ApiError(UNAVAILABLE, headers={"Retry-After": "1"}))

    def _take(self) -> list[tuple[Sequence[Draft], asyncio.Future[None]]]:
        taken = count = size = 0
        for drafts, _ in self._waiting:
            count += len(drafts)
            size += sum(len(item.data) + DRAFT_BYTES for item in drafts)
            if taken and (count > BATCH or size > BATCH_BYTES):
                break
            taken += 1
        batch, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._waiting_bytes -= sum(
            len(item.data) + DRAFT_BYTES for drafts, _ in batch for item in drafts
        )
        return batch

    async def _write(self, batch: list[tuple[Sequence[Draft], asyncio.Future[None]]]) -> None:
        try:
            await self._insert([item for drafts, _ in batch for item in drafts])
        except (*REFUSED, *CONTENDED) as error:
            if len(batch) > 1:  # one bad request must not fail the others, nor make them wait
                for single in batch:
                    await self._write([single])
            elif isinstance(error, REFUSED):
                self._fail(batch, ApiError(INVALID, str(error)))
            else:
                detail = "another transaction holds the same message_id"
                self._fail(batch, ApiError(UNAVAILABLE, detail, headers={"Retry-After": "1"}))
        except LOST as error:
            detail = "the database is not reachable; the outcome is unknown, repeat with the same"
            fault = ApiError(UNAVAILABLE, f"{detail} message_id", headers={"Retry-After": "1"})
            fault.__cause__ = error
            self._fail(batch, fault)
        except BaseException as error:
            self._fail(batch, error)
            raise
        else:
            self._on_commit()
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    async def _insert(self, drafts: Sequence[Draft]) -> None:
        columns = [list(column) for column in zip(*drafts, strict=True)]
        await self._pool.execute(_PUBLISH, *columns)
        self.published += len(drafts)
        self.batches += 1

    @staticmethod
    def _fail(
        batch: list[tuple[Sequence[Draft], asyncio.Future[None]]], error: BaseException
    ) -> None:
        for _, done in batch:
            if not done.done():
                done.set_exception(error)

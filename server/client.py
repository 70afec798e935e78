"""A client of Tailrace's streams, in one file: it needs aiohttp, and nothing of the server.

    async with connect("http://127.0.0.1:8080", ["public.orders"], after=stored) as stream:
        async for event in stream:
            await act_on(event)
            await store(stream.position)

Over any reconnect every event comes once and in order, or a `Gap` is told: see docs/streams.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Literal, NamedTuple, Self
from urllib.parse import urlencode

import aiohttp

log = logging.getLogger(__name__)

LONG_ADDRESS = 2_000
"""Characters of a query beyond which it is sent as the body of a POST: proxies refuse longer."""
MAX_BLOCK = 32 * 1024 * 1024
"""Bytes of a block without an end after which this is no stream; an event has 1 MiB at most."""
LF = 0x0A
MAX_BACKOFF = 30.0
SILENT_HEARTBEATS = 2.5
BRIEF = 1.0
"""Seconds: who is given tokens that last no longer waits between connections."""
AGAIN = {408, 425, 429}
"""Statuses that pass by themselves, as do 5xx; any other but 200 is an error of the caller's."""

Token = str | Callable[[], Awaitable[str]]


class Event(NamedTuple):
    """What happened. `id`: its place in the log, `None` if it is ephemeral, as is then
    `message_id`. `key`: what it is about. `raw`: all of it as JSON text, as it came."""

    id: str | None
    channel: str
    type: str
    key: str | None
    at: datetime
    message_id: str | None
    data: Any
    raw: str


class Gap(NamedTuple):
    """Events between the ids `after` and `resumed` are missing: fetch your state anew. `reason`:
    `pruned`, `epoch`, `ahead` or `malformed`, as docs/streams.md explains."""

    after: str | None
    resumed: str
    reason: str


class Status(NamedTuple):
    """What a stream does: it is `open`, or `waiting` for `delay` seconds before it connects again.
    `reason`: that of `bye`, or what went wrong. `attempt`: how many in a row have failed."""

    state: Literal["open", "waiting", "closed"]
    reason: str = ""
    delay: float = 0.0
    attempt: int = 0


class TailraceError(Exception):
    """Any error of this client's own."""


class WireError(TailraceError):
    """The answer is no stream of Tailrace's."""


class GapError(TailraceError):
    """Events are missing, and no `on_gap` was given. Iterate again to go on behind the gap."""

    def __init__(self, gap: Gap) -> None:
        super().__init__(f"events are missing after {gap.after}: {gap.reason}")
        self.gap = gap


class ProblemError(TailraceError):
    """An answer that asking again does not change, with the fields of its problem (RFC 9457).

    `issues`: each with `path`, `message` and `code`. Of a 400 this class; of 401 and 403 its own.
    """

    def __init__(self, status: int, problem: Mapping[str, Any]) -> None:
        self.status = status
        self.title = str(problem.get("title", ""))
        self.type = str(problem.get("type", "about:blank"))
        self.detail: str | None = problem.get("detail")
        self.issues: list[dict[str, Any]] = problem.get("issues") or []
        self.request_id: str | None = problem.get("request_id")
        faults = [f"{'.'.join(map(str, i['path']))}: {i['message']}" for i in self.issues]
        said = "; ".join(filter(None, [self.detail, *faults]))
        super().__init__(f"{status} {self.title}" + (f" ({said})" if said else ""))


class UnauthorizedError(ProblemError):
    """401: these channels need credentials, or those that were given are not valid (any more)."""


class ForbiddenError(ProblemError):
    """403: these credentials may not read these channels."""


class Block(NamedTuple):
    """What one block of a stream says; without `data`, nothing is dispatched for it."""

    id: str | None
    event: str
    data: str | None
    retry: int | None


class Parser:
    """Bytes to blocks: WHATWG HTML, sections 9.2.5 and 9.2.6 (lines may end in CR, LF, CRLF).

    `last_event_id` is that of the standard. What has no empty line behind it yet is kept, and
    looked at once, however many pieces it comes in.
    """

    def __init__(self) -> None:
        self.last_event_id = ""
        self._begun: list[bytes] = []
        self._size = 0
        self._after_cr = False
        self._first = True

    def feed(self, chunk: bytes) -> list[Block]:
        """The blocks that these bytes complete.

        Raises:
            WireError: a block is longer than `MAX_BLOCK`.
        """
        if self._after_cr and chunk:
            chunk = chunk.removeprefix(b"\n")
            self._after_cr = False
        if b"\r" in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if not chunk:
            return []
        begun = self._begun
        ends = b"\n\n" in chunk or (chunk[0] == LF and begun and begun[-1][-1] == LF)
        begun.append(chunk)
        self._size += len(chunk)
        if not ends:
            if self._size > MAX_BLOCK:
                raise WireError(f"a block without an end after {MAX_BLOCK} bytes")
            return []
        text = b"".join(begun) if len(begun) > 1 else chunk
        *whole, rest = text.split(b"\n\n")
        self._begun, self._size = [rest] if rest else [], len(rest)
        if whole and self._first:
            self._first = False
            whole[0] = whole[0].removeprefix(b"\xef\xbb\xbf")
        return [block for raw in whole if (block := self._block(raw)) is not None]

    def _block(self, raw: bytes) -> Block | None:
        id_ = retry = None
        event, data = b"", []
        for line in raw.split(b"\n"):
            name, _, value = line.partition(b":")
            value = value.removeprefix(b" ")
            if name == b"data":
                data.append(value)
            elif name == b"id" and b"\0" not in value:
                id_ = self.last_event_id = value.decode(errors="replace")
            elif name == b"event":
                event = value
            elif name == b"retry" and value.isdigit() and len(value) < 10:
                retry = int(value)
        if id_ is None and retry is None and not data:
            return None
        body = b"\n".join(data).decode(errors="replace") if data else None
        return Block(id_, event.decode(errors="replace") or "message", body, retry)


class _Lost(Exception):  # noqa: N818 - no fault: it is why to connect again
    """The connection is of no more use. `wait`: seconds before the next, if that was told."""

    def __init__(self, reason: str, wait: float | None = None, *, at_once: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.at_once = at_once


class Stream:
    """The events of some channels, over any number of connections.

    For one task at a time. Nothing is read ahead of what is taken, beyond a buffer of 128 KiB: a
    slow reader is the server's to bear.
    """

    position: str | None
    """Where a stream goes on that is opened with `after` this: the id of the last event that was
    handed out, moved on by the heartbeats of quiet channels. It never passes over an event or a
    gap that was not handed out. Store it once you have acted on the event in hand: then a crash
    may make you act twice, but you miss nothing."""
    skipped: int
    """With `mode="latest"`: how many events the server has left out, each replaced by a later."""

    def __init__(
        self,
        url: str,
        channels: str | Iterable[str],
        *,
        after: str | None = None,
        rewind: int | None = None,
        since: str | datetime | None = None,
        mode: Literal["all", "latest"] = "all",
        token: Token | None = None,
        headers: Mapping[str, str] | None = None,
        session: aiohttp.ClientSession | None = None,
        on_gap: Callable[[Gap], Awaitable[None] | None] | None = None,
        on_status: Callable[[Status], None] | None = None,
        connect_timeout: float = 10.0,
        idle_timeout: float | None = None,
    ) -> None:
        """`after`, `rewind`, `since`, `mode`: where to start and what to get (docs/streams.md).

        `token`: an API key, a session's or a stream's token, or a function that gives one: asked
        for each connection, and once more after a 401. `on_gap`: called, and awaited, before the
        stream goes on behind a gap. `connect_timeout`: seconds from the request to `ready`;
        `idle_timeout`: seconds without a byte after which a connection counts as dead (2.5
        heartbeats unless given).
        """
        wanted: dict[str, Any] = {
            "channel": [channels] if isinstance(channels, str) else list(channels),
            "mode": mode,
            "after": after,
            "rewind": rewind,
            "since": since.isoformat() if isinstance(since, datetime) else since,
        }
        self.position = None if after == "earliest" else after
        self.skipped = 0
        self._url = f"{url.rstrip('/')}/api/stream"
        self._wanted = {name: value for name, value in wanted.items() if value is not None}
        self._resumes = False  # whether `position` is one that the server gave
        self._token = token
        # Compressed, events would wait in a proxy until there are enough of them.
        self._headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        self._headers |= headers or {}
        self._session, self._owned = session, session is None
        self._on_gap = on_gap
        self._on_status = on_status or (lambda _: None)
        self._connect_timeout, self._idle_timeout = connect_timeout, idle_timeout
        self._idle = connect_timeout
        self._retry = 1.0
        self._attempt = 0
        self._ready_at: float | None = None  # of this connection, by the loop's clock
        self._response: aiohttp.ClientResponse | None = None
        self._parser = Parser()
        self._blocks: deque[Block] = deque()
        self._gap: Gap | None = None
        self._closed = asyncio.Event()

    async def __aenter__(self) -> Self:
        """Connect, until a server is ready: what is published from now on will come.

        Raises:
            ProblemError: the server will not give this stream; asking again does not help.
        """
        if self._session is None:
            self._session = aiohttp.ClientSession()
        try:
            await self._connect_again(None)
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next event.

        Raises:
            GapError: events are missing, and there is no `on_gap`.
            ProblemError: the stream may not be read any more.
            WireError: what came is no stream of Tailrace's.
            StopAsyncIteration: `close()` was called.
        """
        if self._gap is not None:
            await self._pass_gap(self._gap)
        while not self._closed.is_set():
            try:
                while self._blocks:
                    event = await self._take(self._blocks.popleft())
                    if event is not None:
                        return event
                await self._read()
            except WireError:
                self._drop()  # who goes on nevertheless must not pass over what it was about
                raise
            except _Lost as lost:
                await self._connect_again(lost)
        raise StopAsyncIteration

    async def close(self) -> None:
        """End the stream; a task that waits for its next event sees the end of the iteration."""
        if not self._closed.is_set():
            self._closed.set()
            self._on_status(Status("closed"))
        self._drop()
        if self._owned and self._session is not None:
            await self._session.close()

    # --- what comes -------------------------------------------------------------------------

    async def _take(self, block: Block) -> Event | None:
        """The event that a block is; whatever else it says is dealt with here.

        Raises:
            _Lost: it is `bye`.
        """
        if block.retry is not None:
            self._retry = block.retry / 1000
        if block.event == "message" and block.data is not None:
            event = _event(block)
            return None if block.id and not self._advance(block.id) else event
        data = _object(block)
        if block.event == "gap":
            self._gap = Gap(data.get("after"), str(data.get("resumed")), str(data.get("reason")))
            if self._on_gap is None:
                raise GapError(self._gap)
            await self._pass_gap(self._gap)
            return None
        if block.event == "bye":
            raise self._ended(str(data.get("reason")))
        if block.id:
            self._advance(block.id)
            self._resumes = True
        if block.event == "ready":
            self._ready(data)
        elif block.event == "skipped":
            self.skipped += int(data.get("count", 0))
        return None

    def _ready(self, data: dict[str, Any]) -> None:
        heartbeat = data.get("heartbeat")
        if self._idle_timeout is not None:
            self._idle = self._idle_timeout
        elif isinstance(heartbeat, int | float):
            self._idle = SILENT_HEARTBEATS * heartbeat
        self._attempt, self._ready_at = 0, asyncio.get_running_loop().time()
        self._on_status(Status("open"))

    def _ended(self, reason: str) -> _Lost:
        """Why to come back. If this client's token has run out, nobody else comes back now, and it
        need not wait, unless it is given tokens that are about to."""
        lived = asyncio.get_running_loop().time() - (self._ready_at or 0.0)
        renewed = reason == "expired" and callable(self._token)
        return _Lost(reason, at_once=renewed and self._ready_at is not None and lived > BRIEF)

    async def _pass_gap(self, gap: Gap) -> None:
        """Go on behind the gap once the caller knows of it, and not if that fails."""
        told = self._on_gap(gap) if self._on_gap is not None else None
        if inspect.isawaitable(told):
            await told
        self.position, self._resumes, self._gap = gap.resumed, True, None

    def _advance(self, id_: str) -> bool:
        """Move the position to an id; whether that is ahead."""
        if self.position is not None:
            epoch, pos = _place(self.position)
            new_epoch, new_pos = _place(id_)
            if epoch == new_epoch and new_pos <= pos:
                return False
        self.position = id_
        return True

    # --- connections ------------------------------------------------------------------------

    async def _read(self) -> None:
        """Wait for more blocks."""
        if self._response is None:
            raise _Lost("not connected")
        try:
            async with asyncio.timeout(self._idle):
                chunk = await self._response.content.readany()
        except TimeoutError:
            raise _Lost(f"nothing came for {self._idle:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise _Lost(str(error) or type(error).__name__) from error
        if not chunk:
            raise _Lost("the connection ended")
        self._blocks.extend(self._parser.feed(chunk))

    async def _connect_again(self, lost: _Lost | None) -> None:
        """Connect until a server is ready."""
        while not self._closed.is_set():
            self._drop()
            if lost is not None:
                await self._pause(lost)
            try:
                async with asyncio.timeout(self._connect_timeout):
                    await self._connect()
                return
            except aiohttp.InvalidURL:
                raise
            except RuntimeError:
                if not self._closed.is_set():
                    raise  # else the session was closed with the stream
            except _Lost as again:
                lost = again
            except (aiohttp.ClientError, OSError) as error:  # a timeout is one as well
                lost = _Lost(str(error) or "no answer in time")
            self._attempt += 1

    async def _pause(self, lost: _Lost) -> None:
        delay = 0.0 if lost.at_once else backoff(self._retry, self._attempt, lost.wait)
        say = log.warning if self._attempt else log.info
        say("%s: %s; again in %.1f s", self._url, lost, delay)
        self._on_status(Status("waiting", str(lost), delay, self._attempt))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), delay)

    async def _connect(self) -> None:
        response = self._response = await self._request()
        if response.status == 401 and callable(self._token):
            response.close()  # what it gave may have run out since
            response = self._response = await self._request()
        if response.status != 200:
            raise await _refusal(response)
        if response.content_type != "text/event-stream":
            raise WireError(f"{self._url} answers with {response.content_type}")
        self._parser, self._idle, self._ready_at = Parser(), self._connect_timeout, None
        while self._ready_at is None:
            while not self._blocks:
                await self._read()
            if await self._take(self._blocks.popleft()) is not None:
                raise WireError("an event came before `ready`")

    async def _request(self) -> aiohttp.ClientResponse:
        if self._session is None:
            raise RuntimeError("open the stream with `async with`")
        headers, wanted = dict(self._headers), self._wanted
        if self._token is not None:
            token = self._token if isinstance(self._token, str) else await self._token()
            headers["Authorization"] = f"Bearer {token}"
        if self._resumes and self.position is not None:
            headers["Last-Event-ID"] = self.position
            wanted = {name: wanted[name] for name in ("channel", "mode")}
        query = urlencode(wanted, doseq=True)
        timeout = aiohttp.ClientTimeout(total=None)
        if len(query) > LONG_ADDRESS:
            return await self._session.post(
                self._url, json=wanted, headers=headers, timeout=timeout
            )
        return await self._session.get(f"{self._url}?{query}", headers=headers, timeout=timeout)

    def _drop(self) -> None:
        if self._response is not None:
            self._response.close()
        self._response = None
        self._blocks.clear()


connect = Stream
"""`async with connect(url, channels) as stream`: the arguments are those of `Stream`."""


def backoff(retry: float, attempt: int, least: float | None = None) -> float:
    """Seconds to wait: `retry`, doubled with each failed attempt up to `MAX_BACKOFF`, and up to a
    third more at random; `least`: what the answer asked for."""
    # A server that says 0 is not to be asked without a pause for ever.
    grown = min(max(retry, 0.001) * 2.0 ** min(attempt, 16), max(MAX_BACKOFF, retry))
    return max(grown * random.uniform(1, 1.33), least or 0.0)


def _object(block: Block) -> dict[str, Any]:
    """A block's data, which is an object or nothing."""
    try:
        data = json.loads(block.data) if block.data is not None else {}
    except ValueError as error:
        raise WireError(f"no JSON: {block.data:.80}") from error
    if not isinstance(data, dict):
        raise WireError(f"no object: {block.data:.80}")
    return data


def _event(block: Block) -> Event:
    body = _object(block)
    try:
        return Event(
            block.id or None,
            body["channel"],
            body["type"],
            body.get("key"),
            datetime.fromisoformat(body["at"]),
            body.get("message_id"),
            body["data"],
            block.data or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise WireError(f"no event: {block.data:.80}") from error


def _place(id_: str) -> tuple[str, int]:
    epoch, _, pos = id_.partition(".")
    return epoch, int(pos) if pos.isdecimal() else -1


async def _refusal(response: aiohttp.ClientResponse) -> Exception:
    status = response.status
    if status >= 500 or status in AGAIN:
        return _Lost(f"{status} {response.reason}", _seconds(response.headers.get("Retry-After")))
    try:
        problem = json.loads(await response.read())
    except ValueError:
        problem = None
    kinds: dict[int, type[ProblemError]] = {401: UnauthorizedError, 403: ForbiddenError}
    fields = problem if isinstance(problem, dict) else {"title": response.reason}
    return kinds.get(status, ProblemError)(status, fields)


def _seconds(after: str | None) -> float | None:
    """A `Retry-After` (RFC 9110, section 10.2.3): seconds, or a date."""
    if after is None or after.strip().isdecimal():
        return float(after) if after else None
    try:
        left: timedelta = parsedate_to_datetime(after) - datetime.now(UTC)
    except (TypeError, ValueError):  # TypeError: a date without a zone
        return None
    return max(0.0, left.total_seconds())

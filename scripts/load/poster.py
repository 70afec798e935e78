"""One keep-alive connection that posts events, and repeats until it knows the outcome."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

from scripts.load.options import Target
from scripts.load.wire import Answer, WireError

ANSWER_SECONDS = 30.0
PATIENCE = 60.0
"""Seconds for which a request is repeated, with the same message ids."""
FIRST_PAUSE = 0.1
LONGEST_PAUSE = 2.0


class RejectedError(Exception):
    """An answer that repeating does not change. `status`: of it."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"POST /api/events was answered {status}: {_sentence(body)}")
        self.status = status


class UncertainError(Exception):
    """It was repeated for long; whether it is committed is not known."""


class Poster:
    """`repeats`: how often a request was sent again, by reason, is counted in `faults`."""

    def __init__(self, target: Target, key: str, faults: dict[str, int]) -> None:
        self._target = target
        self._faults = faults
        self._head = (
            f"POST {target.prefix}/api/events HTTP/1.1\r\nHost: {target.host}\r\n"
            f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
            "User-Agent: tailrace-loadtest\r\nContent-Length: "
        )
        self._writer: asyncio.StreamWriter | None = None
        self._stream: asyncio.StreamReader | None = None

    async def post(self, body: bytes, patience: float = PATIENCE) -> list[str]:
        """Publish; the ids in the answer, once it is committed. Repeats for `patience` seconds.

        Raises:
            RejectedError: the server will not.
            UncertainError: it could not be found out.
        """
        loop = asyncio.get_running_loop()
        end, pause = loop.time() + patience, FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(ANSWER_SECONDS):
                    status, answer, after = await self._once(body)
            except (OSError, EOFError, TimeoutError, WireError) as error:
                self.abort()
                self._count(f"publish: {type(error).__name__}")
                after = None
            else:
                if status == 200:
                    return _ids(answer)
                if status != 429 and status < 500:
                    raise RejectedError(status, answer)
                self._count(f"publish answered {status}")
            if loop.time() > end:
                raise UncertainError
            await asyncio.sleep(pause if after is None else min(after, LONGEST_PAUSE))
            pause = min(pause * 2, LONGEST_PAUSE)

    def _count(self, what: str) -> None:
        self._faults[what] = self._faults.get(what, 0) + 1

    async def _once(self, body: bytes) -> tuple[int, bytes, float | None]:
        if self._writer is None or self._writer.is_closing():
            await self._connect()
        assert self._writer is not None
        assert self._stream is not None
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n".encode("latin-1") + body)
        answer, got = Answer(), b""
        while not answer.ended:
            data = await self._stream.read(65536)
            if not data:
                raise EOFError
            got += answer.feed(data)
        if answer.headers.get(b"connection", b"").lower() == b"close":
            self.abort()
        after = answer.headers.get(b"retry-after", b"")
        return answer.status, got, float(after) if after.isdigit() else None

    async def _connect(self) -> None:
        target = self._target
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            await asyncio.get_running_loop().sock_connect(sock, target.address)
            self._stream, self._writer = await asyncio.open_connection(
                sock=sock, ssl=target.tls, server_hostname=target.name if target.tls else None
            )
        except BaseException:
            sock.close()
            raise

    def abort(self) -> None:
        """Close the connection on the spot."""
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None


def _ids(answer: bytes) -> list[str]:
    try:
        return [str(it) for it in json.loads(answer)["ids"]]
    except (ValueError, KeyError, TypeError):
        raise RejectedError(200, b"an answer without ids") from None


def _sentence(body: bytes) -> str:
    """What a problem document says, or the beginning of what came."""
    try:
        found: Any = json.loads(body)
        return str(found.get("detail") or found.get("error") or found)[:300]
    except (ValueError, AttributeError):
        return body[:200].decode(errors="replace")

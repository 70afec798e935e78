"""Passwords: argon2id, in threads of their own, as one hash takes 64 MiB and a tenth of a second.

A bounded number waits for its turn: whoever sends passwords in bulk is told to come back, instead
of filling the memory of a server that has other things to do.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
import unicodedata
from base64 import b64encode
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from aiohttp import web
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from server.errors import UNAVAILABLE, ApiError

THREADS = 2
WAITING = 16
"""Hashes that may wait for a thread."""
RETRY_AFTER = 2
"""Seconds after which the full queue has been worked off."""

T = TypeVar("T")


class Passwords:
    """Hashes and verifies. `hashes` and `verifications` only grow."""

    def __init__(
        self,
        hasher: PasswordHasher | None = None,
        *,
        threads: int = THREADS,
        waiting: int = WAITING,
    ) -> None:
        self.hashes = 0
        self.verifications = 0
        self._hasher = hasher or PasswordHasher()
        self._dummy = _dummy(self._hasher)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="password")
        self._room = threading.BoundedSemaphore(threads + waiting)

    async def hash(self, password: str) -> str:
        """What is stored of a password.

        Raises:
            ApiError: 503, too many are waiting.
        """
        return await self._run(lambda: self._hash(password))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether `password` is the one that `stored` was made of.

        Without a stored hash (no such user, or one without a password) it takes as long: the time
        of an answer must not tell which addresses have an account.

        Raises:
            ApiError: 503, too many are waiting.
        """
        return await self._run(lambda: self._verify(stored, password))

    def needs_rehash(self, stored: str) -> bool:
        """Whether a verified hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(stored)

    def close(self) -> None:
        """Begin nothing any more; what runs ends by itself."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _hash(self, password: str) -> str:
        self.hashes += 1
        return self._hasher.hash(_bytes(password))

    def _verify(self, stored: str | None, password: str) -> bool:
        self.verifications += 1
        given = _bytes(password)
        try:
            self._hasher.verify(stored or self._dummy, given)
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError):
            # Somebody wrote nonsense into the table: refused, but no faster than anybody else.
            return stored is not None and self._verify(None, password)
        return stored is not None

    async def _run(self, work: Callable[[], T]) -> T:
        if not self._room.acquire(blocking=False):
            raise ApiError(
                UNAVAILABLE,
                "too many passwords are being checked",
                headers={"Retry-After": str(RETRY_AFTER)},
            )
        future: Future[T]
        try:
            future = self._executor.submit(work)
        except RuntimeError:  # closed
            self._room.release()
            raise ApiError(UNAVAILABLE, "the server is ending") from None
        # Of the thread's own future: it goes on when the request that waits for it is cancelled.
        future.add_done_callback(lambda _: self._room.release())
        return await asyncio.wrap_future(future)


def _bytes(password: str) -> bytes:
    """One form for what looks and is typed the same, whichever keyboard it came from."""
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")


def _dummy(hasher: PasswordHasher) -> str:
    """A hash that no password has, and that takes as long to verify as any other."""
    salt, digest = (
        b64encode(secrets.token_bytes(length)).rstrip(b"=").decode()
        for length in (hasher.salt_len, hasher.hash_len)
    )
    cost = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
    return f"$argon2id$v=19${cost}${salt}${digest}"


PASSWORDS = web.AppKey("passwords", Passwords)

"""Signed addresses: whoever has one may read one private file, until it expires.

Pure functions. Nothing is stored, so an address can't be taken back before its end, but by deleting
the file; a new TAILRACE_SECRET ends all of them.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode

from aiohttp import web

from server.errors import FORBIDDEN, ApiError

URL_KEY = web.AppKey("upload_url_key", bytes)


def derive(secret: str) -> bytes:
    """The signing key: of the server's secret, but of no use for anything else."""
    return hmac.digest(secret.encode("utf-8", "surrogatepass"), b"tailrace upload url v1", "sha256")


def sign(id_: str, expires: int, key: bytes) -> str:
    """The signature of a file's address that is good until `expires` (Unix time)."""
    made = hmac.digest(key, f"{id_}\n{expires}".encode(), "sha256")
    return urlsafe_b64encode(made).rstrip(b"=").decode()


def verify(id_: str, expires: int | None, signature: str | None, key: bytes, now: float) -> None:
    """Whether an address that has at least one of the two was signed by us and is still good.

    Raises:
        ApiError: 403. That it has expired is told only of what we signed.
    """
    if expires is None or signature is None:
        raise ApiError(FORBIDDEN, "a signed address needs both expires= and signature=")
    wanted = sign(id_, expires, key).encode()
    if not hmac.compare_digest(signature.encode("utf-8", "surrogatepass"), wanted):
        raise ApiError(FORBIDDEN, "the signature of this address is not valid")
    if expires <= now:
        raise ApiError(FORBIDDEN, "this address has expired")

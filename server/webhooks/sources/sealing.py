"""Secrets of sources as they lie in the database: encrypted with a key made of TAILRACE_SECRET.

`version (1 byte) | nonce (12) | AES-256-GCM ciphertext and tag`. The source's name and the row's id
are authenticated with it, so what was written for one row can't be read in another.
"""

from __future__ import annotations

import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

VERSION = b"\x01"
NONCE = 12
INFO = b"tailrace webhook source secrets v1"
"""Makes the key one of its own: the same setting signs cookies and tokens."""


class SealingError(Exception):
    """It can't be read: another TAILRACE_SECRET, another row, or damaged. Holds no secret."""


class Sealer:
    """Seals texts and opens them again; `secret` is TAILRACE_SECRET."""

    def __init__(self, secret: str) -> None:
        derived = HKDF(algorithm=SHA256(), length=32, salt=None, info=INFO)
        self._cipher = AESGCM(derived.derive(secret.encode("utf-8", "surrogatepass")))

    def seal(self, plain: str, source: str, row: str) -> bytes:
        """What may be stored of `plain` in this row of this source; never twice the same."""
        nonce = os.urandom(NONCE)
        return VERSION + nonce + self._cipher.encrypt(nonce, plain.encode(), _place(source, row))

    def open(self, sealed: bytes, source: str, row: str) -> str:
        """The text again.

        Raises:
            SealingError: it was not sealed with this key for this row, or has been changed.
        """
        if sealed[:1] != VERSION:
            msg = "sealed by another version of this server"
            raise SealingError(msg)
        nonce, rest = sealed[1 : 1 + NONCE], sealed[1 + NONCE :]
        try:
            return self._cipher.decrypt(nonce, rest, _place(source, row)).decode()
        except (InvalidTag, ValueError):
            # ValueError: too short to hold a nonce.
            msg = "not sealed with this TAILRACE_SECRET for this row"
            raise SealingError(msg) from None


def _place(source: str, row: str) -> bytes:
    """The version too; neither a name nor an id holds a NUL, so no two places are alike."""
    return b"\0".join((VERSION, source.encode(), row.encode()))

"""The name of a spool: who shares the directory shares its uploads, and the name."""

from __future__ import annotations

import secrets
from contextlib import suppress
from pathlib import Path

HOST = ".host"
"""The file with the name, in the spool."""
ROUTED = 6
"""Characters of the name that the ids of its uploads begin with."""


def host_of(directory: Path) -> str:
    """The name of the spool in this directory; the first who asks gives it one."""
    path = directory / HOST
    with suppress(FileNotFoundError):
        return path.read_text()
    made = directory / f"{HOST}-{secrets.token_hex(8)}"
    made.write_text(secrets.token_hex(16))
    try:
        with suppress(FileExistsError):
            # Never half-written: it comes under its name as a whole.
            path.hardlink_to(made)
    finally:
        made.unlink()
    return path.read_text()


def new_id(host: str) -> str:
    """An id for an upload, by which a balancer of several machines can tell whose it is."""
    return host[:ROUTED] + secrets.token_hex(16)[ROUTED:]

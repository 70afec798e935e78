"""The name of a spool: who shares the directory shares its uploads, and the name."""

from __future__ import annotations

import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

HOST = ".host"
"""The file with the name, in the spool."""
ROUTED = 6
"""Characters of the name that the ids of its uploads begin with."""
_NAME = re.compile(r"[0-9a-f]{32}")


def host_of(directory: Path) -> str:
    """The name of the spool in this directory; the first who asks gives it one.

    Raises:
        OSError: it can't be read or written.
    """
    path = directory / HOST
    while (name := _read(path)) is None:
        made = directory / f"{HOST}-{secrets.token_hex(8)}"
        try:
            with made.open("w") as file:
                file.write(secrets.token_hex(16))
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                # Never half-written: it comes under its name as a whole.
                path.hardlink_to(made)
        finally:
            made.unlink(missing_ok=True)
    return name


def _read(path: Path) -> str | None:
    """The name, if there is one. What is none is removed: disks lose bytes with their power."""
    try:
        name = path.read_text("ascii", "replace")
    except FileNotFoundError:
        return None
    if _NAME.fullmatch(name):
        return name
    path.unlink(missing_ok=True)
    return None


def new_id(host: str) -> str:
    """An id for an upload, by which a balancer of several machines can tell whose it is."""
    return host[:ROUTED] + secrets.token_hex(16)[ROUTED:]

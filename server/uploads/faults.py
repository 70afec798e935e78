"""What the local disk can't do, in the words of the stores: for the spool and the store alike."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from server.uploads.store import NoSpace, StoreError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def translated(what: str) -> Iterator[None]:
    """What the local disk can't do within.

    Raises:
        StoreError: `NoSpace` where it is full.
    """
    try:
        yield
    except OSError as error:
        kind = NoSpace if error.errno in FULL else StoreError
        msg = f"cannot {what}: {error}"
        raise kind(msg) from error

"""Log lines that anybody on the database can cause: told at once, then once a minute."""

from __future__ import annotations

import time

PERIOD = 60.0


class Seldom:
    """Counts what happens and says when it may be told."""

    def __init__(self) -> None:
        self._untold = 0
        self._at = float("-inf")

    def count(self) -> int:
        """Count one more; how many there are since the last telling, or 0: tell nothing now."""
        self._untold += 1
        now = time.monotonic()
        if now - self._at < PERIOD:
            return 0
        untold, self._untold, self._at = self._untold, 0, now
        return untold

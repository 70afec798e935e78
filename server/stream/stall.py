"""The write deadline: how long a client has taken nothing of what waits for it."""

from __future__ import annotations


class Stall:
    """Asked now and then; the clock starts with the first look that finds something waiting."""

    __slots__ = ("_since", "_taken")

    def __init__(self) -> None:
        self._since: float | None = None
        self._taken = 0

    def lasts(self, written: int, waiting: int, now: float, deadline: float) -> bool:
        """Whether nothing was taken for `deadline` seconds. `written`: bytes given so far;
        `waiting`: how many of them the client has not taken."""
        if waiting == 0:
            self._since = None
            return False
        taken = written - waiting
        if self._since is None or taken > self._taken:
            self._since, self._taken = now, taken
        return now - self._since >= deadline

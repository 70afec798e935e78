"""Which control messages are listened to: those of us, once each."""

from __future__ import annotations

import itertools
import json
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from server.log.control import MAX_AGE, Control, RefusedError, verify
from server.log.seldom import Seldom

log = logging.getLogger(__name__)

REMEMBERED = 10_000
"""Messages of the last minute of which a repeat is known."""


class Hearing:
    """Gives what control messages say to `obey(body)`, which may raise a ValueError.

    `refused`: messages that were not listened to.
    """

    def __init__(self, key: bytes, obey: Callable[[Mapping[str, Any]], None]) -> None:
        self._key = key
        self._obey = obey
        self._heard: dict[str, float] = {}
        self._refusals = Seldom()
        self.refused = 0

    def hear(self, payload: str) -> None:
        """Take a notification's messages."""
        try:
            messages = json.loads(payload)
            if not isinstance(messages, list):
                msg = "not a list"
                raise RefusedError(msg)
        except (ValueError, RecursionError, RefusedError) as error:
            self._refuse(error)
            return
        for message in messages:
            try:
                control = verify(message, self._key, time.time())
                self._once(control)
                self._obey(control.body)
            except (ValueError, RecursionError, RefusedError) as error:
                self._refuse(error)

    def _refuse(self, error: Exception) -> None:
        self.refused += 1
        if count := self._refusals.count():
            log.warning(
                "%d control messages were refused: %s (further ones are counted, and told once a"
                " minute; do all processes have the same TAILRACE_SECRET?)",
                count,
                error,
            )

    def _once(self, control: Control) -> None:
        """Refuse what was heard before."""
        heard, now = self._heard, time.time()
        if control.mark in heard:
            msg = "a repeat"
            raise RefusedError(msg)
        # In the order of arrival, which is nearly that of their times.
        for mark in list(itertools.takewhile(lambda mark: heard[mark] < now - MAX_AGE, heard)):
            del heard[mark]
        if len(heard) >= REMEMBERED:
            del heard[next(iter(heard))]
        heard[control.mark] = control.at

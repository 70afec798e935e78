"""Why a file is not taken: the one error that the pure rooms of uploads raise."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """What is wrong, for the door to choose its answer by."""

    EMPTY = "empty"
    """There are no bytes."""
    TYPE = "type"
    """The policy does not take this type, or the bytes are not what they are declared to be."""
    DAMAGED = "damaged"
    """The bytes are of the type, but cut off or broken, or hold what the type has no place for."""
    DIMENSIONS = "dimensions"
    """An image with too many pixels, or one that takes too much memory or time to check."""


class Refused(Exception):  # noqa: N818 - a verdict, not a fault of ours
    """A file is not taken; the message is a sentence for the client, without bytes of the file."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason

"""What a sample event is about."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Example:
    """What a sample event is to be about; other values make another event."""

    user_id: str = "user-1"
    credits: int = 100
    reference: str = "1"
    """Goes into the ids of the event, the payment and the subscription."""
    at: datetime = datetime(2026, 11, 22, 16, 4, 5, tzinfo=UTC)

    def when(self) -> str:
        """The time as ISO 8601 with a `Z`."""
        return self.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def seconds(self) -> int:
        """The time in Unix seconds."""
        return int(self.at.timestamp())

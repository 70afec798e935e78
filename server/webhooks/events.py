"""What `ops.webhooks` tells: every state of a delivery, as the database announces it."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from server.log.catalog import CATALOG

CHANNEL = "ops.webhooks"

State = Literal["pending", "done", "unhandled", "unmatched", "dead"]


class DeliveryTold(BaseModel):
    """A delivery without its headers and body."""

    model_config = ConfigDict(extra="forbid")

    id: str
    source: str
    message_id: str
    type: str
    key: str | None
    state: State
    attempts: int
    error: str | None
    event_at: datetime | None
    received_at: datetime
    due_at: datetime


class SourceTold(BaseModel):
    """A source, without its scheme and secrets. `removed`: it is no more."""

    model_config = ConfigDict(extra="forbid")

    name: str
    builtin: bool
    paused: bool
    channel: str | None
    removed: bool


WHAT = {
    "received": "A webhook was verified and stored",
    "pending": "A webhook's handler failed, or it is to run again",
    "done": "A webhook's effect is applied",
    "unhandled": "A webhook that nothing is to be done with",
    "unmatched": "A payment, refund or subscription that matches nobody here",
    "dead": "A webhook was given up",
}
for name, summary in WHAT.items():
    CATALOG.announced(f"webhook.{name}", CHANNEL, DeliveryTold, summary)
CATALOG.announced(
    "webhook.source", CHANNEL, SourceTold, "A source of webhooks, or its secrets, changed"
)

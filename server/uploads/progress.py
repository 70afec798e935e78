"""How far uploads are: told to their user's tabs while they run, and never kept."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from server.log.catalog import CATALOG
from server.log.ephemeral import Ephemeral
from server.uploads.owners import Owner

PERIOD = 0.2
"""Seconds between two messages of one upload that only say how far it is."""

Stage = Literal["receiving", "checking", "failed", "ready"]


class Progress(BaseModel):
    """An upload under way. `received` and `size` in bytes; `size` is the request's, where the
    file's own is not known before its end, and `null` where nothing is."""

    model_config = ConfigDict(extra="forbid")

    id: str
    name: str
    policy: str
    stage: Stage
    received: int
    size: int | None


class UploadRow(BaseModel):
    """A row of `uploads`, as its events show it."""

    model_config = ConfigDict(extra="forbid")

    id: str
    user_id: str | None
    policy: str
    visibility: Literal["public", "private"]
    state: Literal["receiving", "ready"]
    name: str
    type: str
    size: int
    sha256: str | None
    width: int | None
    height: int | None
    created_at: datetime
    ready_at: datetime | None
    expires_at: datetime | None


PROGRESS = CATALOG.ephemeral(
    "upload.progress", "user.*.uploads", Progress, "How far an upload of yours is"
)
CATALOG.watched("user.*.uploads", UploadRow, "Your uploads")


class Meter:
    """Tells of one upload, and counts its end in `ends`. A user's only: keys have no channel."""

    def __init__(
        self,
        ephemeral: Ephemeral,
        owner: Owner,
        id_: str,
        *,
        name: str,
        policy: str,
        size: int | None,
        ends: Counter[str],
    ) -> None:
        self._ephemeral = ephemeral
        self._ends = ends
        self._channel = f"user.{owner.user_id}.uploads" if owner.user_id else None
        self._id = id_
        self._name = name
        self._policy = policy
        self._size = size
        self._told = 0.0

    def tell(self, stage: Stage, received: int) -> None:
        """It is so far; a mere advance is told at most once in `PERIOD`."""
        if stage in ("ready", "failed"):
            self._ends[stage] += 1
        if self._channel is None:
            return
        now = asyncio.get_running_loop().time()
        if stage == "receiving" and now - self._told < PERIOD:
            return
        self._told = now
        data = Progress(
            id=self._id,
            name=self._name,
            policy=self._policy,
            stage=stage,
            received=received,
            size=self._size,
        )
        self._ephemeral.post(PROGRESS.body(data, channel=self._channel, key=self._id))

"""What `tailrace.watch()` tells of this room's tables: their rows, with the columns' own names."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from server.log.catalog import CATALOG


class Row(BaseModel):
    """A row as Postgres' `to_json()` writes it."""

    model_config = ConfigDict(extra="forbid")

    id: int


class PostRow(Row):
    """A row of `posts`."""

    author_id: str
    title: str
    content: str
    created_at: datetime
    updated_at: datetime


class NotificationRow(Row):
    """A row of `notifications`."""

    user_id: str
    title: str
    body: str
    read_at: datetime | None
    created_at: datetime


class ContactRow(Row):
    """The columns of `contacts` that are told."""

    name: str
    email: str
    message: str
    created_at: datetime


CATALOG.watched("posts", PostRow, "A post")
CATALOG.watched("user.*.notifications", NotificationRow, "A user's notification")
CATALOG.watched("table.public.contacts", ContactRow, "A message of the contact form")

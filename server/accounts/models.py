"""What the account routes take and answer: better-auth's names and shapes."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

import asyncpg
from pydantic import Field, RootModel

from server.openapi.fields import Email, Input, Line, Moment, Output

MIN_PASSWORD = 8
MAX_PASSWORD = 128
MAX_NAME = 200

Name = Annotated[Line, Field(min_length=1, max_length=MAX_NAME, examples=["Ada"])]
Password = Annotated[
    str,
    Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD, examples=["correct horse battery"]),
]
Given = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD)]
"""A password as somebody remembers it: only right or wrong."""
Callback = Annotated[
    Line | None,
    Field(None, alias="callbackURL", max_length=2048, description="Taken, and not used."),
]


class SignUp(Input):
    """A new account."""

    name: Name
    email: Email
    password: Password
    image: Annotated[Line, Field(max_length=2048)] | None = None
    callback_url: Callback
    remember_me: bool = Field(True, description="False: the cookie ends with the browser.")


class SignIn(Input):
    """An address and its password."""

    email: Email
    password: Given
    callback_url: Callback
    remember_me: bool = Field(True, description="False: the cookie ends with the browser.")


class ChangePassword(Input):
    """The old password and the new one."""

    current_password: Given
    new_password: Password
    revoke_other_sessions: bool = False


class RevokeSession(Input):
    """Which session: its `token` as `list-sessions` tells it."""

    token: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+$")]


class User(Output):
    """An account, as its owner sees it."""

    id: str
    name: str
    email: str
    email_verified: bool
    image: str | None
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `users`."""
        return cls(**{name: row[name] for name in cls.model_fields})


USER = "id, name, email, email_verified, image, role, created_at, updated_at"
"""The columns of `users` that these models are made of."""


class Account(User):
    """The signed-in user."""

    role: str


class Session(Output):
    """One sign-in. `token` is a handle for `revoke-session`, never the secret itself."""

    id: str
    user_id: str
    token: str
    expires_at: Moment
    created_at: Moment
    updated_at: Moment
    ip_address: str | None
    user_agent: str | None

    @classmethod
    def of(cls, row: asyncpg.Record) -> Self:
        """From a row of `sessions`."""
        values: dict[str, Any] = dict(row)
        return cls(**values, token=row["id"])


class Current(Output):
    """The session of a request, and whose it is."""

    session: Session
    user: Account


class CurrentOrNull(RootModel[Current | None]):
    """The session, or `null` for nobody."""


class SessionList(RootModel[list[Session]]):
    """A user's sessions, the newest first."""


class SignedUp(Output):
    """Signed in, too: `token` for programs that keep no cookies."""

    token: str
    user: User


class SignedIn(SignedUp):
    """`redirect` is always false: where to go is the page's own business."""

    redirect: Literal[False] = False


class PasswordChanged(Output):
    """`token` is new when the other sessions were revoked, else null."""

    token: str | None
    user: User


class Success(Output):
    """It is done."""

    success: Literal[True] = True


class Status(Output):
    """It is done."""

    status: Literal[True] = True

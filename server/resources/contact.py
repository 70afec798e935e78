"""`POST /api/contact`: what a visitor writes is stored, and the row is the event.

Admins see it at once on the channel `table.public.contacts`. If there is a mail server, the
worker of server/resources/mail.py hands it over; the visitor never waits for that.
"""

from __future__ import annotations

from typing import Annotated

from aiohttp import web
from pydantic import Field

from server.keys import POOL
from server.openapi.fields import Email, Input, Line, Text
from server.openapi.route import Route, route
from server.openapi.shapes import Success
from server.resources.mail import MAILER

_STORE = "INSERT INTO public.contacts (name, email, message) VALUES ($1, $2, $3)"


class Contact(Input):
    """What the contact form sends."""

    name: Annotated[Line, Field(min_length=1, max_length=200)]
    email: Email
    message: Annotated[Text, Field(min_length=10, max_length=10_000)]


@route(
    "POST",
    "/api/contact",
    summary="Send a message to the operators",
    tag="Contact",
    answers={200: Success},
    rate="forms",
)
async def contact(request: web.Request, body: Contact) -> Success:
    """Answered when the message is stored."""
    await request.app[POOL].execute(_STORE, body.name, body.email, body.message)
    mailer = request.app.get(MAILER)
    if mailer is not None:
        mailer.wake()
    return Success()


ROUTES: tuple[Route, ...] = (contact,)

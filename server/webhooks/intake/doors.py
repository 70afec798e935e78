"""The doors: where providers deliver. Verified on the raw bytes, committed, then answered."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from pydantic import Field, RootModel

from server.errors import (
    BAD_SIGNATURE,
    INVALID,
    NO_SIGNATURE,
    NOT_FOUND,
    TOO_LARGE,
    UNAVAILABLE,
    ApiError,
)
from server.openapi.fields import Input, Output
from server.openapi.reading import read_body
from server.openapi.route import Route, route
from server.webhooks.intake.deliveries import Delivery
from server.webhooks.intake.intake import INTAKE
from server.webhooks.providers import Provider
from server.webhooks.providers.envelope import BodyError
from server.webhooks.signing.signatures import BadSignatureError, NoSignatureError, plain
from server.webhooks.sources.cache import ADDRESSES, SOURCES

log = logging.getLogger(__name__)

# Made once: json.dumps makes an encoder for each call that differs from its defaults.
_encode = json.JSONEncoder(ensure_ascii=False).encode

MAX_BODY = 1024 * 1024
"""Bytes of a delivery's body."""
MAX_HEADERS = 16 * 1024
"""Characters of headers that are kept of a delivery."""
SECRET_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
"""Not kept: they are meant for us, or for a proxy, not for whoever looks at a delivery."""

CLOSED = {"Retry-After": "60"}
"""Until an operator has done something."""


class Received(Output):
    """The delivery is stored. One that comes again has the first one's id."""

    received: bool = Field(description="Always true.", json_schema_extra={"const": True})
    id: str


class Payload(RootModel[Any]):
    """An event as its provider writes it: any JSON. Its signature is over these very bytes."""


def door(provider: Provider, secrets: Sequence[str]) -> Route:
    """The route of a provider; without `secrets` it is closed."""

    async def deliver(request: web.Request) -> Received:
        """Answers after the commit. Repeat on 408, 429 and 5xx, with the same id."""
        if not secrets:
            raise ApiError(NOT_FOUND, f"no secret is set for {provider.name}")
        return await receive(request, provider, secrets)

    deliver.__name__ = f"deliver_{provider.name}"
    return route(
        "POST",
        provider.path,
        summary=f"Webhooks of {provider.name}",
        tag="Webhooks",
        answers={200: Received},
        errors=(NO_SIGNATURE, BAD_SIGNATURE, NOT_FOUND, UNAVAILABLE),
        max_body=MAX_BODY,
        body=Payload,
    )(deliver)


class DoorPath(Input):
    """Whose door."""

    source: str = Field(max_length=200, examples=["acme"])


@route(
    "POST",
    # Not where the API is: there a POST is 405, or the API's own.
    f"/api/webhooks/{{source:(?!(?:{'|'.join(ADDRESSES)})$)[^/]+}}",
    summary="Webhooks of a source of your own",
    tag="Webhooks",
    answers={200: Received},
    errors=(NO_SIGNATURE, BAD_SIGNATURE, NOT_FOUND, UNAVAILABLE),
    max_body=MAX_BODY,
    body=Payload,
)
async def deliver_source(request: web.Request, path: DoorPath) -> Received:
    """Answers after the commit. Repeat on 408, 429 and 5xx, with the same id."""
    source = await request.app[SOURCES].find(path.source)
    if source is None:
        raise ApiError(NOT_FOUND, "there is no such source")
    now = time.time()
    if source.fault(now) is not None or source.provider is None:
        # Why is no business of a stranger's: the log says it, and the API `open: false`.
        raise ApiError(UNAVAILABLE, "this door is closed for now", headers=CLOSED)
    return await receive(request, source.provider, source.keys(now))


async def receive(request: web.Request, provider: Provider, secrets: Sequence[str]) -> Received:
    """Verify and store a delivery.

    Raises:
        ApiError: 400 without a signature or for a body that is not JSON, 401 for a wrong one, 408,
            413, 415, and 503 when it can't be stored now.
    """
    intake = request.app[INTAKE]
    with intake.reading(_size(request.content_length)):
        body = await read_body(request, MAX_BODY)
    headers = plain(request.headers.items())
    try:
        signed = provider.scheme.verify(body, headers, secrets, time.time())
        envelope = provider.read(body, headers, signed)
    except (NoSignatureError, BadSignatureError, BodyError) as error:
        intake.refused += 1
        raise _refusal(provider, error) from None
    delivery = Delivery(
        provider.name,
        envelope.id,
        envelope.type,
        envelope.key,
        envelope.at,
        kept(headers),
        body,
    )
    stored = await intake.submit(delivery)
    return Received(received=True, id=stored.id)


def _refusal(provider: Provider, error: Exception) -> ApiError:
    if isinstance(error, NoSignatureError):
        return ApiError(NO_SIGNATURE, str(error))
    if isinstance(error, BadSignatureError):
        log.info("a delivery of %s was refused: %s", provider.name, error)
        return ApiError(BAD_SIGNATURE)
    return ApiError(INVALID, str(error))


def _size(length: int | None) -> int:
    """How many bytes a body may have, before it is read.

    Raises:
        ApiError: 413.
    """
    if length is None:
        return MAX_BODY
    if length > MAX_BODY:
        raise ApiError(TOO_LARGE, f"a delivery has at most {MAX_BODY} bytes")
    return length


def kept(headers: Mapping[str, str]) -> str:
    """The headers of a delivery as JSON, without what is secret and what is beyond all measure."""
    found: dict[str, str] = {}
    size = 0
    for name, value in headers.items():
        size += len(name) + len(value)
        if name not in SECRET_HEADERS and size <= MAX_HEADERS:
            # aiohttp hands bytes that are no UTF-8 on as surrogates, which Postgres has no place
            # for; nor has it one for NUL.
            clean = value if value.isascii() else value.encode(errors="replace").decode()
            found[name] = clean.replace("\0", "")
    return _encode(found)

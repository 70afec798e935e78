"""Sources that an admin creates: Standard Webhooks or an HMAC, with a JSON body of any shape."""

from __future__ import annotations

from typing import Any

from server.webhooks.providers.envelope import (
    Envelope,
    body_id,
    first_text,
    member,
    moment,
    parse,
    type_name,
)
from server.webhooks.providers.provider import Headers, Provider
from server.webhooks.providers.samples import generic as samples
from server.webhooks.signing.signatures import Scheme, Signed


def read(body: bytes, headers: Headers, signed: Signed) -> Envelope:
    """By the standard `{type, timestamp, data}`; where there is no `data`, it is the whole body.

    Without an id of the message it is the body's hash: an `id` in the body may be the id of a thing
    that many events tell of. Raises BodyError: it is not JSON.
    """
    del headers
    value = parse(body)
    inner = member(value, "data")
    return Envelope(
        id=signed.id or body_id(body),
        type=type_name(first_text(member(value, "type"), member(value, "event"))),
        at=moment(member(value, "timestamp")),
        key=first_text(*(_name(member(inner, name)) for name in ("customer_id", "user_id", "id"))),
        data=value if inner is None else inner,
    )


def _name(value: Any) -> Any:
    """An id that is a number, as a text; `True` is none."""
    return str(value) if type(value) is int else value


def source(name: str, scheme: Scheme) -> Provider:
    """The provider of a source that an admin has created under this name."""
    return Provider(
        name=name,
        path=f"/api/webhooks/{name}",
        setting=None,
        scheme=scheme,
        read=read,
        types=samples.TYPES,
        sample=samples.sample,
    )

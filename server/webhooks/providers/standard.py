"""Sources that an admin creates: Standard Webhooks or an HMAC, with a JSON body of any shape."""

from __future__ import annotations

from server.webhooks.envelope import (
    Envelope,
    body_id,
    first_text,
    member,
    moment,
    parse,
    type_name,
)
from server.webhooks.providers.provider import Headers, Provider
from server.webhooks.samples import generic as samples
from server.webhooks.signatures import Scheme, Signed


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
        key=first_text(member(inner, "customer_id"), member(inner, "user_id"), member(inner, "id")),
        data=value if inner is None else inner,
    )


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

"""GitHub: the type and the id stand in headers, which its signature does not cover.

A redelivery has the id of the first delivery. Who has seen a delivery can send it again under
another id, at any time: what handlers do with GitHub's events must bear repetition.
"""

from __future__ import annotations

from server.webhooks.providers.envelope import (
    Envelope,
    body_id,
    first_text,
    member,
    parse,
    type_name,
)
from server.webhooks.providers.provider import Headers, Provider
from server.webhooks.providers.samples import github as samples
from server.webhooks.signing.schemes import HmacHeader
from server.webhooks.signing.signatures import Signed


def read(body: bytes, headers: Headers, signed: Signed) -> Envelope:
    """What is stored of a body; raises BodyError when it is not JSON.

    The hook's content type has to be `application/json`: GitHub's other choice is a form.
    """
    value = parse(body)
    event = type_name(headers.get("x-github-event"))
    action = member(value, "action")
    named = type_name(f"{event}.{action}") if isinstance(action, str) else event
    return Envelope(
        id=signed.id or body_id(body),
        # The action belongs to it: issues.opened, issues.closed.
        type=named if named != "unknown" else event,
        at=None,
        key=first_text(
            member(value, "repository", "full_name"), member(value, "organization", "login")
        ),
        data=value,
    )


GITHUB = Provider(
    name="github",
    path="/api/webhooks/github",
    setting="github_webhook_secret",
    scheme=HmacHeader(
        header="x-hub-signature-256", prefix="sha256=", id_header="x-github-delivery"
    ),
    read=read,
    types=samples.TYPES,
    sample=samples.sample,
    headers=samples.headers,
)

"""A body as Standard Webhooks advises it, of any type."""

from __future__ import annotations

import json

from server.webhooks.providers.samples.example import Example

TYPES = ("contact.created",)


def sample(type_: str, example: Example) -> bytes:
    """An event about a contact, whatever its type is called."""
    data = {"id": f"contact_{example.reference}", "user_id": example.user_id}
    event = {"type": type_, "timestamp": example.when(), "data": data}
    return json.dumps(event, separators=(",", ":")).encode()

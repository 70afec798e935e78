"""Bodies as GitHub sends them, for `tailrace webhooks send` and the tests."""

from __future__ import annotations

import json

from server.webhooks.providers.samples.example import Example

TYPES = ("ping", "push", "issues.opened")


def sample(type_: str, example: Example) -> bytes:
    """A body that goes with `headers(type_)`."""
    person = {"login": example.user_id, "id": 1, "type": "User"}
    common = {
        "repository": {"id": 1, "name": "demo", "full_name": "octo/demo", "private": False},
        "sender": person,
    }
    if type_ == "ping":
        more = {"zen": "Keep it logically awesome.", "hook_id": 1, "hook": {"type": "Repository"}}
    elif type_ == "push":
        commit = {"id": example.reference, "message": "Sample", "timestamp": example.when()}
        more = {"ref": "refs/heads/main", "after": example.reference, "commits": [commit]}
    elif type_ == "issues.opened":
        issue = {"number": 1, "title": f"Sample {example.reference}", "user": person}
        more = {"action": "opened", "issue": issue | {"created_at": example.when()}}
    else:
        msg = f"no sample of {type_}: there are {', '.join(TYPES)}"
        raise ValueError(msg)
    return json.dumps(common | more).encode()


def headers(type_: str) -> dict[str, str]:
    """What tells the type beside the body."""
    return {"x-github-event": type_.partition(".")[0], "content-type": "application/json"}

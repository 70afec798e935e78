"""Admins who make sources, and the senders that they are for, who sign without our code."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
import uuid
from base64 import b64encode
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook

from tests.served import BEARER, Served

BODY = json.dumps({"type": "contact.created", "data": {"id": "c1", "user_id": "u1"}}).encode()
STANDARD = {"kind": "standard"}
SLACK = {
    "kind": "hmac",
    "header": "X-Slack-Signature",
    "prefix": "v0=",
    "timestamp_header": "X-Slack-Request-Timestamp",
    "template": "v0:{timestamp}:{body}",
}
SHOPIFY = {
    "kind": "hmac",
    "header": "X-Shopify-Hmac-Sha256",
    "encoding": "base64",
    "id_header": "X-Shopify-Webhook-Id",
}


def by_standard(secret: str, body: bytes = BODY) -> dict[str, str]:
    """As the library of Standard Webhooks signs."""
    name, now = f"msg_{uuid.uuid4().hex}", datetime.now(UTC)
    return {
        "webhook-id": name,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(name, now, body.decode()),
    }


def by_slack(secret: str, body: bytes = BODY) -> dict[str, str]:
    """As https://docs.slack.dev tells it."""
    at = str(int(time.time()))
    base = f"v0:{at}:".encode() + body
    digest = hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()
    return {"X-Slack-Signature": f"v0={digest}", "X-Slack-Request-Timestamp": at}


def by_shopify(secret: str, body: bytes = BODY) -> dict[str, str]:
    """As https://shopify.dev tells it."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return {
        "X-Shopify-Hmac-Sha256": b64encode(digest).decode(),
        "X-Shopify-Webhook-Id": str(uuid.uuid4()),
    }


class Caller:
    """Calls the API of one server, by default with the operator's own key."""

    def __init__(self, client: httpx.AsyncClient, server: Served) -> None:
        self.client = client
        self.server = server
        self.heard: list[str] = []
        """Every answer's text."""

    async def call(
        self, method: str, path: str, body: Any = None, token: str | None = None
    ) -> httpx.Response:
        """`path`: what follows `/api/webhooks/sources`."""
        headers = BEARER if token is None else {"Authorization": f"Bearer {token}"}
        url = f"{self.server.url}/api/webhooks/sources{path}"
        answer = await self.client.request(method, url, json=body, headers=headers)
        self.heard.append(answer.text)
        return answer

    async def make(self, name: str = "acme", scheme: Any = STANDARD, **more: Any) -> Any:
        """A new source; what the answer tells of it."""
        answer = await self.call("POST", "", {"name": name, "scheme": scheme} | more)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def rotate(self, name: str = "acme", **more: Any) -> Any:
        """A further secret."""
        answer = await self.call("POST", f"/{name}/secrets", more)
        assert answer.status_code == 201, answer.text
        return answer.json()

    async def told(self, name: str = "acme") -> Any:
        """A source as it is now."""
        answer = await self.call("GET", f"/{name}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def deliver(
        self, headers: dict[str, str], body: bytes = BODY, name: str = "acme"
    ) -> httpx.Response:
        """As the sender does it."""
        url = f"{self.server.url}/api/webhooks/{name}"
        answer = await self.client.post(url, content=body, headers=headers)
        self.heard.append(answer.text)
        return answer

    async def status(self, secret: str, name: str = "acme") -> int:
        """What is answered to a delivery of Standard Webhooks by this secret."""
        return (await self.deliver(by_standard(secret), name=name)).status_code

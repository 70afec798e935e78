"""Which requests are counted together, and how many of them are let through.

A route names its policy. Public doors are counted by client address, a signed-in user's writes by
account, and whatever comes with an API key by that key alone, at the key's own rate.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from aiohttp import web

from server.auth.principal import Principal
from server.errors import RATE, ApiError
from server.guard.address import client_address, limit_key
from server.guard.limiter import Limiter
from server.guard.policy import Policy, Verdict
from server.keys import SETTINGS
from server.settings import Settings

LIMITER = web.AppKey("limiter", Limiter)
POLICIES: web.AppKey[dict[str, Policy]] = web.AppKey("policies", dict)
VERDICT = web.RequestKey("verdict", Verdict)


def policies(settings: Settings) -> dict[str, Policy]:
    """The policies that routes name, with the numbers of the settings."""
    return {
        "forms": Policy("forms", *settings.rate_forms),
        "auth": Policy("auth", *settings.rate_auth),
        "writes": Policy("writes", *settings.rate_writes),
    }


async def charge(request: web.Request, name: str | None, who: Principal | None) -> None:
    """Count this request; whatever is answered then tells how many are left.

    Raises:
        ApiError: 429 when there have been too many.
    """
    if request.app[SETTINGS].limits == "off":
        return
    if who is not None and who.kind == "key":
        if who.rate is None:
            return  # the bootstrap key: the operator's own
        policy, key = Policy("key", *who.rate), f"key:{who.key_id}"
    elif name is None:
        return
    else:
        policy = request.app[POLICIES][name]
        by_account = name == "writes" and who is not None and who.user_id is not None
        key = f"user:{who.user_id}" if by_account and who else address_of(request)
    verdict = await request.app[LIMITER].hit(policy, f"{policy.name}:{key}")
    request[VERDICT] = verdict
    if not verdict.allowed:
        raise ApiError(RATE, more={"resetAt": _iso(verdict.reset_at)})


def address_of(request: web.Request) -> str:
    """What a client is counted by: its address, or its IPv6 network."""
    return limit_key(client_address(request, request.app[SETTINGS].trusted_proxies))


def tell_rate(request: web.Request, response: web.StreamResponse) -> None:
    """Before the headers of an answer go out: its RateLimit fields, on errors as well."""
    verdict = request.get(VERDICT)
    if verdict is not None and verdict.counted:
        response.headers.update(verdict.headers(time.time()))


def _iso(moment: float) -> str:
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")

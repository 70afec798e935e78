"""The contact form: stored, and live for admins."""

from __future__ import annotations

from typing import Any

from server.db.pool import Database
from server.keys import POOL
from tests.resources.calls import call
from tests.served import Served, served

PATH = "/api/contact"
GOOD = {"name": "Ada", "email": "ada@example.com", "message": "It works, thank you."}


async def test_a_message_is_stored(server: Served) -> None:
    answer = await call(server, "POST", PATH, GOOD)
    assert (answer.status, answer.json) == (200, {"success": True})
    row = await server.app[POOL].fetchrow("SELECT name, email, message FROM contacts")
    assert row is not None
    assert dict(row.items()) == GOOD


async def test_admins_see_it_live_and_others_do_not(server: Served) -> None:
    _, admin = await server.sign_in("admin")
    _, user = await server.sign_in()
    channel = "table.public.contacts"
    stream, _ = await server.live(channel, headers={"Authorization": f"Bearer {admin}"})
    refused = await server.open(channel, headers={"Authorization": f"Bearer {user}"})
    assert refused.status == 403
    await call(server, "POST", PATH, GOOD)
    event = (await stream.named(None)).data
    assert event["type"] == "insert"
    assert event["data"]["new"].items() >= GOOD.items()


async def test_every_fault_is_told(server: Served) -> None:
    bad = {"name": "", "email": "no", "message": "short", "extra": 1}
    answer = await call(server, "POST", PATH, bad)
    assert (answer.status, answer.json["error"]) == (400, "Invalid input")
    assert sorted(path for path, _ in answer.issues) == [
        ["email"],
        ["extra"],
        ["message"],
        ["name"],
    ]


async def test_the_limits_are_exact(server: Served) -> None:
    cases: list[tuple[dict[str, Any], int]] = [
        ({"name": "n" * 200}, 200),
        ({"name": "n" * 201}, 400),
        ({"name": "a\nb"}, 400),
        ({"name": None}, 400),
        ({"message": "m" * 10_000}, 200),
        ({"message": "m" * 10_001}, 400),
        ({"message": "two\nlines\tand 𝄞"}, 200),
        ({"email": "a" * 243 + "@example.io"}, 200),
        ({"email": "a" * 244 + "@example.io"}, 400),
        ({"email": "a@b.co\r\nBcc: c@d.co"}, 400),
    ]
    for change, status in cases:
        answer = await call(server, "POST", PATH, GOOD | change)
        assert answer.status == status, (change, answer.body)


async def test_too_many_from_one_address_are_refused(clean: Database) -> None:
    async with served(clean, rate_forms="2/60s") as server:
        answers = [await call(server, "POST", PATH, GOOD) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[2].json["error"] == "Too many requests"
        assert answers[2].json["resetAt"].endswith("Z")
        assert await server.app[POOL].fetchval("SELECT count(*) FROM contacts") == 2

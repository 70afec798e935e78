"""The signed-in user."""

from __future__ import annotations

from server.keys import POOL
from tests.resources.calls import call, cookie
from tests.served import KEY, Served

PATH = "/api/user/profile"


async def test_it_is_the_signed_in_user_with_their_credits(server: Served) -> None:
    user, token = await server.sign_in()
    await server.app[POOL].execute("UPDATE users SET credits_total = 7, email = 'ada@example.com'")
    answer = await call(server, "GET", PATH, Cookie=cookie(token))
    found = answer.json["user"]
    assert answer.status == 200
    assert found.pop("createdAt") == found.pop("updatedAt")
    assert answer.json == {"user": answer.json["user"]}
    assert found == {
        "id": user,
        "name": "U",
        "email": "ada@example.com",
        "emailVerified": False,
        "image": None,
        "role": "user",
        "creditsTotal": 7,
    }
    assert answer.headers["cache-control"] == "no-store"


async def test_strangers_are_unauthorized(server: Served) -> None:
    _, token = await server.sign_in()
    attempts: list[dict[str, str]] = [
        {},
        {"Cookie": cookie("trs_forged")},
        {"Cookie": cookie(token[:-1])},
    ]
    for headers in attempts:
        answer = await call(server, "GET", PATH, headers=headers)
        assert (answer.status, answer.json["error"]) == (401, "Unauthorized")


async def test_an_expired_session_is_a_strangers(server: Served) -> None:
    _, token = await server.sign_in()
    await server.app[POOL].execute("UPDATE sessions SET expires_at = now()")
    assert (await call(server, "GET", PATH, Cookie=cookie(token))).status == 401


async def test_an_api_key_is_no_user(server: Served) -> None:
    assert (await call(server, "GET", PATH, token=KEY)).status == 403

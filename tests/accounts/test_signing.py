from __future__ import annotations

import asyncio
from typing import Any

import pytest
from argon2 import PasswordHasher

from server.auth.passwords import Passwords
from server.db.pool import Database
from tests.accounts.serving import ADA, COOKIE, PASSWORD, Accounts, accounts, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="package")

SIGN_UP = "/api/auth/sign-up/email"
SIGN_IN = "/api/auth/sign-in/email"


async def test_signing_up_signs_in_with_one_cookie(server: Accounts) -> None:
    client = server.client()
    answer = await client.post(SIGN_UP, json=ADA | {"email": "Ada@Example.com"})
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"token", "user"}
    user = {"id", "name", "email", "emailVerified", "image", "createdAt", "updatedAt"}
    assert set(body["user"]) == user
    assert body["user"]["email"] == "ada@example.com"
    assert body["user"]["emailVerified"] is False
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie.startswith(f"{COOKIE}={body['token']};")
    assert set(cookie.split("; ")[1:]) == {"HttpOnly", "Max-Age=604800", "Path=/", "SameSite=Lax"}
    session = (await client.get("/api/auth/get-session")).json()
    assert session["user"]["id"] == body["user"]["id"]
    assert session["user"]["role"] == "user"


async def test_what_better_auths_client_sends_is_taken(server: Accounts) -> None:
    more = {"image": "https://example.com/a.png", "callbackURL": "/home", "rememberMe": True}
    answer = await server.client().post(SIGN_UP, json=ADA | more)
    assert answer.json()["user"]["image"] == more["image"]
    answer = await sign_in(server.client(), callbackURL="/home", rememberMe=True)
    assert answer.json()["redirect"] is False
    assert answer.json()["user"]["email"] == ADA["email"]


async def test_an_address_that_is_taken_is_422(server: Accounts) -> None:
    await server.ada()
    answer = await server.client().post(SIGN_UP, json=ADA | {"email": "ADA@example.com"})
    assert answer.status_code == 422
    assert answer.json()["error"] == "Unprocessable entity"
    assert answer.json()["code"].startswith("USER_ALREADY_EXISTS")
    assert "set-cookie" not in answer.headers


async def test_of_two_at_once_one_gets_the_address(server: Accounts) -> None:
    client = server.client()
    answers = await asyncio.gather(*(client.post(SIGN_UP, json=ADA) for _ in range(5)))
    assert sorted(answer.status_code for answer in answers) == [200, 422, 422, 422, 422]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"password": "seven77"}, "password"),
        ({"password": "x" * 129}, "password"),
        ({"password": "pass\ud800word"}, "password"),
        ({"email": "ada"}, "email"),
        ({"email": "a" * 250 + "@example.com"}, "email"),
        ({"name": ""}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"name": None}, "name"),
        ({"image": "x" * 2049}, "image"),
        ({"callbackURL": "x" * 2049}, "callbackURL"),
        ({"role": "admin"}, "role"),
    ],
)
async def test_bad_fields_are_400_with_their_path(
    server: Accounts, change: dict[str, Any], path: str
) -> None:
    import json

    # As bytes: httpx would not send a lone surrogate.
    answer = await server.client(Content_Type="application/json").post(
        SIGN_UP, content=json.dumps(ADA | change)
    )
    assert answer.status_code == 400
    assert [issue["path"] for issue in answer.json()["issues"]] == [[path]]


async def test_a_wrong_password_and_an_unknown_address_are_answered_alike(
    server: Accounts,
) -> None:
    await server.ada()
    wrong = await sign_in(server.client(), password="wrong horse")
    unknown = await sign_in(server.client(), email="nobody@example.com")
    for answer in (wrong, unknown):
        assert answer.status_code == 401
        assert answer.json()["error"] == "Invalid email or password"
        assert "set-cookie" not in answer.headers
    assert {**wrong.json(), "request_id": ""} == {**unknown.json(), "request_id": ""}


async def test_an_unknown_address_costs_as_many_verifications_as_a_known_one(
    server: Accounts,
) -> None:
    await server.ada()
    await server.sql("INSERT INTO users (name, email) VALUES ('SQL', 'sql@example.com')")
    for email in (ADA["email"], "nobody@example.com", "sql@example.com"):
        before = server.passwords.verifications
        assert (await sign_in(server.client(), email=email, password="wrong")).status_code == 401
        assert server.passwords.verifications == before + 1


async def test_a_session_for_this_browser_only(server: Accounts) -> None:
    await server.ada()
    answer = await sign_in(server.client(), rememberMe=False)
    (cookie,) = answer.headers.get_list("set-cookie")
    assert "Max-Age" not in cookie
    assert "HttpOnly" in cookie
    left = "SELECT max(created_at) + interval '1 day' = min(expires_at) FROM sessions"
    assert await server.sql(left + " WHERE expires_at < now() + interval '2 days'")


async def test_signing_out_ends_the_session_and_the_cookie(server: Accounts) -> None:
    client = await server.ada()
    token = client.cookies[COOKIE]
    answer = await client.post("/api/auth/sign-out", json={})
    assert answer.json() == {"success": True}
    (cookie,) = answer.headers.get_list("set-cookie")
    assert "Max-Age=0" in cookie
    assert COOKIE not in client.cookies
    old = server.client(token)
    assert (await old.get("/api/auth/get-session")).status_code == 401
    assert (await server.client().post("/api/auth/sign-out")).json() == {"success": True}


async def test_a_hash_with_old_parameters_is_made_anew_at_sign_in(server: Accounts) -> None:
    await server.ada()
    old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(PASSWORD)
    await server.sql("UPDATE users SET password_hash = $1", old)
    await server.signed_in()
    new = await server.sql("SELECT password_hash FROM users")
    assert "t=1," in new
    await server.signed_in()
    assert await server.sql("SELECT password_hash FROM users") == new


async def test_the_defaults_are_argon2ids(clean: Database) -> None:
    async with accounts(clean, passwords=Passwords()) as server:
        await server.ada()
        stored = await server.sql("SELECT password_hash FROM users")
        assert stored.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
        await server.signed_in()


async def test_when_too_many_wait_others_are_told_to_come_back(clean: Database) -> None:
    slow = PasswordHasher(time_cost=20, memory_cost=16384, parallelism=1)
    async with accounts(clean, passwords=Passwords(slow, threads=1, waiting=1)) as server:
        client = server.client()
        bodies = [ADA | {"email": f"ada{number}@example.com"} for number in range(8)]
        answers = await asyncio.gather(*(client.post(SIGN_UP, json=body) for body in bodies))
        codes = [answer.status_code for answer in answers]
        assert set(codes) == {200, 503}
        refused = answers[codes.index(503)]
        assert refused.json()["error"] == "Service unavailable"
        assert int(refused.headers["retry-after"]) >= 1


async def test_names_of_all_scripts_are_kept(server: Accounts) -> None:
    client = await server.ada(name="Ada 🚀 Λ")
    assert (await client.get("/api/auth/get-session")).json()["user"]["name"] == "Ada 🚀 Λ"


async def test_a_password_is_the_same_however_its_letters_are_composed(server: Accounts) -> None:
    await server.ada(password="caf\u00e9 au lait")
    await server.signed_in(password="cafe\u0301 au lait")


async def test_bodies_are_refused_as_everywhere(server: Accounts) -> None:
    client = server.client()
    json = {"Content-Type": "application/json"}
    assert (await client.post(SIGN_IN, content=b"a=b")).status_code == 415
    answer = await client.post(SIGN_IN, content=b'{"email":', headers=json)
    assert answer.status_code == 400
    assert answer.json()["issues"][0]["code"] == "invalid_json"
    huge = b'"' + b"x" * (1024 * 1024 + 1) + b'"'
    assert (await client.post(SIGN_IN, content=huge, headers=json)).status_code == 413

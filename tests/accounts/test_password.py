from __future__ import annotations

import pytest

from tests.accounts.serving import COOKIE, PASSWORD, Accounts, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="package")

CHANGE = "/api/auth/change-password"
NEW = "battery staple"
BODY = {"currentPassword": PASSWORD, "newPassword": NEW}


async def test_the_password_changes_and_sessions_stay(server: Accounts) -> None:
    client, other = await server.ada(), await server.signed_in()
    answer = await client.post(CHANGE, json=BODY)
    assert answer.status_code == 200
    assert answer.json()["token"] is None
    assert answer.json()["user"]["email"] == "ada@example.com"
    assert (await sign_in(server.client())).status_code == 401
    assert (await sign_in(server.client(), password=NEW)).status_code == 200
    assert (await other.get("/api/auth/get-session")).json() is not None


async def test_it_may_end_all_other_sessions(server: Accounts) -> None:
    client, other = await server.ada(), await server.signed_in()
    old = client.cookies[COOKIE]
    answer = await client.post(CHANGE, json=BODY | {"revokeOtherSessions": True})
    assert client.cookies[COOKIE] == answer.json()["token"] != old
    assert len(answer.headers.get_list("set-cookie")) == 1
    assert (await client.get("/api/auth/get-session")).json() is not None
    for gone in (other, server.client(Cookie=f"{COOKIE}={old}")):
        assert (await gone.get("/api/auth/get-session")).json() is None


async def test_a_bearer_gets_a_token_and_no_cookie(server: Accounts) -> None:
    token = (await server.ada()).cookies[COOKIE]
    answer = await server.client(token).post(CHANGE, json=BODY | {"revokeOtherSessions": True})
    assert "set-cookie" not in answer.headers
    again = server.client(answer.json()["token"])
    assert (await again.get("/api/auth/get-session")).status_code == 200


async def test_a_wrong_password_is_told_and_changes_nothing(server: Accounts) -> None:
    client = await server.ada()
    answer = await client.post(CHANGE, json=BODY | {"currentPassword": "wrong"})
    assert answer.status_code == 400
    assert answer.json()["code"] == "INVALID_PASSWORD"
    assert answer.json()["issues"][0]["path"] == ["currentPassword"]
    assert (await sign_in(server.client())).status_code == 200


async def test_a_session_left_open_does_not_let_the_password_be_guessed(server: Accounts) -> None:
    client = await server.ada()
    wrong = BODY | {"currentPassword": "wrong"}
    codes = [(await client.post(CHANGE, json=wrong)).status_code for _ in range(6)]
    assert codes == [400] * 5 + [429]


async def test_a_new_password_has_the_rules_of_sign_up(server: Accounts) -> None:
    client = await server.ada()
    answer = await client.post(CHANGE, json=BODY | {"newPassword": "short"})
    assert answer.json()["issues"][0]["path"] == ["newPassword"]
    assert (await server.client().post(CHANGE, json=BODY)).status_code == 401

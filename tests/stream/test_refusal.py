from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from server.auth import sessions
from server.keys import POOL
from tests.served import BEARER, Served


async def fault(server: Served, query: str, headers: dict[str, str] | None = None) -> Any:
    lines = [f"GET /api/stream?{query} HTTP/1.1", "Host: test"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    stream = await server.raw("\r\n".join(lines).encode() + b"\r\n\r\n")
    assert stream.headers["content-type"].startswith("application/problem+json")
    body = json.loads(await stream.rest())
    assert body["status"] == stream.status
    assert body["request_id"] == stream.headers["x-request-id"]
    return body


async def sign_in(server: Served, role: str = "user") -> tuple[str, str]:
    """A new user's id and session token."""
    pool = server.app[POOL]
    user = await pool.fetchval(
        "INSERT INTO users (name, email, role) VALUES ('U', gen_random_uuid() || '@x', $1)"
        " RETURNING id",
        role,
    )
    return user, await sessions.create(pool, user)


BAD_CHANNELS = ["", ".", "a.", ".a", "a..b", "a b", "ä", "a\nb", "a%0d", "a.>.b", ">.a", "**", "a*",
                "a>", "a" * 201, "a/b", "a\x00b", "{x}"]  # fmt: skip


BAD_AFTER = ["", "x", "1", "3f2a9c1e.1042x", "3f2a9c1e.01", "latest", "3F2A9C1E.1",
              "3f2a9c1e.99999999999999999999", "%EF%BC%91", "%FF", "%00"]  # fmt: skip
BAD_QUERIES = [
        "", "channel=", "chanel=a", "channel=public.a&foo=1", "channel=public.a&%FF=1",
        "channel=public.a&limit=0", "channel=public.a&limit=x", "channel=public.a&limit=1.5",
        "channel=public.a&rewind=-1", "channel=public.a&rewind=10001",
        "channel=public.a&rewind=1&rewind=2", "channel=public.a&rewind=1&since=1m",
        "channel=public.a&after=earliest&rewind=1", "channel=public.a&since=yesterday",
        "channel=public.a&since=10x", "channel=public.a&since=-5m",
        "&".join(["channel=public.a"] * 129),
]  # fmt: skip


async def test_a_malformed_channel_is_400_with_its_place(server: Served) -> None:
    for name in BAD_CHANNELS:
        body = await fault(server, f"channel=public.a&channel={quote(name)}")
        assert (body["status"], body["error"]) == (400, "Invalid input")
        assert body["issues"][0]["path"] == ["channel", 1]


async def test_a_malformed_after_is_400_with_its_place(server: Served) -> None:
    for after in BAD_AFTER:
        body = await fault(server, f"channel=public.a&after={after}")
        assert (body["status"], body["issues"][0]["path"]) == (400, ["after"])


async def test_what_a_stream_cannot_be_asked_for_is_400(server: Served) -> None:
    for query in BAD_QUERIES:
        body = await fault(server, query)
        assert (body["status"], body["error"]) == (400, "Invalid input"), query
        assert body["issues"]


async def test_all_faults_are_told_at_once(server: Served) -> None:
    body = await fault(server, "channel=a..b&after=x&limit=0")
    assert [issue["path"][0] for issue in body["issues"]] == ["channel", "after", "limit"]


async def test_a_closed_channel_is_401_for_nobody_and_403_for_somebody(server: Served) -> None:
    _, token = await sign_in(server)
    bearer = {"Authorization": f"Bearer {token}"}
    cookie = {"Cookie": f"tailrace.session_token={token}"}
    for name in ("ops.metrics", "table.public.x", "user.u1.x", "other", ">", "*.a"):
        body = await fault(server, f"channel=public.a&channel={name}")
        assert (body["status"], body["error"]) == (401, "Unauthorized")
        for headers in (bearer, cookie):
            body = await fault(server, f"channel=public.a&channel={name}", headers)
            assert (body["status"], body["error"]) == (403, "Forbidden")


async def test_a_user_reads_what_is_theirs_and_nobody_elses(server: Served) -> None:
    user, token = await sign_in(server)
    other, _ = await sign_in(server)
    headers = {"Authorization": f"Bearer {token}"}
    for name in (f"user.{user}.x", f"user.{user}.>", f"user.{user}.*.y", "posts"):
        assert (await server.open(name, headers=headers)).status == 200
    for name in (f"user.{other}.x", f"user.{user}", "user.*.x", "user.>", f"*.{user}.x", ">"):
        assert (await fault(server, f"channel={name}", headers))["status"] == 403


async def test_an_admin_reads_ops_and_tables_and_a_key_what_it_lists(server: Served) -> None:
    _, token = await sign_in(server, "admin")
    headers = {"Authorization": f"Bearer {token}"}
    for name in ("ops.>", "ops.metrics", "table.public.x", "table.>"):
        assert (await server.open(name, headers=headers)).status == 200
    assert (await fault(server, "channel=user.x.y", headers))["status"] == 403
    assert (await server.open(">", headers=BEARER)).status == 200


BAD_BEARERS = ["Bearer", "Bearer ", "Bearer nonsense", "Basic dTpw", "Bearer trs_nonsense",
               "Bearer " + "k" * 31, "Bearer " + "k" * 33, "Bearer \u00e4", "nonsense"]  # fmt: skip


async def test_a_bad_bearer_is_401_even_on_a_public_channel(server: Served) -> None:
    for header in BAD_BEARERS:
        stream = await server.open("public.a", headers={"Authorization": header})
        assert (stream.status, stream.headers["www-authenticate"]) == (401, "Bearer")


async def test_a_cookie_that_is_no_session_is_nobody(server: Served) -> None:
    headers = {"Cookie": "tailrace.session_token=trs_gone"}
    assert (await server.open("public.a", headers=headers)).status == 200
    assert (await fault(server, "channel=other", headers))["status"] == 401


BAD_BODIES = [
        (b"{", "application/json", 400), (b"[]", "application/json", 400),
        (b"", "application/json", 400), (b"null", "application/json", 400),
        (b'{"channel":"public.a"}', "application/json", 400),
        (b'{"channel":["public.a"],"\\ud800":1}', "application/json", 400),
        (b'{"channel":["\\ud800"]}', "application/json", 400),
        (b"\xff\xfe", "application/json", 400), (b"[" * 100_000, "application/json", 400),
        (b'{"channel":["public.a"],"limit":NaN}', "application/json", 400),
        (b'{"channel":["public.a"]}', "text/plain", 415),
        (b'{"channel":["public.a"]}' + b" " * 1024 * 1024, "application/json", 413),
]  # fmt: skip


async def test_a_bad_body_is_refused(server: Served) -> None:
    for body, kind, status in BAD_BODIES:
        head = f"POST /api/stream HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
        stream = await server.raw(f"{head}Content-Type: {kind}\r\n\r\n".encode() + body)
        assert stream.status == status, body[:50]
        assert json.loads(await stream.rest())["status"] == status

"""The end of a permission reaches the open streams of every process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from server.auth import keys
from server.auth.sessions import token_hash
from server.db.pool import Database
from server.keys import POOL
from server.stream import permissions
from server.stream.permissions import Permissions
from tests.served import BEARER, Served, Stream, served
from tests.waiting import until

TIMES = 5.0
"""Seconds within which an end must have arrived."""


@pytest.fixture
async def two(clean: Database) -> AsyncIterator[tuple[Served, Served]]:
    """Two processes' applications on one database."""
    async with served(clean) as one, served(clean) as other:
        yield one, other


async def make_key(server: Served, *channels: str, scopes: tuple[str, ...] = ("read",)) -> str:
    key = keys.new()
    user, _ = await server.sign_in("admin")
    await sql(
        server,
        "INSERT INTO api_keys (user_id, name, start, key_hash, scopes, channels, rate_count,"
        " rate_seconds) VALUES ($1, 'k', $2, $3, $4, $5, 1000, 10)",
        user, key[:10], token_hash(key), list(scopes), list(channels),
    )  # fmt: skip
    return key


async def sql(server: Served, text: str, *values: Any) -> None:
    await server.app[POOL].execute(text, *values)


async def revoked(stream: Stream) -> None:
    assert (await stream.named("bye")).data["reason"] == "revoked"
    assert await stream.rest() == b""


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_the_looks_are_close_enough() -> None:
    assert permissions.PERIOD * 2 <= TIMES


async def test_a_session_that_any_process_ends_ends_its_streams_in_all(
    two: tuple[Served, Served],
) -> None:
    one, other = two
    user, token = await one.sign_in()
    _, kept = await one.sign_in()
    streams = [(await it.live(f"user.{user}.x", headers=bearer(token)))[0] for it in two]
    open_, _ = await one.live("public.a", headers=bearer(kept))
    await sql(other, "DELETE FROM sessions WHERE user_id = $1", user)
    for stream in streams:
        await revoked(stream)
    await one.publish("public.a", 1)
    assert (await open_.named(None)).data["data"] == 1


async def test_a_user_who_is_gone_reads_nothing_more(two: tuple[Served, Served]) -> None:
    one, other = two
    user, token = await one.sign_in()
    stream, _ = await one.live("public.a", headers=bearer(token))
    await sql(other, "DELETE FROM users WHERE id = $1", user)
    await revoked(stream)


async def test_who_is_no_admin_any_more_loses_what_only_admins_read(
    two: tuple[Served, Served],
) -> None:
    one, other = two
    user, token = await one.sign_in("admin")
    closed, _ = await one.live("public.a", "ops.>", headers=bearer(token))
    open_, _ = await one.live(f"user.{user}.>", headers=bearer(token))
    await sql(other, "UPDATE users SET role = 'user' WHERE id = $1", user)
    await revoked(closed)
    # The other one stays, and is looked at with the new role from now on.
    [stream] = list(one.service.streams)
    await until(lambda: stream.principal.role == "user")
    await one.publish(f"user.{user}.x", 1)
    assert (await open_.named(None)).data["data"] == 1


async def test_a_key_that_is_deleted_or_narrowed(two: tuple[Served, Served]) -> None:
    one, other = two
    gone, narrowed = await make_key(one, "a.>"), await make_key(one, "a.>", "b.>")
    first, _ = await one.live("a.x", headers=bearer(gone))
    second, _ = await one.live("b.x", headers=bearer(narrowed))
    third, _ = await one.live("a.x", headers=bearer(narrowed))
    operator, _ = await one.live("a.x", headers=BEARER)
    await sql(other, "DELETE FROM api_keys WHERE key_hash = $1", token_hash(gone))
    await sql(
        other,
        "UPDATE api_keys SET channels = '{a.>}' WHERE key_hash = $1",
        token_hash(narrowed),
    )
    await revoked(first)
    await revoked(second)
    await one.publish("a.x", 1)
    for stream in (third, operator):
        assert (await stream.named(None)).data["data"] == 1
    await sql(
        other, "UPDATE api_keys SET scopes = '{publish}' WHERE key_hash = $1", token_hash(narrowed)
    )
    await revoked(third)


async def test_a_key_whose_end_was_brought_forward(two: tuple[Served, Served]) -> None:
    one, other = two
    key = await make_key(one, "a.>")
    stream, _ = await one.live("a.x", headers=bearer(key))
    await sql(other, "UPDATE api_keys SET expires_at = now()")
    await revoked(stream)


async def test_streams_that_need_no_permission_cost_no_query(clean: Database) -> None:
    async with served(clean) as server:
        await server.live("public.a")
        await server.live("public.a", headers=BEARER)
        asked = []

        class Counted:
            async def fetch(self, text: str, *values: object) -> Any:
                asked.append(text)
                return await server.app[POOL].fetch(text, *values)

        pool: Any = Counted()
        await Permissions(pool, server.service.streams, ()).look()
        assert not asked
        user, token = await server.sign_in()
        for _ in range(3):
            await server.live(f"user.{user}.x", headers=bearer(token))
        await Permissions(pool, server.service.streams, ()).look()
        assert len(asked) == 1

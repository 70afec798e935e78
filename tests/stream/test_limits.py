from __future__ import annotations

import asyncio
import time

from server.auth import tokens
from server.auth.principal import ANONYMOUS, Principal
from server.db.pool import Database
from server.stream.limits import Limits, Population, limits_of
from tests.served import BEARER, Block, Served, Stream, served
from tests.waiting import until

USER = Principal(kind="user", user_id="u1", session_id="s1")
TOKEN = Principal(kind="token", name="user:u1")


async def refused(server: Served, *channels: str, **headers: str) -> Block:
    """The `bye` of a stream that is refused, which is all that it says."""
    stream = await server.open(*channels, headers=headers)
    assert stream.status == 200
    bye = await stream.block()
    assert (bye.event, bye.id) == ("bye", None), bye.raw
    assert bye.data == {"reason": "overload", "retry": bye.retry}
    assert await stream.rest() == b""
    return bye


async def test_an_address_has_so_many_streams_and_no_more(clean: Database, takeover: str) -> None:
    proxy = "127.0.0.1"
    async with served(
        clean, trusted_proxies=(proxy,), streams_per_address=2, takeover=takeover
    ) as server:

        async def live(address: str) -> Stream:
            headers = {"X-Forwarded-For": address}
            return (await server.live("public.a", headers=headers))[0]

        first = await live("192.0.2.1")
        await live("192.0.2.1")
        bye = await refused(server, "public.a", **{"X-Forwarded-For": "192.0.2.1"})
        assert bye.retry is not None
        assert bye.retry >= 20_000, "it does not pass by waiting a second"
        await live("192.0.2.2")
        first.abort()
        await until(lambda: len(server.service.streams) == 2)
        await live("192.0.2.1")
        assert server.service.streams.population.refused == {"per_address": 1}


async def test_an_ipv6_network_is_one_address(clean: Database) -> None:
    async with served(clean, trusted_proxies=("127.0.0.1",), streams_per_address=1) as server:
        await server.live("public.a", headers={"X-Forwarded-For": "2001:db8::1"})
        await refused(server, "public.a", **{"X-Forwarded-For": "2001:db8::2"})
        await server.live("public.a", headers={"X-Forwarded-For": "2001:db8:0:1::1"})


async def test_a_user_has_so_many_streams_whatever_they_are_opened_with(
    clean: Database, takeover: str
) -> None:
    async with served(clean, streams_per_user=2, takeover=takeover) as server:
        user, token = await server.sign_in()
        _, other = await server.sign_in()
        mine = {"Authorization": f"Bearer {token}"}
        made = tokens.sign(
            ["public.a"], int(time.time()) + 60, f"user:{user}", server.app[tokens.TOKEN_KEY]
        )
        await server.live(f"user.{user}.x", headers=mine)
        await server.live("public.a", headers={"Authorization": f"Bearer {made}"})
        bye = await refused(server, "public.a", **mine)
        assert bye.retry is not None
        assert bye.retry >= 20_000
        await server.live("public.a", headers={"Authorization": f"Bearer {other}"})
        await server.live("public.a")
        await server.live("public.a", headers=BEARER)
        assert len(server.service.streams) == 5


async def test_streams_of_one_user_that_come_together_do_not_pass_the_limit(
    clean: Database,
) -> None:
    async with served(clean, streams_per_user=3, stream_rate=100) as server:
        _, token = await server.sign_in()
        headers = {"Authorization": f"Bearer {token}"}
        streams = await asyncio.gather(
            *(server.open("public.a", headers=headers) for _ in range(12))
        )
        names = [(await stream.block()).event for stream in streams]
        assert sorted(map(str, names)) == ["bye"] * 9 + ["ready"] * 3


async def test_so_many_streams_begin_in_a_second(clean: Database) -> None:
    async with served(clean, trusted_proxies=("127.0.0.1",), stream_rate=6) as server:
        before = time.monotonic()
        streams = await asyncio.gather(
            *(
                server.open("public.a", headers={"X-Forwarded-For": f"192.0.2.{number % 10}"})
                for number in range(40)
            )
        )
        names = [(await stream.block()).event for stream in streams]
        most = 6 * (1 + time.monotonic() - before) + 1
        assert 6 <= names.count("ready") <= most
        assert names.count("bye") == 40 - names.count("ready") > 0
        # It passes by waiting, as the client is told.
        await until(lambda: _begins(server))


def test_one_address_does_not_take_what_all_others_have_in_a_second() -> None:
    population = Population(Limits(per_second=10))
    greedy = [population.begin("a") for _ in range(10)]
    assert greedy.count(None) in (5, 10)  # 10 where a second ended meanwhile
    assert population.begin("b") is None or greedy.count(None) == 10


def test_what_can_not_be_had_at_all_costs_the_others_nothing() -> None:
    population = Population(Limits(per_second=4))
    for number in range(100):
        assert population.begin(f"a{number}") is None
        population.give_back()


async def test_a_refused_head_gives_nothing_back(clean: Database) -> None:
    async with served(clean, stream_rate=1000) as server:
        population = server.service.streams.population
        before = population._allowance
        for _ in range(5):
            assert (await server.open("closed", method="HEAD")).status == 401
        assert population._allowance == before


async def _begins(server: Served) -> bool:
    return (await (await server.open("public.a")).block()).event == "ready"


async def test_a_stream_ends_at_its_age_and_nothing_is_lost(clean: Database, takeover: str) -> None:
    async with served(clean, max_age=0.5, heartbeat=0.4, takeover=takeover) as server:
        stream, _ = await server.live("public.a")
        await server.publish("public.a", 1)
        block = await stream.named(None)
        bye = await stream.named("bye")
        assert bye.data["reason"] == "max-age"
        assert await stream.rest() == b""
        await server.publish("public.a", 2)
        await server.settled()
        again = await server.open("public.a", headers={"Last-Event-ID": str(block.id)})
        assert (await again.named(None)).data["data"] == 2


def test_the_age_is_not_the_same_for_all() -> None:
    ages = {Population(Limits(max_age=100)).lifetime() for _ in range(200)}
    assert all(age is not None and 75 <= age <= 100 for age in ages)
    assert len(ages) > 100
    assert Population(Limits()).lifetime() is None


def test_a_token_counts_for_the_user_who_had_it_made() -> None:
    population = Population(Limits(per_user=2))
    assert population.add("a", USER) is None
    assert population.add("b", TOKEN) is None
    refusal = population.add("c", TOKEN)
    assert refusal is not None
    assert (refusal.limit, refusal.reason) == ("per_user", "overload")
    for address, who in (("a", USER), ("b", TOKEN), ("c", TOKEN)):
        population.drop(address, who)
    assert population.add("a", TOKEN) is None


def test_keys_their_tokens_and_nobody_are_not_counted_as_users() -> None:
    population = Population(Limits(per_user=1))
    made = Principal(kind="token", name="key:k1")
    for who in (ANONYMOUS, made, Principal(kind="key", key_id="k1")):
        assert population.add("a", who) is None
        assert population.add("a", who) is None


def test_nothing_is_kept_of_who_has_gone() -> None:
    population = Population(Limits(per_address=1, per_user=1))
    for number in range(1000):
        who = Principal(kind="user", user_id=f"u{number}")
        population.add(f"a{number}", who)
        population.drop(f"a{number}", who)
    assert population.total == 0
    assert not population._addresses
    assert not population._users


def test_no_limits_leaves_the_age() -> None:
    from server.settings import load

    settings = load(limits="off", max_age=50.0)
    assert limits_of(settings) == Limits(max_age=50.0)
    assert limits_of(load(max_age=0.0)).max_age is None
    assert limits_of(load(streams_per_user=3)).per_user == 3

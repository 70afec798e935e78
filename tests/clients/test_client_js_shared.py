"""One connection for all tabs: what it survives, and what each tab has of it."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser, BrowserContext, Route

from tests.clients.connected import (
    NO_WORKERS,
    NUMBERS,
    PATIENT,
    Channel,
    Tab,
    channel,
    context,
    elsewhere,
    only_stream,
    profile,
    reused,
    server,
)
from tests.clients.proxy import Cut
from tests.clients.served import API_KEY, Served
from tests.waiting import until

__all__ = ["channel", "context", "elsewhere", "reused", "server"]

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

WAYS = pytest.mark.parametrize("way", ["worker", "leader"])


@WAYS
async def test_tabs_share_one_connection_and_survive_each_other(
    server: Served, browser: Browser, channel: Channel, way: str
) -> None:
    other = Channel(server)
    async with profile(browser, NO_WORKERS if way == "leader" else "") as context:
        one, two, three = [await Tab.open(context, server.proxy.url) for _ in range(3)]
        times = PATIENT | {"ping": 300}
        await one.connect(channel.name, shared=True, times=times)
        await channel.publish(2)
        await channel.read_by(one)
        await two.connect(other.name, shared=True, times=times)
        await three.connect(channel.name, other.name, rewind=2, shared=True, times=times)
        await only_stream(server, channel.name, other.name)
        kinds = [await tab.run("stream.status.shared") for tab in (one, two, three)]
        followers = ["worker"] * 3 if way == "worker" else ["leader", "follower", "follower"]
        assert kinds == followers
        await other.publish(2)
        await channel.publish(2)
        await channel.read_by(one)
        await other.read_by(two)
        await three.wait(f"{NUMBERS}.length === 6")
        assert await three.run(NUMBERS) == [1, 2, 1, 2, 3, 4]
        await one.crash()
        await channel.publish(2)
        await other.publish(2)
        await other.read_by(two)
        await three.page.close()
        await only_stream(server, other.name)
        await other.publish(2)
        await other.read_by(two)


@WAYS
async def test_a_refused_channel_of_one_tab_leaves_the_others_alone(
    server: Served, browser: Browser, channel: Channel, way: str
) -> None:
    async with profile(browser, NO_WORKERS if way == "leader" else "") as context:
        one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
        for tab in (one, two):
            await tab.connect(channel.name, shared=True, times=PATIENT)
        await two.run("stream.add('closed.orders')")
        await two.wait("stream.status.state === 'ended'")
        assert await two.run("stream.status.error.status") == 401
        await channel.publish(2)
        await channel.read_by(one)
        assert {status["state"] for status in await one.run("seen.status")} <= {
            "connecting",
            "live",
        }
        await two.run("stream.remove('closed.orders')")
        await channel.read_by(two)


async def test_who_would_make_it_too_many_channels_has_a_connection_of_his_own(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    await one.connect(channel.name, shared=True)
    many = [f"public.many{number}" for number in range(127)]
    await two.connect(channel.name, *many, shared=True)
    assert await one.run("stream.status.shared") == "worker"
    await two.connect("public.more", *many, shared=True)
    await two.wait("stream.status.shared === false && stream.status.state === 'live'")
    await server.publish_on("public.more", {"n": 1})
    assert await two.numbers(1) == [1]
    await channel.publish()
    await channel.read_by(one)


async def test_a_frozen_leader_is_replaced_and_steps_down(
    server: Served, browser: Browser, channel: Channel
) -> None:
    async with profile(browser, NO_WORKERS) as context:
        one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
        for tab in (one, two):
            await tab.connect(channel.name, shared=True, times=PATIENT | {"ping": 150})
        await one.freeze()
        await channel.publish(2)
        await two.wait("stream.status.shared === 'leader'")
        await channel.publish(2)
        await channel.read_by(two)
        await one.thaw()
        await one.wait("stream.status.shared === 'follower'")
        await channel.publish(2)
        await channel.read_by(one, two)
        await only_stream(server, channel.name)
        await two.run("stream.close(); stream.close(); stream.retry()")
        await channel.publish()
        await channel.read_by(one)


async def test_a_frozen_tab_costs_little_and_catches_up_in_order(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    for tab in (one, two):
        await tab.connect(channel.name, shared=True, times=PATIENT)
    await one.freeze()
    before = len(server.proxy.streams)
    await channel.publish(50, filling="x" * 100_000)
    await channel.read_by(two)
    await one.thaw()
    await channel.publish(2)
    await channel.read_by(one, two)
    assert len(server.proxy.streams) > before


async def test_the_token_comes_from_a_tab_that_lives(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    channel.name = channel.name.replace("public", "closed")
    token = f"""async () => {{
      seen.asked = (seen.asked ?? 0) + 1;
      return {{ token: "{API_KEY}", expiresIn: 0.3 }};
    }}"""
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    for tab in (one, two):
        await tab.connect(channel.name, token=token, shared=True)
    await one.wait("seen.asked > 1")
    await one.page.close()
    await two.wait("seen.asked > 1")
    await channel.publish(3)
    await channel.read_by(two)


async def test_who_needs_older_events_has_them_and_nobody_has_any_twice(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    await one.connect(channel.name, shared=True, times=PATIENT)
    await channel.publish(4)
    await channel.read_by(one)
    after = await one.run("seen.events[1].id")
    before = len(server.proxy.streams)
    await two.connect(channel.name, shared=True, times=PATIENT, after=after)
    await channel.publish(2)
    await channel.read_by(one)
    assert await two.numbers(6) == [3, 4, 5, 6]
    (request,) = server.proxy.streams[before:]
    assert request.last_event_id == after


async def test_who_needs_older_events_has_them_though_the_first_has_no_position_yet(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    await two.connect(channel.name)
    await channel.publish(4)
    await channel.read_by(two)
    after = await two.run("stream.close(), seen.events[1].id")
    server.proxy.cuts.append(Cut(b"Content-Type: text/event-stream", "hold"))
    before = len(server.proxy.streams)
    await one.connect(channel.name, shared=True, times=PATIENT, live=False)
    await until(lambda: not server.proxy.cuts)
    await two.connect(channel.name, shared=True, times=PATIENT, after=after)
    await one.wait("stream.status.state === 'live'")
    await channel.publish(2)
    assert await one.numbers(6) == [5, 6]
    assert await two.numbers(6) == [3, 4, 5, 6]
    assert server.proxy.streams[before].last_event_id is None


async def test_who_joins_by_several_calls_joins_once(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    await one.connect(channel.name, shared=True, times=PATIENT)
    await two.connect(channel.name, shared=True, times=PATIENT | {"retry": 50}, live=False)
    calls = """(async () => {
      for (let call = 0; call < 20; call++) {
        stream.retry();
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    })()"""
    await two.run(calls)
    await two.wait("stream.status.state === 'live'")
    before = len(server.proxy.requests)
    await two.wait("seen.frames.length > 3")
    await channel.publish(2)
    await channel.read_by(two)
    assert [request.target for request in server.proxy.requests[before:]] == []


async def test_who_is_told_live_has_a_position(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    tab = await Tab.open(context, server.proxy.url)
    position = """async (channel) => {
      const { connect } = await import("/client.js");
      return new Promise((resolve) => {
        const onStatus = ({ state }) => state === "live" && resolve(stream.position);
        const stream = connect({ channels: [channel], shared: true, onEvent() {}, onStatus });
      });
    }"""
    assert await tab.page.evaluate(position, channel.name)


@pytest.mark.parametrize(
    "worker",
    [
        pytest.param(
            "constructor() { throw new DOMException('', 'SecurityError'); }", id="refused"
        ),
        pytest.param("constructor() { super('/none.js', { type: 'module' }); }", id="not found"),
        pytest.param("constructor() { super('data:text/javascript,'); }", id="silent"),
    ],
)
async def test_where_a_worker_does_not_start_a_tab_leads(
    server: Served, browser: Browser, channel: Channel, worker: str
) -> None:
    script = f"window.SharedWorker = class extends SharedWorker {{ {worker} }}"
    async with profile(browser, script) as context:
        one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
        for tab in (one, two):
            await tab.connect(channel.name, shared=True, times=PATIENT | {"ping": 100})
        kinds = [await tab.run("stream.status.shared") for tab in (one, two)]
        assert kinds == ["leader", "follower"]
        await channel.publish(2)
        await channel.read_by(one, two)


async def test_a_retry_costs_nothing_though_events_are_on_their_way(
    server: Served, context: BrowserContext, channel: Channel
) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    for tab in (one, two):
        await tab.connect(channel.name, shared=True, times=PATIENT)
    before = len(server.proxy.streams)

    async def busy(route: Route) -> None:
        await channel.publish(2)
        await channel.read_by(two)
        await route.fulfill()

    # A synchronous request: the tab does nothing else meanwhile, so it is behind the others.
    await one.page.route("**/busy", busy)
    retried = """(() => {
      const request = new XMLHttpRequest();
      request.open("GET", "/busy", false);
      request.send();
      stream.retry();
      return seen.events.length;
    })()"""
    assert await one.run(retried) == 0
    await channel.publish()
    await channel.read_by(one, two)
    assert server.proxy.streams[before:] == []


async def test_a_refusal_stays_the_answer_though_another_joins_meanwhile(
    server: Served, browser: Browser, channel: Channel
) -> None:
    async with profile(browser, NO_WORKERS) as context:
        one, two, three = [await Tab.open(context, server.proxy.url) for _ in range(3)]
        for tab in (one, two):
            await tab.connect(channel.name, shared=True, times=PATIENT)
        checked, asked, go, finish = [asyncio.Event() for _ in range(4)]

        async def check(route: Route) -> None:
            checked.set()
            await go.wait()
            await route.continue_()

        async def ask(route: Route) -> None:
            asked.set()
            await finish.wait()
            await route.continue_()

        await one.page.route("**/api/events?*", check)
        await two.run("stream.add('closed.orders')")
        await checked.wait()
        await one.page.route("**/api/stream?*", ask)
        after = "00000000.1"
        await three.connect(channel.name, shared=True, times=PATIENT, after=after, live=False)
        await asked.wait()
        go.set()
        await two.wait("stream.status.error?.status === 401")
        finish.set()
        assert await two.run("stream.status.state") == "ended"
        await one.wait("stream.status.state === 'live'")
        await channel.publish(2)
        await channel.read_by(one)


async def test_where_locks_are_refused_each_has_a_connection_of_his_own(
    server: Served, browser: Browser, channel: Channel
) -> None:
    refused = """if (navigator.locks)
      navigator.locks.request = async () => { throw new DOMException("", "SecurityError"); }"""
    async with profile(browser, refused) as context:
        tab = await Tab.open(context, server.proxy.url)
        await tab.connect(channel.name, shared=True)
        assert await tab.run("stream.status.shared") is False

"""scratch"""
from __future__ import annotations
import asyncio
import pytest
from playwright.async_api import Browser
from tests.clients.connected import (NO_WORKERS, NUMBERS, PATIENT, Channel, Tab, channel, context, profile, reused, server, tab)
from tests.clients.proxy import Cut
from tests.clients.served import API_KEY, Served
__all__ = ["channel", "context", "reused", "server", "tab"]
pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_older_position_joins_before_ready(server: Served, context, channel: Channel) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    await two.connect(channel.name)
    await channel.publish(4)
    await channel.read_by(two)
    after = await two.run("seen.events[1].id")
    await two.run("stream.close()")
    held = len(server.proxy.streams)
    server.proxy.cuts.append(Cut(b"Content-Type: text/event-stream", "hold"))
    await one.connect(channel.name, shared=True, times=PATIENT, live=False)
    from tests.waiting import until
    await until(lambda: len(server.proxy.streams) > held)
    await two.connect(channel.name, shared=True, times=PATIENT, after=after, live=False)
    await asyncio.sleep(.5)
    if server.proxy.cuts: server.proxy.cuts.clear()
    server.proxy.cut("fin")
    await two.wait("stream.status.state === 'live'")
    await channel.publish(2)
    assert await one.numbers(6) == [5, 6]
    assert await two.numbers(6) == [3, 4, 5, 6]


async def test_double_start(server: Served, context, channel: Channel) -> None:
    one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
    await one.connect(channel.name, shared=True, times=PATIENT)
    await two.run("window.addEventListener('x', () => {})")
    await two.connect("public.zz", shared=True, times=PATIENT, live=False)
    await two.run("(async () => { for (let i = 0; i < 30; i++) { stream.retry(); await new Promise(r => setTimeout(r, 1)); } })()")
    await two.wait("stream.status.state === 'live'")
    await asyncio.sleep(1)
    before = len(server.proxy.requests)
    await asyncio.sleep(3)
    print([r.target for r in server.proxy.requests[before:]])
    assert len(server.proxy.requests) == before


async def test_close_twice(server: Served, browser: Browser, channel: Channel) -> None:
    async with profile(browser, NO_WORKERS) as context:
        one = await Tab.open(context, server.proxy.url)
        await one.connect(channel.name, shared=True, times=PATIENT)
        await one.run("stream.close(); stream.close(); stream.retry(); stream.add('x.y')")


async def test_worker_own(server: Served, tab: Tab, channel: Channel) -> None:
    script = f"""new Promise((resolve) => {{
      const text = `import {{ connect }} from "{server.proxy.url}/client.js";
        connect({{ channels: ["{channel.name}"], url: "{server.proxy.url}/api/stream", shared: true, onStatus: (s) => s.state === "live" && postMessage("live"), onEvent: (e) => postMessage(e.data.n) }})`;
      window.worker = new Worker(URL.createObjectURL(new Blob([text], {{type: "text/javascript"}})), {{ type: "module" }});
      worker.onmessage = (e) => resolve(e.data);
      worker.onerror = (e) => resolve("error " + e.message);
    }})"""
    assert await tab.run(script) == "live"


async def test_poll_long_list(server: Served, tab: Tab, channel: Channel) -> None:
    names = [f"public.{'x' * 180}{number:03}" for number in range(127)]
    server.proxy.cuts.extend([Cut(b"Content-Type: text/event-stream", "hold")] * 1)
    await tab.connect(channel.name, *names, times={"probe": 100, "wait": 100})
    print(await tab.run("stream.status"))
    await channel.publish(2)
    await channel.read_by(tab)
    assert await tab.run("stream.status.transport") == "poll"


async def test_no_worker_by_csp(server: Served, context, channel: Channel) -> None:
    page = await context.new_page()
    async def blank(route):
        await route.fulfill(body="<p>", content_type="text/html", headers={"Content-Security-Policy": "worker-src 'none'"})
    await page.route("**/blank", blank)
    await page.goto(server.proxy.url + "/blank")
    one = Tab(page)
    await one.connect(channel.name, shared=True, times=PATIENT)
    print(await one.run("stream.status"))
    assert await one.run("stream.status.shared") == "leader"


async def test_opaque_origin(server: Served, context, channel: Channel) -> None:
    page = await context.new_page()
    async def blank(route):
        await route.fulfill(body="<p>", content_type="text/html", headers={"Content-Security-Policy": "sandbox allow-scripts"})
    await page.route("**/blank", blank)
    await page.goto(server.proxy.url + "/blank")
    out = await page.evaluate(f"""async () => {{ const {{connect}} = await import("{server.proxy.url}/client.js"); window.stream = connect({{channels: ["{channel.name}"], shared: true}}); await new Promise(r => setTimeout(r, 500)); return [stream.status, !!navigator.locks] }}""")
    print(out)
    assert out[0]["shared"] is False and out[0]["state"] != "connecting"


async def test_worker_killed(server: Served, browser: Browser, channel: Channel) -> None:
    async with profile(browser) as context:
        one, two = [await Tab.open(context, server.proxy.url) for _ in range(2)]
        for tab in (one, two):
            await tab.connect(channel.name, shared=True, times=PATIENT | {"ping": 100})
        await channel.publish(2)
        await channel.read_by(one, two)
        session = await browser.new_browser_cdp_session()
        found = await session.send("Target.getTargets", {"filter": [{}]})
        workers = [t for t in found["targetInfos"] if t["type"] == "shared_worker"]
        print(workers)
        n = len(server.proxy.streams)
        print(await session.send("Target.closeTarget", {"targetId": workers[0]["targetId"]}))
        await channel.publish(3)
        await channel.read_by(one, two)
        assert len(server.proxy.streams) > n
        print(await one.run("stream.status"), await two.run("stream.status"))

"""The browser client in Chromium, against the real server behind the fault proxy."""

from __future__ import annotations

import asyncio
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, expect

from tests.clients.bundle import NODE
from tests.clients.connected import (
    NUMBERS,
    PATIENT,
    Channel,
    Tab,
    channel,
    context,
    elsewhere,
    no_stream,
    only_stream,
    reused,
    server,
    tab,
)
from tests.clients.proxy import Cut
from tests.clients.served import API_KEY, CHANNEL, Served

__all__ = ["channel", "context", "elsewhere", "reused", "server", "tab"]

CLIENTS = Path(__file__).parents[2] / "docs" / "clients.md"

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


async def test_a_storm_of_cuts_a_stall_and_a_restart_lose_nothing(server: Served, tab: Tab) -> None:
    await tab.connect(CHANNEL, times={"least": 300})
    await server.storm(60)
    server.proxy.cuts.append(Cut(b'"n": 62}', "hold"))
    await server.publish(5)
    assert await tab.numbers(65) == server.published
    await server.end(signal.SIGKILL)
    await server.publish(5)
    await server.start()
    await server.publish(5)
    assert await tab.numbers(75) == server.published
    await server.end(signal.SIGTERM)
    await tab.wait("seen.status.some(({ reason }) => reason === 'shutdown')")
    await server.publish(5)
    await server.start()
    assert await tab.numbers(80) == server.published
    assert await tab.run("seen.gaps") == []
    resumed = [request.last_event_id for request in server.proxy.streams[1:]]
    assert len(resumed) >= 6
    assert None not in resumed


async def test_an_event_is_told_with_all_its_fields(
    server: Served, tab: Tab, channel: Channel
) -> None:
    await tab.connect(channel.name, times={"probe": 100})
    await channel.publish()
    await channel.read_by(tab)
    # It never polls, once streams get through.
    before = len(server.proxy.requests)
    await tab.wait("seen.frames.length > 6")
    assert len(server.proxy.requests) == before
    event, position = await tab.run("[seen.events[0], stream.position]")
    assert event.pop("id") == position
    assert event.pop("raw").endswith('"data":{"n": 1}}')
    assert {*event} == {"channel", "type", "key", "at", "messageId", "data"}
    assert (event["channel"], event["type"], event["key"]) == (channel.name, "number", None)
    ready, mark = await tab.run("seen.frames.slice(0, 2)")
    assert (ready["event"], ready["retry"], mark) == ("ready", 20, {"id": ready["id"]})


async def test_several_changes_of_channels_in_one_tick_are_one_reopening_in_place(
    server: Served, tab: Tab, channel: Channel
) -> None:
    other = Channel(server)
    await tab.connect(channel.name, times=PATIENT)
    await channel.publish(3)
    await channel.read_by(tab)
    before = len(server.proxy.streams)
    await tab.run(f"stream.add('{other.name}'); stream.add('public.x'); stream.remove('public.x')")
    await tab.wait("seen.frames.filter(({ event }) => event === 'ready').length === 2")
    (request,) = server.proxy.streams[before:]
    assert (request.last_event_id or "").endswith(".".join(["", str(await server.head())]))
    await other.publish()
    await tab.wait(f"{NUMBERS}.length === 4")
    await tab.run(f"stream.remove('{channel.name}')")
    await channel.publish()
    await other.publish()
    assert await tab.run("stream.channels") == [other.name]
    await tab.wait(f"{NUMBERS}.length === 5")
    assert await tab.run(NUMBERS) == [1, 2, 3, 1, 2]


async def test_after_a_gap_events_wait_until_the_state_is_there(
    server: Served, tab: Tab, channel: Channel
) -> None:
    refetch = """(gap) => new Promise((resolve, reject) => {
      seen.tries = [...(seen.tries ?? []), [gap.reason, seen.events.length]];
      if (seen.tries.length === 1) reject();
      else window.fetched = resolve;
    })"""
    await tab.connect(channel.name, refetch=refetch)
    await channel.publish(2)
    await channel.read_by(tab)
    position = await tab.run("stream.position")
    async with server.proxy.refusing("fin"):
        await channel.publish(2)
        await server.sql.execute("SELECT tailrace.prune($1)", await server.head() - 1)
    await channel.publish(2)
    await tab.wait(f"seen.frames.at(-1).id.split('.')[1] >= {await server.head()}")
    await tab.wait("!!window.fetched")
    assert await tab.run("[seen.tries, stream.position]") == [[["pruned", 2]] * 2, position]
    await tab.run("fetched()")
    assert await tab.numbers(6) == [1, 2, 4, 5, 6]
    assert await tab.run("seen.gaps.length") == 1


async def test_a_token_is_renewed_in_time_and_after_a_refusal(
    server: Served, tab: Tab, channel: Channel
) -> None:
    name = channel.name = channel.name.replace("public", "closed")
    token = f"""async () => {{
      seen.asked = (seen.asked ?? 0) + 1;
      if (seen.asked === 1) return "trt_of_nobody";
      const answer = await fetch("/api/streams/token", {{ method: "POST",
        headers: {{ Authorization: "Bearer {API_KEY}", "Content-Type": "application/json" }},
        body: JSON.stringify({{ channels: ["{name}"] }}) }});
      return {{ ...(await answer.json()), expiresIn: 0.3 }};
    }}"""
    await tab.connect(name, token=token)
    for _ in range(4):
        asked = await tab.run("seen.asked")
        await channel.publish(3)
        await tab.wait(f"seen.asked > {asked}")
    await channel.read_by(tab)
    assert {status["state"] for status in await tab.run("seen.status")} == {"live"}


async def test_a_refusal_ends_it_with_what_the_server_said(server: Served, tab: Tab) -> None:
    await tab.connect("closed.orders", "not a channel", live=False)
    await tab.wait("stream.status.state === 'ended'")
    error = await tab.run("stream.status.error")
    assert (error["status"], error["error"]) == (400, "Invalid input")
    assert error["issues"][0]["path"] == ["channel", 1]
    loop = "(async () => { for await (const event of stream); })().catch((error) => error.status)"
    assert await tab.run(loop) == 400


async def test_a_loop_takes_events_at_its_own_pace(
    server: Served, tab: Tab, channel: Channel
) -> None:
    await tab.connect(channel.name)
    loop = """window.taken = []; (async () => {
      for await (const event of stream) {
        taken.push(event.data.n);
        if (taken.length === 2) break;
        await new Promise((resolve) => (window.go = resolve));
      }
    })()"""
    await tab.page.evaluate(f"() => {{ {loop} }}")
    await channel.publish(3)
    await tab.wait("window.go && seen.frames.filter(({ data }) => data).length === 4")
    assert await tab.run("[taken, seen.events.length]") == [[1], 1]
    await tab.run("go()")
    await channel.read_by(tab)
    assert await tab.run("taken") == [1, 2]


async def test_behind_a_proxy_that_holds_streams_back_it_polls_until_they_get_through(
    server: Served, tab: Tab, channel: Channel
) -> None:
    await channel.publish(2)
    held = Cut(b"Content-Type: text/event-stream", "hold")
    server.proxy.cuts.extend([held] * 2)
    times = {"probe": 100, "again": 200, "wait": 100, "retry": 20}
    await tab.connect(channel.name, rewind=2, times=times)
    assert await tab.run("stream.status.transport") == "poll"
    await channel.publish(2)
    await channel.read_by(tab)
    # The second try is held as well, the third gets through.
    await tab.wait("stream.status.transport === 'stream' && stream.status.state === 'live'")
    await channel.publish(2)
    await channel.read_by(tab)
    assert not server.proxy.cuts


async def test_long_lists_are_posted_and_resumed(
    server: Served, tab: Tab, channel: Channel
) -> None:
    names = [f"public.{'x' * 100}{number}" for number in range(60)]
    await tab.connect(channel.name, *names)
    await channel.publish(2)
    await channel.read_by(tab)
    server.proxy.cut("rst")
    await channel.publish(2)
    await channel.read_by(tab)
    assert [request.method for request in server.proxy.streams[-2:]] == ["POST", "POST"]


async def test_pages_of_other_origins_stream_resume_post_and_poll(
    server: Served, context: BrowserContext, channel: Channel, elsewhere: str
) -> None:
    channel.name = channel.name.replace("public", "closed")
    tab = await Tab.open(context, elsewhere)
    there: dict[str, Any] = {
        "module": f"{server.proxy.url}/client.js",
        "token": f"() => '{API_KEY}'",
        "credentials": "include",
    }
    await tab.connect(channel.name, shared=True, times=PATIENT, **there)
    # A worker would have to be of the page's own origin.
    assert await tab.run("stream.status.shared") == "leader"
    await channel.publish(2)
    await channel.read_by(tab)
    server.proxy.cut("rst")
    await channel.publish(2)
    await channel.read_by(tab)
    assert server.proxy.streams[-1].last_event_id
    await tab.run("stream.close()")
    names = [f"closed.{'x' * 150}{number}" for number in range(127)]
    server.proxy.cuts.append(Cut(b"Content-Type: text/event-stream", "hold"))
    times = {"probe": 100, "wait": 100}
    await tab.connect(channel.name, *names, rewind=4, times=times, **there)
    assert await tab.run("stream.status.transport") == "poll"
    await channel.publish()
    await channel.read_by(tab)
    assert server.proxy.streams[-1].method == "POST"


async def test_a_worker_of_ones_own_may_use_it(server: Served, tab: Tab, channel: Channel) -> None:
    worker = f"""
      import {{ connect }} from "{server.proxy.url}/client.js";
      connect({{
        channels: ["{channel.name}"],
        shared: true,
        onStatus: ({{ state }}) => postMessage(state),
        onEvent: ({{ data }}) => postMessage(data.n),
      }});
    """
    await tab.page.evaluate(
        """(text) => {
          const url = URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
          window.told = [];
          window.stream = window.seen = {};
          new Worker(url, { type: "module" }).onmessage = ({ data }) => told.push(data);
        }""",
        worker,
    )
    await tab.page.wait_for_function("told.includes('live')")
    await channel.publish(2)
    await tab.page.wait_for_function("told.includes(2)")


async def test_the_hook_of_the_docs_keeps_one_connection_in_strict_mode(
    server: Served, tab: Tab, channel: Channel
) -> None:
    (hook,) = re.findall(
        r'```js\n(import [^\n]+ from "react";.*?)```', CLIENTS.read_text(), re.DOTALL
    )
    program = f"""{hook.replace("./client.js", "/client.js")}
      import {{ StrictMode }} from "react";
      import {{ createRoot }} from "react-dom/client";
      const Latest = () => <p>{{useLatest("{channel.name}")?.data.n}}</p>;
      window.root = createRoot(document.body);
      root.render(<StrictMode><Latest /></StrictMode>);
    """
    # StrictMode does what it does in development only: it mounts, unmounts and mounts again.
    options = ("--bundle", "--format=esm", "--loader=jsx", "--jsx=automatic", "--log-level=error")
    process = await asyncio.create_subprocess_exec(
        NODE / "node_modules" / ".bin" / "esbuild", *options, "--external:/client.js",
        '--define:process.env.NODE_ENV="development"',
        cwd=NODE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    script, _ = await process.communicate(program.encode())
    await tab.page.add_script_tag(content=script.decode(), type="module")
    await only_stream(server, channel.name)
    await channel.publish(3)
    await expect(tab.page.locator("p")).to_have_text("3")
    await tab.run("root.unmount()")
    await no_stream(server)

"""Each scenario, small, against the real application on a real database."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from scripts.load import html
from scripts.load.crowd import RefusalError
from scripts.load.options import SCENARIOS
from server.db.pool import Database
from tests.load.playing import play
from tests.process import REPOSITORY
from tests.served import KEY, served
from tests.waiting import until

SMALL = ("--clients", "50", "--seconds", "1.5", "--rate", "30")
OWN = {
    "fanout": ("--channels", "3", "--batch", "4"),
    "churn": ("--interval", "0.6", "--share", "0.5", "--spread", "0.1"),
    "slow-readers": ("--stall", "0.6", "--slow", "0.2", "--size", "20000"),
    "burst": ("--interval", "0.7", "--burst", "60"),
    "mixed": ("--interval", "0.7", "--share", "0.3", "--spread", "0.1", "--stall", "0.6"),
}


class Page(HTMLParser):
    """Notes what a page would load, and whether its elements are closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.loads += [
            f"{tag} {k}={v}" for k, v in attrs if k in {"src", "href", "srcset", "xlink:href"}
        ]
        if tag not in {"meta", "br"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def must_be_a_page(text: str) -> None:
    page = Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert {"svg", "polyline", "table", "h1"} <= page.seen
    assert page.loads == []
    assert not {"script", "link", "iframe", "object", "base"} & page.seen
    style = text.partition("<style>")[2].partition("</style>")[0]
    assert not re.search(r"https?:|url\(|@import", style)
    assert "prefers-color-scheme:dark" in style


def must_be_whole(report: dict[str, Any], scenario: str) -> None:
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again["scenario"] == scenario
    assert again["schema"] == 1
    assert again["exact"], again["verdict"]
    assert again["verdict"]["settled"]
    totals = again["totals"]
    assert totals["deliveries"] == again["verdict"]["expected_deliveries"] > 0
    assert totals["published"] == totals["acknowledged"]
    assert again["series"]
    counted = again["latency_ms"]
    assert counted["connect_to_ready"]["count"] == 50
    some = ("delivery", "after_reconnect", "slow_readers")
    assert sum(counted[name]["count"] for name in some) == totals["deliveries"]


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_it_is_exact_and_tells_so(clean: Database, scenario: str) -> None:
    async with served(clean, limits="off") as server:
        report = await play(server.url, KEY, scenario, *SMALL, *OWN[scenario])
    must_be_whole(report, scenario)
    must_be_a_page(html.page(report))
    if scenario in ("churn", "mixed"):
        assert report["totals"]["cuts"] == sum(storm["cut"] for storm in report["storms"]) > 0
        assert report["latency_ms"]["back_to_ready"]["count"] == report["totals"]["cuts"]
    if scenario in ("slow-readers", "mixed"):
        assert report["stall"]["clients"] > 0
        assert {"before", "stall", "after"} <= set(report["phases"])
    if scenario == "mixed":
        # A client in ten has all channels by a pattern.
        assert report["totals"]["deliveries"] > report["totals"]["acknowledged"] * 50 / 8


async def test_limits_are_told_as_what_they_are(
    clean: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("scripts.load.crowd.GIVE_UP", 0.5)
    async with served(clean, streams_per_address=10) as server:
        with pytest.raises(RefusalError, match=r"only 10 of 50 streams.*TAILRACE_LIMITS=off"):
            await play(server.url, KEY, "fanout", *SMALL)


async def test_a_key_that_may_not_publish_is_told(clean: Database) -> None:
    async with served(clean) as server:
        with pytest.raises(RefusalError, match="answered 401"):
            await play(server.url, "x" * 32, "fanout", *SMALL)


async def test_streams_that_the_server_ends_are_taken_up_again(clean: Database) -> None:
    """`bye` from the server in the middle: the clients come back after `retry`, nothing missing."""
    async with served(clean, limits="off") as server:
        streams = server.service.streams
        streams.retry = lambda: 100  # type: ignore[method-assign]
        running = asyncio.create_task(play(server.url, KEY, "fanout", *SMALL))
        await until(lambda: len(streams) == 50 and server.service.pubsub.published > 10)
        for stream in streams:
            streams.end(stream, "max-age")
        report = await running
    must_be_whole(report, "fanout")
    assert report["totals"]["byes"] == {"max-age": 50}
    assert report["latency_ms"]["back_to_ready"]["count"] == 50


def test_one_command_with_a_server_of_its_own_ended_early(tmp_path: Path) -> None:
    """No --url; Ctrl-C once there are deliveries: a report of what was measured, and code 0."""
    paths = {name: tmp_path / f"out.{name}" for name in ("json", "html")}
    given = [f"--{name}={path}" for name, path in paths.items()]
    with subprocess.Popen(
        [sys.executable, "-m", "scripts.load", "fanout", "--clients", "20", "--seconds", "600",
         *given],
        cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        for line in process.stderr:
            if re.search(r"[1-9][0-9]* deliveries/s", line):
                break
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0, err
    assert "EXACT: nothing lost" in out
    report = json.loads(paths["json"].read_text())
    assert report["ended_early"]
    assert report["server"]["own"]
    must_be_a_page(paths["html"].read_text())
    if sys.platform == "linux":
        assert any(row["server_rss"] for row in report["series"])
    with socket.socket() as probe:
        host, _, port = report["server"]["host"].partition(":")
        assert probe.connect_ex((host, int(port))) != 0, "its server is still there"

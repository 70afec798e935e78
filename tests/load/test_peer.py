"""Servers that really break the law must not pass."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.load import html
from scripts.load.__main__ import main
from scripts.load.crowd import Crowd, RefusalError
from scripts.load.ledger import Ledger
from scripts.load.meter import Meter
from scripts.load.options import parse, resolve
from scripts.load.report import text
from tests.load.peer import Frames, Plan, peer
from tests.load.playing import play
from tests.process import REPOSITORY
from tests.tls import certificate
from tests.waiting import until

SHORT = ("fanout", "--clients", "12", "--rate", "40", "--seconds", "1", "--settle", "1")


def drop(before: int, frames: Frames) -> Frames:
    """The seventh is lost, the others come."""
    return [] if before == 7 else frames


def double(before: int, frames: Frames) -> Frames:
    return frames * 2 if before == 7 else frames


def swallow_the_end(before: int, frames: Frames) -> Frames:
    return [] if before >= 20 else frames


class Swap:
    """The seventh comes after the eighth."""

    def __init__(self) -> None:
        self.held: Frames = []

    def __call__(self, before: int, frames: Frames) -> Frames:
        if before == 7:
            self.held = frames
            return []
        return frames + self.held if before == 8 else frames


def rubbish(before: int, frames: Frames) -> Frames:
    return [b"rubbish\n\n"] if before == 7 else frames


async def test_a_strange_server_that_keeps_the_law_passes() -> None:
    async with peer() as url:
        report = await play(url, "k", *SHORT)
    assert report["exact"], report["verdict"]
    assert report["verdict"]["expected_deliveries"] == 12 * 41 - 12
    assert report["totals"]["deliveries"] == 12 * 40


async def test_over_tls_too(tmp_path: Path) -> None:
    context, _ = certificate(tmp_path)
    async with peer(drop, tls=context) as url:
        with pytest.raises(RefusalError, match="SSLCertVerificationError"):
            await play(url, "k", *SHORT)
        report = await play(url, "k", *SHORT, "--insecure")
    assert report["verdict"]["violations"] == {"lost": 4}


@pytest.mark.parametrize(
    ("plan", "kind", "count"),
    [
        (double, "duplicate", 4),
        (Swap(), "disorder", 4),
        (swallow_the_end, "undelivered", 4 * 5),
    ],
    ids=["double", "swap", "end"],
)
async def test_a_server_that_breaks_the_law_is_found(plan: Plan, kind: str, count: int) -> None:
    # The probe before the run has number 0, so the run's events begin at 1.
    async with peer(plan) as url:
        report = await play(url, "k", *SHORT)
    assert (report["exact"], report["exit_code"]) == (False, 1)
    assert report["verdict"]["clients_harmed"] == 4
    assert report["verdict"]["violations"][kind] >= count
    assert set(report["verdict"]["violations"]) == {kind}


async def test_a_server_that_takes_no_event_was_not_tested() -> None:
    async with peer(bears=1) as url:  # the probe
        report = await play(url, "k", *SHORT)
    assert (report["outcome"], report["exact"], report["exit_code"]) == ("not tested", False, 2)
    assert report["verdict"]["violations"] == {}
    assert report["untested"] == ["no event was published and acknowledged"]
    assert "NOT TESTED: no event" in text(report)
    assert "<h1>Not tested</h1>" in html.page(report)


async def test_a_server_that_dies_for_good_was_not_tested() -> None:
    async with peer(bears=10, dies=True) as url:
        report = await play(url, "k", *SHORT)
    assert (report["outcome"], report["exit_code"]) == ("not tested", 2)
    assert report["totals"]["acknowledged"] == 9
    assert report["totals"]["connected_at_end"] == 0
    assert "0 of 12 clients were connected" in report["untested"][0]


async def test_a_stream_that_ends_is_left_though_its_connection_stays() -> None:
    async with peer(lingers=True) as url:
        report = await play(url, "k", *SHORT)
    assert report["exact"], report["verdict"]
    assert report["totals"]["faults"] == {"stream ended without bye": 12}
    assert report["latency_ms"]["back_to_ready"]["count"] == 12
    assert report["totals"]["deliveries"] == 12 * 40


async def test_who_was_cut_waits_longer_each_time_while_the_server_is_down() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        options = parse(["churn", "--clients", "1", "--spread", "0"], {})
        meter = Meter(None)
        crowd = Crowd(options, resolve(options, url), Ledger("0123456789ab", 1), meter)
        [client] = crowd.clients
        client.cut, client.retry = True, 20
        crowd.left(client)
        crowd.left(client)  # told twice: it dials once
        await until(lambda: client.attempts >= 3)
        assert meter.faults.total() == 3
        assert not client.cut
        await crowd.close()


async def test_rubbish_is_told() -> None:
    async with peer(rubbish) as url:
        report = await play(url, "k", *SHORT)
    assert report["verdict"]["violations"]["malformed"] == 4


async def test_a_refused_stream_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scripts.load.crowd.GIVE_UP", 0.3)
    async with peer(refuse=True) as url:
        with pytest.raises(RefusalError, match=r"`bye: overload`.*TAILRACE_LIMITS=off"):
            await play(url, "k", *SHORT)


async def test_the_command_ends_with_one(tmp_path: Path) -> None:
    """As people run it, against a server that drops."""
    target = tmp_path / "out.json"
    async with peer(drop) as url:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "scripts.load", *SHORT, "--url", url, "--key", "k",
            "--json", str(target), cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=os.environ | {"PYTHONIOENCODING": "ascii"},
        )  # fmt: skip
        out, err = await process.communicate()
    assert process.returncode == 1, err
    assert b"NOT EXACT: 4 lost" in out
    assert json.loads(target.read_text())["exit_code"] == 1
    assert b"deliveries/s" in err


def test_a_failure_of_its_own_is_not_the_code_of_a_broken_law(
    capsys: pytest.CaptureFixture[str],
) -> None:
    # The resolver can't encode such a name, and says so with no OSError.
    assert main([*SHORT, "--url", f"http://{'a' * 70}.é/", "--key", "k"]) == 2
    assert "Error" in capsys.readouterr().err


def test_no_server_is_code_two(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert main([*SHORT, "--url", url, "--key", "k"]) == 2
    assert "can't be reached" in capsys.readouterr().err

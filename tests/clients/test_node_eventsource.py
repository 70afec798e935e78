"""npm `eventsource`: the EventSource of Node.js programs."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Serve
from tests.clients.program import Program
from tests.clients.served import STREAM

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="session")]

SCRIPT = str(Path(__file__).parents[1] / "node" / "eventsource.mjs")
CLOSED = 2


def told(lines: list[str], event: str) -> list[dict[str, Any]]:
    """What it dispatched under a name."""
    return [line for line in map(json.loads, lines) if line["event"] == event]


def numbers(lines: list[str]) -> list[int]:
    return [json.loads(line["data"])["data"]["n"] for line in told(lines, "message")]


async def test_nothing_is_lost_over_a_storm_of_cuts(serve: Serve, node: str) -> None:
    served = await serve(TAILRACE_RING_BYTES="0")
    async with Program(node, SCRIPT, f"{served.proxy.url}{STREAM}") as program:
        await program.wait(lambda lines: bool(told(lines, "ready")))
        await served.storm()
        await program.wait(lambda lines: served.published[-1] in numbers(lines))
    assert numbers(program.lines) == served.published
    assert len(told(program.lines, "ready")) > 6
    assert CLOSED not in [error["state"] for error in told(program.lines, "error")]


async def test_a_restart_is_a_bye_and_a_resumption(serve: Serve, node: str) -> None:
    served = await serve()
    async with Program(node, SCRIPT, f"{served.proxy.url}{STREAM}") as program:
        await program.wait(lambda lines: bool(told(lines, "ready")))
        await served.publish(3)
        await program.wait(lambda lines: 3 in numbers(lines))
        await served.end(signal.SIGTERM)
        await served.publish(3)
        await served.start()
        await program.wait(lambda lines: 6 in numbers(lines))
    assert numbers(program.lines) == served.published
    (bye,) = told(program.lines, "bye")
    assert json.loads(bye["data"])["reason"] == "shutdown"

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import pytest
import uvloop
from aiohttp import web

from server.run import ACCEPTS, BACKLOG, listen

CLIENTS = 320


@pytest.mark.parametrize("factory", [uvloop.new_event_loop, asyncio.new_event_loop])
def test_a_storm_of_connects_is_accepted_in_a_few_turns(
    factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    """Not one connection a turn: turns are long when events go out to thousands."""
    with asyncio.Runner(loop_factory=factory) as runner:
        assert runner.run(_turns()) <= 2 * CLIENTS / ACCEPTS


async def _turns() -> int:
    """The loop's turns until all clients, which came at once, are accepted and answered."""
    runner = web.AppRunner(web.Application(), access_log=None)
    await runner.setup()
    await listen(runner, "127.0.0.1", 0)
    assert runner.server is not None
    address = runner.addresses[0]
    clients = [socket.socket() for _ in range(CLIENTS)]
    try:
        for client in clients:  # the kernel completes them without the server
            client.connect(address)
        turns = 0
        while len(runner.server.connections) < CLIENTS:
            turns += 1
            await asyncio.sleep(0)
            assert turns < 10 * CLIENTS
        return turns
    finally:
        for client in clients:
            client.close()
        await runner.cleanup()


def test_the_backlog_bears_a_storm() -> None:
    assert BACKLOG >= 4096

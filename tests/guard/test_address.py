from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from server.guard import address
from server.guard.address import client_address, limit_key
from server.settings import Network
from tests.conftest import absent

CLIENT = "198.51.100.7"
PROXIES = tuple(ipaddress.ip_network(text) for text in ("127.0.0.0/8", "10.0.0.0/8"))


@pytest.fixture(autouse=True)
def _first_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test is a process that has not warned yet."""
    monkeypatch.setattr(address, "_undeclared", address.Undeclared())


@asynccontextmanager
async def door(
    trusted: tuple[Network, ...], *, path: Path | None = None, sock: socket.socket | None = None
) -> AsyncIterator[str]:
    """A server that answers with the address it sees; its URL."""

    async def tell(request: web.BaseRequest) -> web.Response:
        return web.Response(text=client_address(request, trusted))

    runner = web.ServerRunner(web.Server(tell))
    await runner.setup()
    site: web.BaseSite
    if path is not None:
        site = web.UnixSite(runner, path)
    elif sock is not None:
        site = web.SockSite(runner, sock)
    else:
        site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield "http://test" if path else f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def ask(
    url: str, *forwarded: str, connector: aiohttp.BaseConnector | None = None, **headers: str
) -> str:
    fields = [("X-Forwarded-For", value) for value in forwarded]
    fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        session.get(url, headers=fields) as answer,
    ):
        return await answer.text()


@pytest.mark.parametrize(
    ("forwarded", "seen"),
    [
        ((), "127.0.0.1"),
        ((CLIENT,), CLIENT),
        ((f"{CLIENT}, 10.0.0.2, 127.0.0.3",), CLIENT),
        ((CLIENT, "10.0.0.2"), CLIENT),
        ((f"203.0.113.1, {CLIENT}, 10.0.0.2",), CLIENT),
        (("10.0.0.9,10.0.0.2",), "10.0.0.9"),
        (("2001:DB8:0::1",), "2001:db8::1"),
        ((f"::ffff:{CLIENT}, ::ffff:10.0.0.1",), CLIENT),
        ((f"{CLIENT}:4711",), CLIENT),
        (("[2001:db8::1]:443",), "2001:db8::1"),
        (("fe80::1%eth0",), "fe80::1"),
    ],
)
async def test_the_first_from_the_right_that_is_no_proxy_is_the_client(
    forwarded: tuple[str, ...], seen: str
) -> None:
    async with door(PROXIES) as url:
        assert await ask(url, *forwarded) == seen


@pytest.mark.parametrize(
    "wrong",
    ["unknown", "", "_hidden", "1.2.3", "1.2.3.4.5", "01.2.3.4", "1.2.3.4:a", "::1::", "x" * 4000],
)
async def test_what_is_no_address_ends_the_walk_at_the_last_good_one(wrong: str) -> None:
    async with door(PROXIES) as url:
        assert await ask(url, f"{CLIENT}, {wrong}, 10.0.0.2") == "10.0.0.2"
        assert await ask(url, f"{CLIENT}, {wrong}") == "127.0.0.1"


async def test_other_headers_say_nothing() -> None:
    async with door(PROXIES) as url:
        seen = await ask(url, Forwarded=f"for={CLIENT}", X_Real_Ip=CLIENT, Cf_Connecting_Ip=CLIENT)
        assert seen == "127.0.0.1"


async def test_a_client_that_is_no_proxy_is_not_believed_and_told_of_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trusted = (ipaddress.ip_network("127.0.0.1/32"),)
    async with door(trusted) as url:
        for number in range(5):
            connector = aiohttp.TCPConnector(local_addr=("127.0.0.9", 0))
            assert await ask(url, f"10.0.0.{number}", connector=connector) == "127.0.0.9"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("server.guard.address", logging.WARNING)
    assert "127.0.0.9" in record.getMessage()
    assert "TRUSTED_PROXIES" in record.getMessage()


async def test_nobody_is_believed_when_no_proxy_is_declared(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with door(()) as url:
        assert await ask(url) == "127.0.0.1"
        assert not caplog.records
        assert await ask(url, CLIENT) == "127.0.0.1"
        assert len(caplog.records) == 1


@pytest.mark.parametrize(("trusted", "seen"), [(PROXIES, CLIENT), ((), "unix")])
async def test_a_unix_socket_is_a_proxy_if_there_are_any(
    tmp_path: Path, trusted: tuple[Network, ...], seen: str
) -> None:
    path = tmp_path / "s"
    async with door(trusted, path=path) as url:
        assert await ask(url, connector=aiohttp.UnixConnector(str(path))) == "unix"
        assert (
            await ask(url, f"{CLIENT}, 10.0.0.1", connector=aiohttp.UnixConnector(str(path)))
            == seen
        )


async def test_an_ipv4_peer_of_a_socket_for_both_is_an_ipv4_peer() -> None:
    if not socket.has_dualstack_ipv6():
        absent("IPv6")
    sock = socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True)
    async with door(PROXIES, sock=sock) as url:
        assert await ask(url) == "127.0.0.1"
        assert await ask(url, CLIENT) == CLIENT


@pytest.mark.parametrize(
    ("seen", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("unix", "unix"),
    ],
)
def test_a_customer_with_a_network_has_one_limit(seen: str, key: str) -> None:
    assert limit_key(seen) == key

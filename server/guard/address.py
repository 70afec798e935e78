"""Whose request it is: the peer's address, or what declared proxies say of it.

Only `X-Forwarded-For`, and only from proxies in `TRUSTED_PROXIES`: any client can send a header.
"""

from __future__ import annotations

import functools
import ipaddress
import logging
import re

from aiohttp import web

from server.settings import Network

log = logging.getLogger(__name__)

UNIX = "unix"
"""The address of a peer that has none: a unix socket."""
UNKNOWN = "unknown"
"""The address of a peer that has gone already; it is trusted with nothing."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# Some proxies append the port: 192.0.2.1:5000, [2001:db8::1]:5000.
_WITH_PORT = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?", re.ASCII)


class Undeclared:
    """Warns once that a header is ignored: the likeliest cause is a proxy nobody declared."""

    def __init__(self) -> None:
        self._warned = False

    def warn(self, peer: str) -> None:
        if self._warned:
            return
        self._warned = True
        log.warning(
            "X-Forwarded-For from %s is ignored: TRUSTED_PROXIES does not name it. If it is your"
            " proxy, add it there; until then all its clients share one rate limit",
            peer,
        )


_undeclared = Undeclared()


def client_address(request: web.BaseRequest, trusted: tuple[Network, ...]) -> str:
    """The address of the client: `unix` for a unix socket that says no more."""
    peer = request.remote
    address = _parse(peer or "")
    name = _name(peer, address)
    if not trusted and "X-Forwarded-For" not in request.headers:
        return name
    forwarded = request.headers.getall("X-Forwarded-For", [])
    # Who may open our unix socket is our own proxy, if we have one at all.
    known = bool(trusted) if name == UNIX else _within(address, trusted)
    if not forwarded:
        return name
    if not known:
        _undeclared.warn(name)
        return name
    # Each proxy appends whom it heard: from the right, the first that is not ours is the client.
    # What stands further left is the client's own claim.
    for entry in reversed(",".join(forwarded).split(",")):
        address = _parse(entry.strip())
        if address is None:
            break
        name = str(address)
        if not _within(address, trusted):
            break
    return name


@functools.lru_cache(maxsize=4096)
def limit_key(address: str) -> str:
    """What is limited: an IPv4 address, or the /64 that one IPv6 customer has to himself."""
    parsed = _parse(address)
    if parsed is None:
        return address
    if parsed.version == 4:
        return str(parsed)
    return str(ipaddress.IPv6Network((int(parsed) >> 64 << 64, 64)))


@functools.lru_cache(maxsize=4096)
def _name(peer: str | None, address: Address | None) -> str:
    if address is not None:
        return str(address)
    return UNKNOWN if peer is None else UNIX


def _within(address: Address | None, networks: tuple[Network, ...]) -> bool:
    return address is not None and any(address in network for network in networks)


@functools.lru_cache(maxsize=4096)
def _parse(text: str) -> Address | None:
    """An address in its one form: no port, no zone, and IPv4 as such however it is written."""
    if match := _WITH_PORT.fullmatch(text):
        text = match[1] or match[2]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address

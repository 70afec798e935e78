"""The command line: what may be asked, the bounds, and whom it may be asked of."""

from __future__ import annotations

import argparse
import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import SplitResult, urlsplit

CLIENTS = 50_000
SECONDS = 3_600
RATE = 20_000
SIZE = 256 * 1024
CHANNELS = 10_000
BATCH = 1_000
BURST = 20_000
READERS = 16
DELIVERED = 2**33
"""Deliveries that are kept account of, at most: a bit each, a GiB of bitmaps."""
OPENING = 600
"""Seconds that opening all clients at the asked rate may take."""
PATTERN_SHARE = 10
"""Every so many-th client of `mixed` has all of its channels by a pattern."""

COMMON: dict[str, Any] = {
    "clients": 1_000, "rate": 10.0, "seconds": 20.0, "channels": 1, "batch": 1, "size": 64,
}  # fmt: skip
SCENARIOS: dict[str, tuple[str, dict[str, Any]]] = {
    "fanout": ("a steady rate to all clients", {}),
    "churn": (
        "a share of the clients is cut at every interval, all at once, and comes back with"
        " Last-Event-ID while publishing goes on",
        {"seconds": 30.0, "share": 0.3, "interval": 5.0, "spread": 0.5},
    ),
    "slow-readers": (
        "a share of the clients stops reading for a while, then goes on",
        {"seconds": 30.0, "rate": 20.0, "size": 4096, "slow": 0.05, "stall": 10.0},
    ),
    "burst": (
        "a quiet stream, and many events at one moment at every interval",
        {"rate": 1.0, "burst": 100, "interval": 4.0},
    ),
    "mixed": (
        "all of these at moderate rates, over several channels and a pattern",
        {"seconds": 40.0, "channels": 8, "size": 1024, "share": 0.1, "interval": 10.0,
         "spread": 0.5, "slow": 0.05, "stall": 8.0, "burst": 50},
    ),
}  # fmt: skip
OWN = ("share", "interval", "spread", "slow", "stall", "burst")
"""Options that only some scenarios have."""


class UsageError(Exception):
    """What was asked can't be done; the message says what to change."""


@dataclass(frozen=True)
class Options:
    """A run. Times in seconds, `size` in bytes of padding."""

    scenario: str
    url: str | None
    key: str
    clients: int
    rate: float
    seconds: float
    channels: int
    batch: int
    size: int
    share: float
    interval: float
    spread: float
    slow: float
    stall: float
    burst: int
    publishers: int
    readers: int
    connect_rate: float
    settle: float
    seed: int
    gaps: bool
    allow_host: tuple[str, ...]
    insecure: bool
    server_pid: int | None
    json: Path | None
    html: Path | None
    quiet: bool
    command: str

    @property
    def parameters(self) -> dict[str, Any]:
        """What matters of it for a report; never the key."""
        names = (*COMMON, *SCENARIOS[self.scenario][1])
        kept = {name: getattr(self, name) for name in dict.fromkeys(names)}
        kept |= {"readers": self.readers} if self.readers else {}
        return kept | {"publishers": self.publishers, "seed": self.seed}


@dataclass(frozen=True)
class Target:
    """Where the server is: one address, resolved once. `prefix`: the path before `/api`."""

    family: socket.AddressFamily
    address: tuple[Any, ...]
    host: str
    prefix: str
    tls: ssl.SSLContext | None
    name: str
    loopback: bool


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Options:
    """The command line.

    Raises:
        UsageError: what is wrong with it.
    """
    given = vars(_parser().parse_args(list(arguments)))
    scenario = given["scenario"]
    defaults = COMMON | SCENARIOS[scenario][1]
    for name in OWN:
        if given[name] is not None and name not in defaults:
            raise UsageError(f"--{name} is not for {scenario}")
    absent = {"share": 0.0, "interval": 1.0, "spread": 0.0, "slow": 0.0, "stall": 0.0, "burst": 0}
    for name, value in (absent | defaults).items():
        if given[name] is None:
            given[name] = value
    given["key"] = given["key"] or environment.get("TAILRACE_API_KEY", "")
    given["allow_host"] = tuple(given["allow_host"])
    options = Options(**given, command=_command(arguments))
    _bound(options)
    if options.url is not None and not options.key:
        raise UsageError("publishing needs an API key: --key, or TAILRACE_API_KEY")
    return options


def _command(arguments: Sequence[str]) -> str:
    """For the report, without the key."""
    words = list(arguments)
    for at, word in enumerate(words):
        if word == "--key" and at + 1 < len(words):
            words[at + 1] = "…"
        elif word.startswith("--key="):
            words[at] = "--key=…"
    return " ".join(["scripts/loadtest", *words])


def _bound(options: Options) -> None:
    bounds: tuple[tuple[str, float, float], ...] = (
        ("clients", 1, CLIENTS), ("seconds", 1, SECONDS), ("rate", 0.1, RATE),
        ("channels", 1, min(CHANNELS, options.clients)), ("batch", 1, BATCH), ("size", 0, SIZE),
        ("share", 0, 1), ("interval", 0.5, SECONDS), ("spread", 0, 60), ("slow", 0, 1),
        ("stall", 0, SECONDS), ("burst", 0, BURST), ("publishers", 1, 64), ("readers", 0, READERS),
        ("connect_rate", 1, 20_000), ("settle", 1, 600),
    )  # fmt: skip
    for name, low, high in bounds:
        # Written so that nan fails, too.
        if not low <= getattr(options, name) <= high:
            raise UsageError(f"--{name.replace('_', '-')} is from {low} to {high}")
    if options.stall >= options.seconds:
        raise UsageError("--stall must be shorter than --seconds")
    if options.clients / options.connect_rate > OPENING:
        raise UsageError(
            f"opening so many clients would take more than {OPENING} s: a higher --connect-rate"
        )
    if _deliveries(options) > DELIVERED:
        raise UsageError("that many deliveries can't be kept account of: fewer clients or events")


def _deliveries(options: Options) -> float:
    """Events times the clients that each one goes to."""
    events = options.seconds * (options.rate + options.burst / options.interval)
    patterns = 0
    if options.scenario == "mixed":
        patterns = -(-options.clients // PATTERN_SHARE)
    every = patterns + options.readers
    return events * ((options.clients - patterns) / options.channels + every)


def resolve(options: Options, url: str) -> Target:
    """Look the server up; only loopback, or a host that was named, is ever touched.

    Raises:
        UsageError: it is neither, or no such host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from None
    host = parts.hostname
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.username:
        raise UsageError(f"{url} is no address like http://127.0.0.1:8080")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise UsageError(f"{host}: {error}") from None
    family, _, _, _, address = found[0]
    loopback = all(
        ipaddress.ip_address(str(it[4][0]).partition("%")[0]).is_loopback for it in found
    )
    if not loopback and host.lower() not in {it.lower() for it in options.allow_host}:
        raise UsageError(
            f"{host} is another machine: a load test is an attack on whoever did not ask for it."
            f" If it is yours, say --allow-host {host}"
        )
    tls = None
    if parts.scheme == "https":
        tls = ssl.create_default_context()
        if options.insecure:
            tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
    return Target(family, address, _authority(parts), parts.path.rstrip("/"), tls, host, loopback)


def _authority(parts: SplitResult) -> str:
    return parts.netloc


def _parser() -> argparse.ArgumentParser:
    wrap = argparse.RawDescriptionHelpFormatter
    what = "\n".join(f"  {name:13} {text}" for name, (text, _) in SCENARIOS.items())
    own = "\n".join(
        f"  {name:13} {' '.join(f'--{key} {value}' for key, value in values.items()) or 'as above'}"
        for name, (_, values) in SCENARIOS.items()
    )
    parser = _Parser(
        prog="scripts/loadtest",
        formatter_class=wrap,
        allow_abbrev=False,
        description=f"Loads a Tailrace server with streams and judges every delivery.\n\n{what}\n\n"
        "Without --url it starts a server of its own, in a temporary directory.",
        epilog=f"Defaults that differ by scenario:\n{own}\n\n"
        "Exit code: 0 exact; 1 lost, doubled, disordered or untold; 2 not tested: usage, no\n"
        "server, nothing published, or not all clients took part.\n"
        "docs/loadtest.md tells how to read the report.",
    )
    parser.add_argument("scenario", choices=SCENARIOS, metavar="scenario")
    add = parser.add_argument_group("the load").add_argument
    add("--clients", type=int, help=f"streams, up to {CLIENTS:,} (1000)")
    add("--rate", type=float, help="events a second over all channels (10)")
    add("--seconds", type=float, help=f"how long, up to {SECONDS:,} (20)")
    add("--channels", type=int, help="channels that clients are spread over (1)")
    add("--batch", type=int, help="events in one POST (1)")
    add("--size", type=int, help="bytes of padding in each event (64)")
    add("--publishers", type=int, default=8, help="connections that publish (8)")
    add("--readers", type=int, default=0, help="more clients, by server/client.py (0)")
    add("--connect-rate", type=float, default=2000, help="first connects a second (2000)")
    add("--settle", type=float, default=30, help="seconds at most to wait for the last (30)")
    add("--seed", type=int, default=1, help="which clients are cut or slow (1)")
    add = parser.add_argument_group("of some scenarios").add_argument
    add("--share", type=float, help="of the clients that each storm cuts: churn, mixed")
    add("--interval", type=float, help="seconds between storms or bursts: churn, burst, mixed")
    add("--spread", type=float, help="seconds over which those who were cut come back")
    add("--slow", type=float, help="share of the clients that stop reading: slow-readers, mixed")
    add("--stall", type=float, help="seconds for which they do")
    add("--burst", type=int, help="events at one moment: burst, mixed")
    add = parser.add_argument_group("the server").add_argument
    add("--url", help="http:// or https:// address; without it, a server of its own")
    add("--key", help="API key that may publish to public.load.> (TAILRACE_API_KEY)")
    add(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="a host that is not loopback: its name as in --url",
    )
    add("--insecure", action="store_true", help="do not check the certificate")
    add("--server-pid", type=int, help="a local server's pid, for its CPU and memory")
    add = parser.add_argument_group("the report").add_argument
    add("--json", type=Path, metavar="FILE", help="all figures")
    add("--html", type=Path, metavar="FILE", help="one page with plots")
    add("--no-gaps", dest="gaps", action="store_false", help="a gap that is told is a failure, too")
    add("--quiet", action="store_true", help="no line a second")
    return parser

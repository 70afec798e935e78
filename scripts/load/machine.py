"""What this machine allows and how busy it is: file descriptors, ports, processes in /proc."""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from scripts.load.options import Options, Target, UsageError

SPARE = 300
"""File descriptors and ports beside those of the clients."""


def make_room(options: Options) -> None:
    """Raise the number of files that may be open.

    Raises:
        UsageError: it can't be raised as far as the clients need.
    """
    needed = options.clients + options.publishers + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    unbounded = hard == resource.RLIM_INFINITY
    try:
        most = hard if unbounded else max(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, most))
    except (OSError, ValueError):
        raise UsageError(
            f"{options.clients:,} clients need {needed:,} open files and the limit is {hard:,}:"
            f" raise it (ulimit -Hn {needed}), or ask for fewer clients"
        ) from None


def check_ports(options: Options, target: Target) -> None:
    """One address and port of a server bear as many clients as there are ephemeral ports.

    Raises:
        UsageError: there are fewer than clients.
    """
    ports = ephemeral_ports()
    if ports is None or options.clients + SPARE <= ports:
        return
    raise UsageError(
        f"{options.clients:,} clients to one address ({target.host}) need as many local ports and"
        f" there are {ports:,}: widen net.ipv4.ip_local_port_range, or ask for fewer clients"
    )


def ephemeral_ports() -> int | None:
    """How many there are; `None` where it can't be told."""
    try:
        text = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text()
    except OSError:
        return None
    low, high = map(int, text.split())
    return high - low + 1


def describe() -> dict[str, Any]:
    """The machine that the figures are of."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpus": usable,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
    }


class Load(NamedTuple):
    """Of a process and its children: CPU seconds so far, and resident bytes. Postgres apart."""

    cpu: float
    rss: int
    postgres_cpu: float
    postgres_rss: int


def load_of(pid: int) -> Load | None:
    """`None` when there is no such process, or no /proc."""
    if not sys.platform.startswith("linux"):
        return None
    tree = _tree(pid)
    if pid not in tree:
        return None
    ours = [it for it in tree.values() if it.name != "postgres"]
    theirs = [it for it in tree.values() if it.name == "postgres"]
    return Load(
        sum(it.cpu for it in ours), sum(it.rss for it in ours),
        sum(it.cpu for it in theirs), sum(it.rss for it in theirs),
    )  # fmt: skip


class _Process(NamedTuple):
    name: str
    parent: int
    cpu: float
    rss: int


def _tree(root: int) -> dict[int, _Process]:
    """A process and all below it."""
    every: dict[int, _Process] = {}
    for entry in os.listdir("/proc"):  # noqa: PTH208 - names alone, once a second
        if entry.isdigit() and (found := _process(entry)) is not None:
            every[int(entry)] = found
    inside = {root} & every.keys()
    while more := {pid for pid, it in every.items() if it.parent in inside} - inside:
        inside |= more
    return {pid: every[pid] for pid in inside}


def _process(pid: str) -> _Process | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    ticks = os.sysconf("SC_CLK_TCK")
    pages = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return _Process(name, int(fields[1]), (int(fields[11]) + int(fields[12])) / ticks, pages)


def own_cpu() -> float:
    """CPU seconds of this process."""
    return time.process_time()

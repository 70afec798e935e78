"""The rows: one measurement of DESIGN's table each. A row = one file, or one function, and a line
in `ROWS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from scripts.benchmark.result import Result
from scripts.benchmark.rows import (
    channels,
    fanout,
    healthz,
    memory,
    page,
    replay,
    sigterm,
    stalled,
    storm,
    uploads,
    webhooks,
)
from scripts.benchmark.world import World


class Row(NamedTuple):
    """`minutes`: what it takes, about, with its own number of clients and 9 pairs, none spoiled."""

    title: str
    minutes: int
    run: Callable[[World, Result], None]


ROWS = {
    "fanout": Row("Fan-out, published in process", 6, fanout.engine),
    "whole": Row("Fan-out over the whole path, POST to clients", 3, fanout.whole),
    "channels": Row("Many channels", 4, channels.run),
    "memory": Row("Memory of an idle subscriber", 4, memory.run),
    "storm": Row("Connect storm", 2, storm.run),
    "healthz": Row("GET /healthz during a fan-out", 2, healthz.run),
    "replay": Row("Replay to one client", 2, replay.run),
    "stalled": Row("Stalled clients", 7, stalled.run),
    "sigterm": Row("SIGTERM with streams open", 1, sigterm.run),
    "webhooks": Row("Webhook intake", 8, webhooks.run),
    "uploads": Row("Uploads", 4, uploads.run),
    "page": Row("The dashboard under a flood", 4, page.run),
}

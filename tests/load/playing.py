"""Runs of the load test in this process, against whatever serves."""

from __future__ import annotations

from typing import Any

from scripts.load import report
from scripts.load.machine import make_room
from scripts.load.options import parse, resolve
from scripts.load.run import Run


async def play(url: str, key: str, *arguments: str) -> dict[str, Any]:
    """The report of a run."""
    options = parse([*arguments, "--quiet", "--url", url, "--key", key], {})
    make_room(options)
    result = await Run(options, resolve(options, url), None).play()
    return report.build(result)

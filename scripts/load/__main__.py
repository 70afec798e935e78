"""`scripts/loadtest`: plays a scenario against a server, and reports."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import uvloop

from scripts.load import html, report
from scripts.load.crowd import RefusalError
from scripts.load.machine import check_ports, make_room
from scripts.load.options import Options, UsageError, parse, resolve
from scripts.load.run import Run
from scripts.load.server import OwnServer

USAGE = 2
"""Also for a failure of this program: 1 says that the server broke the law, and nothing else."""


def main(arguments: list[str]) -> int:
    """The exit code: 0 exact, 1 not, 2 not tested: usage, no server, or a failure of its own."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        return _main(arguments)
    except (UsageError, RefusalError) as error:
        print(f"scripts/loadtest: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        return 130
    except Exception:
        traceback.print_exc()
    return USAGE


def _main(arguments: list[str]) -> int:
    options = parse(arguments)
    _must_be_writable(options.json, options.html)
    make_room(options)
    if options.url is not None:
        return _run(options, options.url, options.server_pid)
    print("No --url: starting a server of its own", file=sys.stderr, flush=True)
    server = OwnServer()
    try:
        code = _run(dataclasses.replace(options, key=server.key), server.url(), server.pid)
        for complaint in server.complaints():
            print(f"  the server's log: {complaint}", file=sys.stderr)
        return code
    finally:
        server.end()


def _run(options: Options, url: str, pid: int | None) -> int:
    target = resolve(options, url)
    check_ports(options, target)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        result = runner.run(Run(options, target, pid).play())
    found = report.build(result)
    _write(options, found)
    print(report.text(found))
    return int(found["exit_code"])


def _must_be_writable(*paths: Path | None) -> None:
    """Before an hour has been spent.

    Raises:
        UsageError: a report can't be written there.
    """
    for path in paths:
        try:
            if path is not None:
                path.open("ab").close()
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}") from None


def _write(options: Options, found: dict[str, Any]) -> None:
    if options.json is not None:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    if options.html is not None:
        options.html.write_text(html.page(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

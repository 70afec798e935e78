"""The end of open streams whose permission was taken away: on the spot, not at the next look."""

from __future__ import annotations

from collections.abc import Iterable

from aiohttp import web

from server.stream.service import SERVICE


def end_streams(
    app: web.Application, *, sessions: Iterable[str] = (), keys: Iterable[str] = ()
) -> None:
    """Say `bye: revoked` to the streams of this process that these sessions and keys opened."""
    ended, streams = (frozenset(sessions), frozenset(keys)), app[SERVICE].streams
    if not any(ended):
        return
    for stream in streams:
        who = stream.principal
        if who.session_id in ended[0] or who.key_id in ended[1]:
            streams.end(stream, "revoked")

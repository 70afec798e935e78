"""What schemathesis (in a process of its own) has to know of this API beside its document."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle
from typing import Any
from urllib.parse import urlencode

import schemathesis

STARTS = ("after", "rewind", "since")
ENDING = frozenset({"signOut", "revokeSessions"})
"""These end the session that they are called with, which every other operation needs."""
NO_NUL = r"^[^\x00]*$"
UNKNOWN = "x-schemathesis-unknown-property"
TOKEN = os.environ["TOKEN"]
_SPARE = cycle(os.environ["SPARE_TOKENS"].split(","))


@schemathesis.serializer("application/offset+octet-stream")
def as_bytes(context: Any, value: Any) -> bytes:
    """A piece of a file."""
    del context
    return value if isinstance(value, bytes) else str(value).encode(errors="replace")


@schemathesis.hook
def before_load_schema(context: Any, raw_schema: dict[str, Any]) -> None:
    """Say nothing of NUL, which is not generated: texts by a pattern take ten times as long."""
    del context
    for part in within(raw_schema):
        if part.get("pattern") == NO_NUL:
            del part["pattern"]


def within(given: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(given, dict):
        yield given
        given = list(given.values())
    if isinstance(given, list):
        for item in given:
            yield from within(item)


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """Leave out what is wrong only by a header that no server would look at."""
    del context
    return UNKNOWN not in {name.lower() for name in case.headers or ()}


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Make a case one that can be right, where the document has no words for what is wrong."""
    del context, kwargs
    case.query = in_address(case.query)
    if case.meta is None or case.meta.generation.mode.is_positive:
        case.query = one_start(case.query)
        case.body = one_start(case.body)
    if case.operation.definition.raw.get("operationId") in ENDING:
        for given in (case.cookies, case.headers):
            for name, value in dict(given or {}).items():
                if TOKEN in value:
                    given[name] = value.replace(TOKEN, next(_SPARE))


def in_address(query: Any) -> Any:
    """The parser of requests refuses a line of more than 32 KB, before there is a route."""
    if not isinstance(query, dict) or len(urlencode(query, doseq=True)) < 30_000:
        return query
    return {
        name: [str(item)[:9] for item in value] if isinstance(value, list) else str(value)[:200]
        for name, value in query.items()
    }


def one_start(given: Any) -> Any:
    """Of several places to start from, keep one."""
    if not isinstance(given, dict) or "channel" not in given:
        return given
    surplus = [name for name in STARTS if given.get(name) is not None][1:]
    return {name: value for name, value in given.items() if name not in surplus}

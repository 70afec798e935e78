"""`/openapi.json`: the OpenAPI 3.1 document of the declared routes and event types.

Streams: OpenAPI before 3.2 has no word for the items of a stream. The schema of a
`text/event-stream` answer is that of each of its events, which is how its readers take it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from server.auth.sessions import COOKIE, SECURE_COOKIE
from server.log.catalog import EventType
from server.openapi.headers import HEADERS
from server.openapi.operations import error_answers, head, operation
from server.openapi.problems import Problem
from server.openapi.route import Route
from server.openapi.schemas import Schemas, Use

OPENAPI = "3.1.1"
ABOUT = """\
Commit to Postgres, and every subscribed browser knows within milliseconds.

Every error has one form, `application/problem+json` (RFC 9457). Beside the errors that operations
list, any path answers 405 with `Allow` to a method that it does not have. A field that an
operation does not know is an error, in bodies and queries alike."""
SECURITY = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": f"A browser's session. Over https the cookie is called `{SECURE_COOKIE}`."
        " Writes need an `Origin` of this server, or one that it allows.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a session, for apps that keep no cookies.",
    },
    "apiKey": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, for servers: it may do what its scopes say.",
    },
}


def document(
    routes: Sequence[Route], *, version: str, events: Iterable[EventType] = ()
) -> dict[str, Any]:
    """The whole document.

    Raises:
        ValueError: two operations of one name, or a header that is described nowhere.
    """
    events = list(events)
    schemas = Schemas(_uses(routes, events))
    paths = _paths(routes, schemas)
    errors = error_answers(routes, schemas.of(Problem, "serialization"))
    types = [
        {
            "name": item.name,
            "channel": item.channel,
            "source": item.source,
            "summary": item.summary,
            "schema": schemas.of(item.model, "serialization"),
        }
        for item in events
    ]
    schemas.prune([paths, errors, types])
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Tailrace",
            "version": version,
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys(item.tag for item in routes)],
        "paths": paths,
        "components": {
            "schemas": schemas.components,
            "responses": errors,
            "headers": HEADERS,
            "securitySchemes": SECURITY,
        },
        "x-events": types,
    }


def _uses(routes: Iterable[Route], events: Iterable[EventType]) -> Iterator[Use]:
    yield Problem, "serialization"
    for route in routes:
        for model in route.models.values():
            yield model, "validation"
        for answer in route.answers.values():
            if answer is not None:
                yield answer, "serialization"
    for item in events:
        yield item.model, "serialization"


def _paths(routes: Sequence[Route], schemas: Schemas) -> dict[str, Any]:
    names = _names(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route, name in zip(routes, names, strict=True):
        # aiohttp's `{name:pattern}` is `{name}` here: the parameter's schema has the pattern.
        operations = paths.setdefault(re.sub(r"\{(\w+):[^}]*\}", r"{\1}", route.path), {})
        made = operations[route.method.lower()] = operation(route, name, schemas)
        if route.method == "GET":
            operations["head"] = head(made, f"{name}Head")
    return paths


def _names(routes: Iterable[Route]) -> list[str]:
    """The operations' names: the handlers', with the tag before it where several share one."""
    routes = list(routes)
    plain = [_camel(_name(item)) for item in routes]
    shared = {name for name, count in Counter(plain).items() if count > 1}
    names = [
        _camel(f"{item.tag}_{_name(item)}") if name in shared else name
        for item, name in zip(routes, plain, strict=True)
    ]
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        msg = f"several handlers are called {', '.join(twice)}"
        raise ValueError(msg)
    return names


def _name(route: Route) -> str:
    return str(getattr(route.handler, "__name__", "") or route.summary)


def _camel(text: str) -> str:
    words: list[str] = re.findall(r"[A-Za-z0-9]+", text)
    joined = "".join(word[0].upper() + word[1:] for word in words)
    return joined[:1].lower() + joined[1:]

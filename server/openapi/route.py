"""Routes: a handler's signature says what it takes, its declaration what it answers.

    @route("GET", "/api/posts/{id}", summary="One post", answers={200: Post}, errors=(NOT_FOUND,))
    async def get_post(request: web.Request, path: PostPath) -> web.Response: ...

A handler may ask, by these names, for the `request`, the principal (`who`), and pydantic models of
the `path`, the `query` and the JSON `body`. It answers with a model (status 200) or a response
made by `answer()`. Before it runs, in this order: who asks, may they, their rate, then the
values. What fails is answered in the error form, and everything is in `/openapi.json`.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from server.auth.identify import identify
from server.errors import Kind
from server.guard.rates import charge
from server.openapi.access import ANYONE, Access, admit, check_page
from server.openapi.reading import MAX_BODY, bounded, check, read_json, read_path, read_query

Handler = Callable[..., Awaitable[BaseModel | web.StreamResponse]]
Answers = Mapping[int, type[BaseModel] | None]
Expect = Callable[[web.Request], Awaitable[None]]

JSON = "application/json"
NO_STORE = {"Cache-Control": "no-store"}


@dataclass(frozen=True, slots=True)
class Route:
    """One declared route.

    `answers`: the model of each status it may answer with (`None`: no body). `rate`: the name of
    its policy (server/guard/rates.py). `headers`: those of its own that a good answer has.
    `reads`: those that a request may have. `media`: the content type of what it answers,
    `consumes` of its body. `raw`: the handler does
    everything by itself, and the rest is there for the document. `unread`: the models of what it
    reads by itself.
    """

    method: str
    path: str
    handler: Handler
    summary: str
    tag: str
    access: Access
    answers: Answers
    errors: tuple[Kind, ...]
    headers: tuple[str, ...]
    rate: str | None
    max_body: int
    media: str
    raw: bool
    models: Mapping[str, type[BaseModel]] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()
    consumes: str = JSON
    takes: frozenset[str] = frozenset()
    reads: tuple[str, ...] = ()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """Answer a request, as aiohttp calls it."""
        if self.raw:
            return _response(await self.handler(request))
        values: dict[str, Any] = {}
        if not self.access.open:
            values["who"] = await admit(request, self.access, self.method)
        elif "who" in self.takes:
            values["who"] = await identify(request)
        check_page(request, self.access, values.get("who"))
        if self.rate is not None or "who" in values:
            await charge(request, self.rate, values.get("who"))
        if "request" in self.takes:
            values["request"] = request
        if self.models:
            await self._read(request, values)
        if "who" not in self.takes:
            values.pop("who", None)
        return _response(await self.handler(**values))

    async def _read(self, request: web.Request, values: dict[str, Any]) -> None:
        models = self.models
        if "path" in models:
            values["path"] = read_path(models["path"], request)
        if "query" in models:
            values["query"] = read_query(models["query"], request)
        if "body" in models and "body" not in self.unread:
            body = bounded(await read_json(request, self.max_body))
            values["body"] = check(models["body"], body)


def route(
    method: str,
    path: str,
    *,
    summary: str,
    tag: str,
    answers: Answers,
    access: Access = ANYONE,
    errors: Iterable[Kind] = (),
    headers: Iterable[str] = (),
    reads: Iterable[str] = (),
    rate: str | None = None,
    max_body: int = MAX_BODY,
    media: str = JSON,
    raw: Mapping[str, type[BaseModel]] | None = None,
    body: type[BaseModel] | None = None,
    consumes: str = JSON,
) -> Callable[[Handler], Route]:
    """Declare a handler's route; see the module.

    `raw`: the models of a handler that does everything by itself; `body`: that of one that reads
    its body by itself, of the media type `consumes`.
    """

    def declare(handler: Handler) -> Route:
        hints = typing.get_type_hints(handler) if raw is None else {}
        takes = frozenset(inspect.signature(handler).parameters)
        known = {"request", "who", "path", "query", "body"}
        if raw is None and takes - known:
            msg = f"{handler}: a handler takes {sorted(known)}, not {sorted(takes - known)}"
            raise TypeError(msg)
        models: dict[str, type[BaseModel]] = dict(raw or {})
        for name in ("path", "query", "body"):
            if name in hints:
                models[name] = hints[name]
        if body is not None:
            models["body"] = body
        return Route(
            method=method,
            path=path,
            handler=handler,
            summary=summary,
            tag=tag,
            access=access,
            answers=answers,
            errors=tuple(errors),
            headers=tuple(headers),
            rate=rate,
            max_body=max_body,
            media=media,
            raw=raw is not None,
            models=models,
            unread=frozenset(() if body is None else ("body",)),
            consumes=consumes,
            takes=takes,
            reads=tuple(reads),
        )

    return declare


ROUTES: web.AppKey[list[Route]] = web.AppKey("routes", list)
"""Every declared route of an application, for the document."""


def add(app: web.Application, *routes: Route, expect: Expect | None = None) -> None:
    """Put routes on an application; GET brings HEAD. `expect`: what handles a header `Expect`,
    before anything else is known of the request; by default the body is asked for."""
    for item in routes:
        app.setdefault(ROUTES, []).append(item)
        path = _template(item)
        if item.method == "GET":
            app.router.add_get(path, item.__call__, expect_handler=expect)
        else:
            app.router.add_route(item.method, path, item.__call__, expect_handler=expect)


def _template(item: Route) -> str:
    """The path as aiohttp takes it: a number in it is digits.

    Otherwise `DELETE /posts/{id}` would speak for `/posts/unread` as well: 404 where it is 405.
    """
    path = item.path
    if (model := item.models.get("path")) is not None:
        for name, about in model.model_fields.items():
            if about.annotation is int:
                path = path.replace(
                    f"{{{about.alias or name}}}", f"{{{about.alias or name}:[0-9]+}}"
                )
    return path


def answer(
    body: BaseModel | None, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON answer with a status or headers of its own."""
    return web.Response(
        body=body.model_dump_json().encode() if body is not None else None,
        status=status,
        content_type=JSON if body is not None else None,
        headers=NO_STORE if headers is None else {**NO_STORE, **headers},
    )


def _response(result: BaseModel | web.StreamResponse) -> web.StreamResponse:
    return answer(result) if isinstance(result, BaseModel) else result

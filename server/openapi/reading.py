"""From a request to checked values: path, query and JSON body, with every fault in the answer."""

from __future__ import annotations

import asyncio
import functools
import json
import types
import typing
from typing import Any, TypeVar

from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ConfigDict, ValidationError
from yarl import URL

from server.errors import INVALID, MEDIA_TYPE, NOT_FOUND, TIMEOUT, ApiError, Issue

BODY_TIMEOUT = 20.0
"""Seconds within which a JSON body must have come."""
MAX_BODY = 1024 * 1024
"""Bytes of a JSON body, where a route says nothing else."""

MAX_VALUES = 5_000
"""Values in a JSON body, where the handler has a model of it: judging more holds up the loop."""
MAX_ISSUES = 100

M = TypeVar("M", bound=BaseModel)


REPEATED_LENGTH = 512
"""Characters of a query that is remembered."""
FLEETING = ("token", "since", "%")
"""What is in no query that is remembered: a secret, a time that counts from now, and the
percent-encoding, in which either could be spelt another way."""


def check(model: type[M], values: Any) -> M:
    """Validate, with every fault in the answer, up to `MAX_ISSUES`.

    Raises:
        ApiError: 400.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        issues = tuple(
            Issue(fault["loc"], fault["msg"].removeprefix("Value error, "), fault["type"])
            for fault in faults[:MAX_ISSUES]
        )
        left_out = len(faults) - len(issues)
        detail = f"and {left_out} more issues" if left_out else None
        raise ApiError(INVALID, detail, issues=issues) from None


def bounded(values: Any) -> Any:
    """`values` themselves, if there are few enough to be judged.

    Raises:
        ApiError: 400.
    """
    count, stack = 0, [values]
    while stack:
        item = stack.pop()
        if isinstance(item, (dict, list)):
            count += len(item)
            if count > MAX_VALUES:
                message = f"the body has more than {MAX_VALUES} values"
                raise ApiError(INVALID, issues=(Issue((), message, "too_many"),))
            stack += item.values() if isinstance(item, dict) else item
    return values


def read_path(model: type[M], request: web.Request) -> M:
    """The variable parts of the path. What cannot be an id names nothing.

    Raises:
        ApiError: 404.
    """
    try:
        return model.model_validate(dict(request.match_info))
    except ValidationError:
        raise ApiError(NOT_FOUND) from None


def read_query(model: type[M], request: web.Request) -> M:
    """The query string: a parameter that is a list may stand in it many times, others once.

    Raises:
        ApiError: 400 with all issues.
    """
    text = request.rel_url.raw_query_string
    if issubclass(model, Repeated) and _lasts(text):
        return typing.cast("M", _known(model, text))
    return _parse(model, request.query)


def _lasts(text: str) -> bool:
    """Whether a query may be remembered by its text, and means the same at any time."""
    return len(text) <= REPEATED_LENGTH and not any(word in text for word in FLEETING)


class Repeated(BaseModel):
    """A query with which thousands ask alike, so that it is read once for all of them.

    Who is given one shares it with others: it is frozen, but its lists are lists all the same,
    and must not be changed.
    """

    model_config = ConfigDict(frozen=True)


@functools.lru_cache(maxsize=1024)
def _known(model: type[Repeated], text: str) -> Repeated:
    return _parse(model, URL.build(query_string=text, encoded=True).query)


def _parse(model: type[M], query: MultiMapping[str]) -> M:
    if not query:
        return check(model, {})
    lists = many(model)
    values: dict[str, Any] = {}
    for name in query:
        given = query.getall(name)
        values[name] = given if name in lists or len(given) > 1 else given[0]
    return check(model, values)


@functools.cache
def many(model: type[BaseModel]) -> frozenset[str]:
    """The names of a model's fields that are lists."""
    return frozenset(
        field.alias or name
        for name, field in model.model_fields.items()
        if _is_list(field.annotation)
    )


def _is_list(annotation: Any) -> bool:
    origin = typing.get_origin(annotation)
    if origin in {types.UnionType, typing.Union}:
        return any(_is_list(part) for part in typing.get_args(annotation))
    return origin in {list, tuple}


async def read_body(request: web.Request, limit: int = MAX_BODY) -> bytes:
    """The request's body as it came, of at most `limit` bytes.

    Raises:
        ApiError: 400 when it is cut off, 408, 413, or 415 when it is compressed.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiError(MEDIA_TYPE, "the body must not be compressed")
    if limit != MAX_BODY:
        request = request.clone(client_max_size=limit)
    try:
        if request.content.is_eof():  # it came with the headers: nothing to wait for
            return await request.read()
        async with asyncio.timeout(BODY_TIMEOUT):
            return await request.read()
    except TimeoutError:
        raise ApiError(TIMEOUT, f"the body took longer than {BODY_TIMEOUT:g} s") from None
    except (ConnectionError, web.RequestPayloadError):
        # The client's doing; it must not look like an outage of the database.
        raise ApiError(INVALID, "the body ended before it was whole") from None


async def read_json(request: web.Request, limit: int = MAX_BODY) -> Any:
    """The request's JSON body, of at most `limit` bytes.

    Raises:
        ApiError: 400 (with the place), 408, 413 or 415.
    """
    if request.content_type != "application/json":
        raise ApiError(MEDIA_TYPE, "the body must be application/json")
    raw = await read_body(request, limit)
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        message = f"not JSON: {error}" if isinstance(error, json.JSONDecodeError) else "not JSON"
        raise ApiError(INVALID, issues=(Issue((), message, "invalid_json"),)) from None


def _no_constant(name: str) -> Any:
    raise ValueError(name)

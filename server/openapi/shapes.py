"""Shapes that several features share: plain answers, ids, and pages of a list."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, NamedTuple

import asyncpg
from aiohttp import hdrs
from pydantic import BeforeValidator, Field
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError
from yarl import URL

from server.openapi.fields import MAX_ID, Input, Output, RowId

POSITION = "Stream-Position"
"""Header: the id from which a stream goes on without a hole after the state that was read."""

PAGE_CHARACTERS = 500_000
"""Of text, after which a page ends although its limit would allow more rows."""

Id = Annotated[str, Field(examples=["17"])]
"""The id of a row, in an answer: text, as JavaScript's numbers end at 2**53."""


def _digits(value: Any) -> Any:
    """Only the one way to write a number, so that a row has one address: no `+1`, `01`, `1_0`."""
    if isinstance(value, str) and not (
        value.isascii() and value.isdigit() and not value.startswith("0")
    ):
        code = "int_parsing"
        raise PydanticCustomError(code, "Input should be a whole number in decimal digits")
    return value


def _true_or_false(value: Any) -> Any:
    if isinstance(value, str) and value not in {"true", "false"}:
        code = "bool_parsing"
        raise PydanticCustomError(code, "Input should be true or false")
    return value


def optional(schema: JsonDict) -> None:
    """For a field that may be left out, and whose default only says that it was."""
    schema.pop("default", None)


PlainId = Annotated[RowId, BeforeValidator(_digits)]
"""The id of a row, in a path or query, as the answers write it."""
Flag = Annotated[bool, BeforeValidator(_true_or_false)]
"""`true` or `false` in a query."""


class RowPath(Input):
    """The path of one row."""

    id: PlainId


class Paged(Input):
    """Which page of a list: up to `limit` rows, `after` the last one of the page before."""

    limit: Annotated[int, BeforeValidator(_digits), Field(ge=1, le=100)] = 20
    after: PlainId = Field(MAX_ID, json_schema_extra=optional)


class Page(NamedTuple):
    """Rows of a list, the newest first; `next` is what `after` says for the following page."""

    position: str
    rows: list[dict[str, Any]]
    next: str | None

    def headers(self, path: str, **query: str | int | list[str]) -> dict[str, str]:
        """`Stream-Position`, and a `Link` to the following page."""
        headers = {POSITION: self.position}
        if self.next is not None:
            url = URL(path).with_query({**query, "after": self.next})
            headers[hdrs.LINK] = f'<{url}>; rel="next"'
        return headers


class Success(Output):
    """It is done."""

    success: Literal[True] = True


def split(found: asyncpg.Record) -> tuple[str, dict[str, Any]]:
    """The position in a record, and the row without it."""
    row = dict(found.items())
    return row.pop("position"), row


def cut(found: Sequence[asyncpg.Record], limit: int, *, by: str = "id") -> Page:
    """A page that was read with one row more than it holds, to know whether there are more.

    The statement joins the rows to the position, so that an empty page has one too: then there
    is one record, without an id. `by`: the column that orders the list, as text.
    """
    rows: list[dict[str, Any]] = []
    size = 0
    for item in found[:limit]:
        if item["id"] is None or size > PAGE_CHARACTERS:
            break
        rows.append(split(item)[1])
        size += sum(len(value) for value in item if isinstance(value, str))
    more = len(rows) < len(found) and found[0]["id"] is not None
    return Page(found[0]["position"], rows, rows[-1][by] if more else None)

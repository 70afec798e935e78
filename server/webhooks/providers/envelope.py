"""From a verified body to what is stored beside it: the event's id, type, time and ordering key.

Nothing verified is refused for what it says: a type that nobody knows, or a body that is not the
provider's usual object, is kept as it came, under the type `unknown`. Refused is only what is not
JSON at all. Every text here can be stored in Postgres as it is, and so can a body that was read
(`text` in UTF-8: JSON holds no NUL byte); as `jsonb` it can not (`\\u0000`, lone surrogates).
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any, NamedTuple

UNKNOWN = "unknown"
"""The type of an event that names none."""
MAX_DEPTH = 200
"""Objects and arrays inside each other."""
MAX_DIGITS = 640
"""Digits of a number that is read as one; a longer one is left as its text."""

_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:/-]{0,99}", re.ASCII)
_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff\u2028\u2029]{1,200}")


class BodyError(Exception):
    """The body is not JSON in UTF-8, or nested too deeply: the door answers 400, saying so."""


class Envelope(NamedTuple):
    """What the intake stores beside the raw body."""

    id: str
    """The same for every attempt to deliver this event; unique within its source."""
    type: str
    at: datetime | None
    """When it happened, as the provider says: what is older never overwrites what is newer."""
    key: str | None
    """Whose events keep their order: a customer, else a subscription or payment."""
    data: Any
    """What handlers read: the provider's object, `None` where the body has none."""


def parse(body: bytes) -> Any:
    """The JSON value of a raw body; a name that stands twice in an object has its last value.

    Raises:
        BodyError: it has none.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError:
        msg = "the body is not UTF-8"
        raise BodyError(msg) from None
    try:
        value = _DECODER.decode(text.removeprefix("\ufeff"))
    except RecursionError:
        raise BodyError(_TOO_DEEP) from None
    except ValueError as error:
        reason = f": {error}" if isinstance(error, json.JSONDecodeError) else ""
        msg = f"the body is not JSON{reason}"
        raise BodyError(msg) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _deep(value):
        raise BodyError(_TOO_DEEP)
    return value


def body_id(body: bytes) -> str:
    """The id of a message that has none: identical bytes are one delivery."""
    return f"body-sha256:{hashlib.sha256(body).hexdigest()}"


def type_name(value: Any) -> str:
    """A type as it is stored and searched: `unknown` unless it is a short plain name."""
    return value if isinstance(value, str) and _TYPE.fullmatch(value) else UNKNOWN


def text_or_none(value: Any) -> str | None:
    """A short text without control characters, as ids are; anything else is none."""
    return value if isinstance(value, str) and _TEXT.fullmatch(value) else None


def first_text(*values: Any) -> str | None:
    """The first of `values` that is such a text."""
    return next((text for value in values if (text := text_or_none(value)) is not None), None)


def moment(value: Any) -> datetime | None:
    """A time: ISO 8601 with an offset, or Unix seconds; within the years 2000 to 2999."""
    try:
        if isinstance(value, str) and len(value) <= 40:
            at = datetime.fromisoformat(value)
            if at.tzinfo is None:
                return None
            at = at.astimezone(UTC)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            at = datetime.fromtimestamp(value, UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return at if 2000 <= at.year < 3000 else None


def member(value: Any, *names: str) -> Any:
    """What stands at `value.a.b…`; `None` where there is no such thing."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


_TOO_DEEP = f"the body is nested more than {MAX_DEPTH} deep"


def _no_constant(name: str) -> Any:
    msg = f"{name} is no JSON"
    raise ValueError(msg)


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) <= MAX_DIGITS else digits


# Made once: json.loads() makes one each time that it is asked for anything special.
_DECODER = json.JSONDecoder(parse_constant=_no_constant, parse_int=_integer)


def _deep(value: Any) -> bool:
    """Whether it is nested too deeply; level by level, not by recursion."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item.values()
            elif isinstance(item, list):
                inner += item
        level = [item for item in inner if isinstance(item, (dict, list))]
        if not level:
            return False
    return True

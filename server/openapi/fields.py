"""The types of fields: each with its limits, so that nothing reaches Postgres that it refuses.

The limits are JSON Schema's own words (`pattern`, `maxLength`), so the document tells them too.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

MAX_ID = 2**63 - 1
EVENT_ID = r"^[0-9a-f]{8}\.(0|[1-9][0-9]{0,18})$"
"""An SSE id: a position in an epoch."""


class Input(BaseModel):
    """What a caller sends: unknown fields are refused, names are camelCase."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, serialize_by_alias=True
    )


class Output(BaseModel):
    """What a handler answers: names are camelCase on the wire, and none is left out."""

    model_config = ConfigDict(
        json_schema_serialization_defaults_required=True,
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        serialize_by_alias=True,
    )


Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]*$")]
"""Text on one line, without control characters; give its length where it is used."""
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]
"""Text as people type it, without the NUL that Postgres cannot store."""
Email = Annotated[
    str,
    Field(
        max_length=254,
        # zod's, which the text's front end checks with, without its look-aheads.
        pattern=(
            r"^[A-Za-z0-9_'+-]+(\.[A-Za-z0-9_'+-]+)*"
            r"@([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?\.)+[A-Za-z]{2,}$"
        ),
        examples=["ada@example.com"],
    ),
]
RowId = Annotated[int, Field(ge=1, le=MAX_ID, examples=[17])]
"""The id of a row, in a path or query."""
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,100}$")]
"""An id that is text: a user's, a session's, an API key's."""


def _utc(value: datetime) -> datetime:
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:  # within a day of the calendar's ends
        return value.replace(tzinfo=UTC)


def _iso(value: datetime) -> str:
    """As JavaScript's `Date.toJSON()`: UTC, milliseconds, `Z`."""
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


Moment = Annotated[
    datetime, AfterValidator(_utc), PlainSerializer(_iso, return_type=str, when_used="json")
]


def never_null(schema: dict[str, Any]) -> None:
    """For the schema of a member that is left out where there is nothing to tell."""
    schema.pop("default", None)
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        schema.update(kinds[0])


class ServerSentEvent(BaseModel):
    """One event of a stream, as `text/event-stream` (WHATWG HTML, section 9.2).

    Events of applications are of the type `message`; what the server itself says is named. Blocks
    of an `id` alone move the reader's position and are no events.
    """

    model_config = ConfigDict(extra="forbid")

    event: Literal["message", "ready", "gap", "skipped", "bye"]
    data: str = Field(json_schema_extra={"contentMediaType": "application/json"})
    id: str | None = Field(None, pattern=EVENT_ID, json_schema_extra=never_null)
    retry: int | None = Field(
        None, ge=0, description="Milliseconds until a reconnect.", json_schema_extra=never_null
    )

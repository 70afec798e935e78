"""The error form as the document tells it, and which errors a declared route can answer with."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from server.errors import (
    FORBIDDEN,
    INTERNAL,
    INVALID,
    MEDIA_TYPE,
    NOT_FOUND,
    RATE,
    TIMEOUT,
    TOO_LARGE,
    UNAUTHORIZED,
    UNAVAILABLE,
    Kind,
)
from server.openapi.fields import never_null
from server.openapi.route import Route

PROBLEM_JSON = "application/problem+json"


class ProblemIssue(BaseModel):
    """One thing wrong with a request."""

    model_config = ConfigDict(extra="forbid")

    path: list[str | int] = Field(description="Where: names of fields, indexes of lists.")
    message: str
    code: str = Field(description="Stable, for programs.", examples=["string_too_long"])


class Problem(BaseModel):
    """The form of every error (RFC 9457)."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(pattern="^urn:tailrace:error:[a-z-]+$")
    title: str
    status: Annotated[int, Field(ge=400, le=599)]
    error: str = Field(
        description="The sentence of `title`, or of what went wrong.", examples=["Invalid input"]
    )
    detail: str | None = Field(
        None, description="More about this one.", json_schema_extra=never_null
    )
    issues: list[ProblemIssue] | None = Field(
        None, description="All faults of the input.", json_schema_extra=never_null
    )
    reset_at: str | None = Field(
        None,
        alias="resetAt",
        description="When there may be requests again, after too many.",
        json_schema_extra=never_null,
    )
    code: str | None = Field(
        None, description="Under `/api/auth`: better-auth's code.", json_schema_extra=never_null
    )
    message: str | None = Field(
        None, description="Under `/api/auth`: better-auth's words.", json_schema_extra=never_null
    )
    request_id: str = Field(description="As in `X-Request-Id`; in the server's log, too.")


MEANINGS = {
    400: "The input is not valid; `issues` has all faults.",
    401: "Credentials are missing or not valid.",
    403: "These credentials may not, or the request comes from another site's page.",
    404: "There is no such thing.",
    405: "The path has no such method; `Allow` has those it has.",
    408: "The body took too long.",
    409: "It conflicts with what is there.",
    410: "It was there, and its time is over.",
    412: "`If-Match` or `Tus-Resumable` names another version than the one there is.",
    413: "The body is too large.",
    415: "The body is of another media type.",
    429: "Too many requests: come back after `Retry-After` seconds.",
    500: "A fault of the server; its log has the `request_id`.",
    503: "Not just now, for example without a database: try again.",
}


def errors_of(route: Route) -> dict[int, str]:
    """The statuses of every error that a route can answer with, and what each means."""
    found: set[Kind] = {*route.errors, INTERNAL}
    if route.takes or not route.access.open:  # without either it can't reach what may be away
        found.add(UNAVAILABLE)
    if "query" in route.models or "body" in route.models:
        found.add(INVALID)
    if not route.access.open:
        found |= {UNAUTHORIZED, FORBIDDEN}
    elif "who" in route.takes:
        found.add(UNAUTHORIZED)
    if "path" in route.models:
        found.add(NOT_FOUND)
    if "body" in route.models:
        found |= {TIMEOUT, TOO_LARGE, MEDIA_TYPE}
    if limited(route):
        found.add(RATE)
    kinds = sorted(found, key=lambda kind: (kind.status, kind.code))
    return {kind.status: MEANINGS.get(kind.status, f"{kind.error}.") for kind in kinds}


def limited(route: Route) -> bool:
    """Whether requests are counted: by the route's policy, or with an API key by the key, which an
    open route that asks for one sometimes has to say."""
    by_key = not route.raw and (not route.access.open or "who" in route.takes)
    return route.rate is not None or by_key or RATE in route.errors

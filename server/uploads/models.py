"""Uploads as HTTP tells them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from server.openapi.fields import Input, Moment, Output
from server.uploads.policies import DEFAULT, POLICIES
from server.uploads.records import Record

UploadId = Annotated[str, Field(pattern=r"^[a-z0-9]{32}$")]


def _known(name: str) -> str:
    if name not in POLICIES:
        msg = f"must be one of {', '.join(POLICIES)}"
        raise ValueError(msg)
    return name


PolicyName = Annotated[
    str, AfterValidator(_known), WithJsonSchema({"type": "string", "enum": list(POLICIES)})
]


class Wanted(Input):
    """By which policy a file is taken."""

    policy: PolicyName = Field(DEFAULT, description="What may be uploaded, and under which terms.")


class Form(Input):
    """A form with one file. Its `Content-Type` must be what the bytes are, or
    `application/octet-stream`."""

    file: str = Field(json_schema_extra={"contentMediaType": "application/octet-stream"})


class UploadPath(Input):
    """Which file."""

    id: UploadId


class Upload(Output):
    """A file. `url`: its address on this server; a private one opens for its owner, or signed."""

    id: UploadId
    url: str = Field(examples=["/api/uploads/0123456789abcdef0123456789abcdef"])
    name: str
    type: str = Field(description="What the bytes are.", examples=["image/png"])
    size: int = Field(description="Bytes.")
    sha256: str | None = Field(description="In hexadecimal digits; `null` while it comes in.")
    width: int | None = Field(description="Pixels of an image as it is shown.")
    height: int | None
    policy: str
    visibility: Literal["public", "private"]
    state: Literal["receiving", "ready"]
    created_at: Moment
    expires_at: Moment | None = Field(description="When it is removed.")


def shown(record: Record) -> Upload:
    """A file as HTTP tells it."""
    return Upload(
        id=record.id,
        url=address(record.id),
        name=record.name,
        type=record.type,
        size=record.size,
        sha256=record.sha256,
        width=record.width,
        height=record.height,
        policy=record.policy,
        visibility=record.visibility,
        state=record.state,
        created_at=record.created_at,
        expires_at=record.expires_at,
    )


def address(id_: str) -> str:
    """The path of a file."""
    return f"/api/uploads/{id_}"

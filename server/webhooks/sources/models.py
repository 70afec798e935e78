"""Sources of webhooks as the API takes and tells them."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, ConfigDict, Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from server.openapi.fields import Input, Key, Moment, Output
from server.openapi.shapes import optional
from server.webhooks.providers import Provider
from server.webhooks.signing.schemes import HmacHeader, StandardWebhooks
from server.webhooks.signing.signatures import MAX_SECRET
from server.webhooks.sources.cache import ADDRESSES, BUILT_IN, Source

RESERVED = frozenset({*BUILT_IN, *ADDRESSES})
"""Names that are providers', or addresses of the API."""
DAY = 86_400
LONGEST_OVERLAP = 30 * DAY


def _kind(value: Any) -> Any:
    return value.get("kind") if isinstance(value, dict) else getattr(value, "kind", None)


def _unreserved(name: str) -> str:
    if name in RESERVED:
        code = "reserved"
        raise PydanticCustomError(code, "this name belongs to the server")
    return name


def _open(channel: str) -> str:
    if channel.partition(".")[0] in {"ops", "table"}:
        code = "reserved"
        raise PydanticCustomError(code, "channels under ops and table belong to the server")
    return channel


class StandardForm(StandardWebhooks):
    """Standard Webhooks 1.0."""

    kind: Literal["standard"]


class HmacForm(HmacHeader):
    """An HMAC in a header; the key is the secret as it stands."""

    kind: Literal["hmac"]


Form = Annotated[
    Annotated[StandardForm, Tag("standard")] | Annotated[HmacForm, Tag("hmac")],
    Discriminator(
        _kind, custom_error_type="kind", custom_error_message="its kind is standard or hmac"
    ),
]
"""How a source signs."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,49}$", examples=["acme"])]
NewName = Annotated[Name, AfterValidator(_unreserved)]
Secret = Annotated[str, Field(min_length=1, max_length=MAX_SECRET, pattern=r"^[^\x00]*$")]
Channel = Annotated[
    str,
    # server.stream.names.is_channel as a regular expression, so that the document tells it.
    Field(
        max_length=200,
        pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$",
        examples=["public.acme"],
        json_schema_extra={"not": {"pattern": r"^(ops|table)(\.|$)"}},
    ),
    AfterValidator(_open),
]


class SourcePath(Input):
    """Which source."""

    name: Name


class SecretPath(SourcePath):
    """Which secret of a source."""

    id: Key


class NewSource(Input):
    """A source to be. Without a `secret` one is made."""

    name: NewName
    scheme: Form
    secret: Secret | None = None
    channel: Channel | None = Field(
        None, description="Where each event of the source is published."
    )


class SourceChange(Input):
    """What becomes different: at least one of these."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    scheme: Form = Field(StandardForm(kind="standard"), json_schema_extra=optional)
    channel: Channel | None = Field(None, json_schema_extra=optional)
    paused: bool = Field(
        False,
        strict=True,
        json_schema_extra=optional,
        description="While it is, deliveries are stored and wait.",
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_fields_set:
            code = "too_few"
            raise PydanticCustomError(code, "give scheme, channel or paused")
        return self


class NewSecret(Input):
    """A secret to be. Without a `secret` one is made."""

    secret: Secret | None = None
    overlap_seconds: int = Field(
        DAY,
        strict=True,
        ge=0,
        le=LONGEST_OVERLAP,
        description="How long the former secrets stay good.",
    )


class SecretInfo(Output):
    """A secret, without the secret."""

    id: str
    created_at: Moment
    expires_at: Moment | None


class AddedSecret(SecretInfo):
    """A new secret; `secret` is shown now and never again, and only if it was made here."""

    secret: str | None


class SourceInfo(Output):
    """A source. `open`: whether its door takes deliveries, as it has a secret that can be read.

    Of a built-in one the secret is a setting: `secrets`, `scheme` and times are not told.
    """

    name: str
    builtin: bool
    path: str = Field(description="Where its deliveries are sent to.")
    setting: str | None = Field(description="What a built-in one's secret is set by.")
    open: bool
    paused: bool
    channel: str | None
    scheme: StandardWebhooks | HmacHeader | None
    secrets: list[SecretInfo]
    created_at: Moment | None
    updated_at: Moment | None

    @classmethod
    def of(cls, source: Source, **more: Any) -> Self:
        """One that an admin has made."""
        now = time.time()
        return cls(
            name=source.name,
            builtin=False,
            path=f"/api/webhooks/{source.name}",
            setting=None,
            open=source.fault(now) is None and bool(source.keys(now)),
            paused=source.paused,
            channel=source.channel,
            scheme=source.scheme,
            secrets=[
                SecretInfo(id=it.id, created_at=it.created_at, expires_at=it.expires_at)
                for it in source.secrets
            ],
            created_at=source.created_at,
            updated_at=source.updated_at,
            **more,
        )

    @classmethod
    def of_provider(
        cls, provider: Provider, source: Source | None, *, setting: str, has_secret: bool
    ) -> Self:
        """A built-in one; `source`: its row, if it has one."""
        return cls(
            name=provider.name,
            builtin=True,
            path=provider.path,
            setting=setting,
            open=has_secret,
            paused=source is not None and source.paused,
            channel=None,
            scheme=None,
            secrets=[],
            created_at=None,
            updated_at=None,
        )


class MadeSource(SourceInfo):
    """A new source; `secret` is shown now and never again, and only if it was made here."""

    secret: str | None


class SourceList(Output):
    """The built-in sources, then the others by their names."""

    sources: list[SourceInfo]

"""The API of sources: made, changed, paused and deleted by admins and keys of the scope.

A secret is told once, in the answer to the request that made it; nothing else ever tells one.
"""

from __future__ import annotations

import secrets as random
import time
from base64 import b64encode
from collections.abc import Mapping

from aiohttp import web

from server.auth.principal import Principal
from server.errors import CONFLICT, FORBIDDEN, NOT_FOUND, ApiError, invalid
from server.keys import POOL, SETTINGS
from server.openapi.access import scope
from server.openapi.route import Route, answer, route
from server.stream.names import covers
from server.stream.service import SERVICE
from server.webhooks.providers import PROVIDERS, Provider
from server.webhooks.signing.schemes import HmacHeader, StandardWebhooks
from server.webhooks.sources import store
from server.webhooks.sources.cache import BUILT_IN, SOURCES, Secret, Source
from server.webhooks.sources.models import (
    AddedSecret,
    MadeSource,
    NewSecret,
    NewSource,
    SecretPath,
    SourceChange,
    SourceInfo,
    SourceList,
    SourcePath,
)

TAG = "Webhook sources"
PATH = "/api/webhooks/sources"
ACCESS = scope("webhooks")
PUBLISHERS = scope("publish")
KEY_BYTES = 32


@route(
    "GET",
    PATH,
    summary="All sources of webhooks",
    tag=TAG,
    answers={200: SourceList},
    access=ACCESS,
)
async def list_sources(request: web.Request) -> SourceList:
    """Built-in ones too; never a secret."""
    known = await request.app[SOURCES].all()
    found = [_built_in(request, provider, known) for provider in PROVIDERS]
    found += [SourceInfo.of(source) for source in known.values() if source.own]
    return SourceList(sources=found)


@route(
    "GET",
    PATH + "/{name}",
    summary="One source of webhooks",
    tag=TAG,
    answers={200: SourceInfo},
    access=ACCESS,
)
async def get_source(request: web.Request, path: SourcePath) -> SourceInfo:
    """Never a secret."""
    return _told(request, path.name, await request.app[SOURCES].all())


@route(
    "POST",
    PATH,
    summary="Make a source of webhooks",
    tag=TAG,
    answers={201: MadeSource},
    access=ACCESS,
    errors=(CONFLICT,),
    headers=("Location",),
    rate="writes",
)
async def create_source(request: web.Request, who: Principal, body: NewSource) -> web.Response:
    """Its door is open at once: `POST /api/webhooks/{name}`.

    A secret that is made here is told in this answer and never again.
    """
    _may_publish(who, body.channel)
    secret = _checked(body.scheme, body.secret)
    sealer = request.app[SOURCES].sealer
    await store.create(
        request.app[POOL], sealer, body.name, body.scheme, secret, channel=body.channel
    )
    source = _own(body.name, await _changed(request))
    made = MadeSource.of(source, secret=secret if body.secret is None else None)
    return answer(made, status=201, headers={"Location": f"{PATH}/{body.name}"})


@route(
    "PATCH",
    PATH + "/{name}",
    summary="Change or pause a source of webhooks",
    tag=TAG,
    answers={200: SourceInfo},
    access=ACCESS,
    errors=(CONFLICT,),
    rate="writes",
)
async def change_source(
    request: web.Request, who: Principal, path: SourcePath, body: SourceChange
) -> SourceInfo:
    """A built-in source can be paused, and nothing else.

    A new `scheme` must fit the secrets that are there.
    """
    given = body.model_fields_set
    if path.name in BUILT_IN:
        if given != {"paused"}:
            raise _fixed(path.name)
        await store.pause_built_in(request.app[POOL], path.name, paused=body.paused)
    else:
        source = _own(path.name, await request.app[SOURCES].all())
        if "channel" in given:
            _may_publish(who, body.channel)
        scheme = body.scheme if "scheme" in given else None
        if scheme is not None and (reason := store.misfit(scheme, _live(source))):
            raise ApiError(CONFLICT, reason)
        await store.change(
            request.app[POOL],
            source,
            scheme=scheme,
            channel=(body.channel,) if "channel" in given else None,
            paused=body.paused if "paused" in given else None,
        )
    return _told(request, path.name, await _changed(request))


@route(
    "DELETE",
    PATH + "/{name}",
    summary="Delete a source of webhooks",
    tag=TAG,
    answers={204: None},
    access=ACCESS,
    errors=(CONFLICT,),
    rate="writes",
)
async def delete_source(request: web.Request, path: SourcePath) -> web.Response:
    """Its door is closed at once; what it has delivered stays."""
    if path.name in BUILT_IN:
        raise _fixed(path.name)
    await store.delete(request.app[POOL], path.name)
    await _changed(request)
    return answer(None, status=204)


@route(
    "POST",
    PATH + "/{name}/secrets",
    summary="Add a secret to a source of webhooks",
    tag=TAG,
    answers={201: AddedSecret},
    access=ACCESS,
    errors=(CONFLICT,),
    rate="writes",
)
async def add_secret(request: web.Request, path: SourcePath, body: NewSecret) -> web.Response:
    """For a rotation: the new one is good at once, the former ones for the overlap.

    A secret that is made here is told in this answer and never again.
    """
    source = _own(path.name, await request.app[SOURCES].all())
    if source.scheme is None:
        raise ApiError(CONFLICT, source.fault(time.time()))
    secret = _checked(source.scheme, body.secret)
    sealer = request.app[SOURCES].sealer
    row = await store.add_secret(
        request.app[POOL], sealer, source, secret, overlap=body.overlap_seconds
    )
    await _changed(request)
    added = AddedSecret(**dict(row), secret=secret if body.secret is None else None)
    return answer(added, status=201)


@route(
    "DELETE",
    PATH + "/{name}/secrets/{id}",
    summary="Delete a secret of a source of webhooks",
    tag=TAG,
    answers={204: None},
    access=ACCESS,
    errors=(CONFLICT,),
    rate="writes",
)
async def remove_secret(request: web.Request, path: SecretPath) -> web.Response:
    """It is no longer good at once. The newest one stays: the others end with their overlap."""
    if path.name in BUILT_IN:
        raise _fixed(path.name)
    await store.remove_secret(request.app[POOL], path.name, path.id)
    await _changed(request)
    return answer(None, status=204)


ROUTES: tuple[Route, ...] = (
    list_sources,
    get_source,
    create_source,
    change_source,
    delete_source,
    add_secret,
    remove_secret,
)


def _own(name: str, known: Mapping[str, Source]) -> Source:
    """An admin's source.

    Raises:
        ApiError: 404, or 409 for a built-in one.
    """
    if name in BUILT_IN:
        raise _fixed(name)
    source = known.get(name)
    if source is None or not source.own:
        raise ApiError(NOT_FOUND)
    return source


def _told(request: web.Request, name: str, known: Mapping[str, Source]) -> SourceInfo:
    if name in BUILT_IN:
        return _built_in(request, BUILT_IN[name], known)
    return SourceInfo.of(_own(name, known))


async def _changed(request: web.Request) -> Mapping[str, Source]:
    """After the commit: the event goes out, and the door here knows of it."""
    request.app[SERVICE].log.stamper.wake()
    return await request.app[SOURCES].all()


def _built_in(request: web.Request, provider: Provider, known: Mapping[str, Source]) -> SourceInfo:
    settings, name = request.app[SETTINGS], str(provider.setting)
    return SourceInfo.of_provider(
        provider,
        known.get(provider.name),
        setting=str(type(settings).model_fields[name].alias),
        has_secret=getattr(settings, name) is not None,
    )


def _checked(scheme: StandardWebhooks | HmacHeader, given: str | None) -> str:
    """The secret that was given, or a new one.

    Raises:
        ApiError: 400 when the scheme can't use it.
    """
    secret = given or "whsec_" + b64encode(random.token_bytes(KEY_BYTES)).decode()
    try:
        scheme.check_secret(secret)
    except ValueError as error:
        raise invalid("secret", str(error)) from None
    return secret


def _may_publish(who: Principal, channel: str | None) -> None:
    """Whoever names a channel has events published there: only where they may themselves.

    Raises:
        ApiError: 403.
    """
    if channel is None or who.is_admin:
        return
    if not PUBLISHERS.allows(who) or not any(covers(it, channel) for it in who.patterns):
        raise ApiError(FORBIDDEN, f"this key may not publish to {channel}")


def _live(source: Source) -> tuple[Secret, ...]:
    now = time.time()
    return tuple(secret for secret in source.secrets if secret.live(now))


def _fixed(name: str) -> ApiError:
    return ApiError(CONFLICT, f"{name} is built in: its secret is a setting, and it can be paused")

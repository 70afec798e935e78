"""Operating webhooks over HTTP: deliveries are found, shown, and handled again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from server.errors import CONFLICT, INVALID, NOT_FOUND, UNAVAILABLE, ApiError
from server.keys import POOL
from server.openapi.access import scope
from server.openapi.route import add, answer, route
from server.openapi.shapes import POSITION, cut
from server.stream.service import SERVICE
from server.webhooks.handling.worker import WORKER
from server.webhooks.operating import sql
from server.webhooks.operating.models import (
    Counts,
    DeliveryList,
    DeliveryPath,
    DeliveryRow,
    DeliveryWhole,
    Replay,
    ReplayDone,
    Wanted,
)

if TYPE_CHECKING:
    from server.db.pool import Either

PATH = "/api/webhooks/deliveries"
# `replay` is a path of its own, with its own methods.
ONE = PATH + "/{id:(?!replay$)[^/]+}"
TAG = "Webhooks"
OPERATORS = scope("webhooks")
LIST_SECONDS = 5.0
REPLAY_SECONDS = 20.0
SEARCHERS = 2
"""Searches of this process at once: the intake needs connections, too."""
SEARCHING = web.AppKey("webhook_searching", asyncio.Semaphore)


@route(
    "GET",
    PATH,
    summary="A page of webhook deliveries",
    tag=TAG,
    answers={200: DeliveryList},
    access=OPERATORS,
    headers=(POSITION, "Link"),
)
async def list_deliveries(request: web.Request, query: Wanted) -> web.Response:
    """The newest first, without headers and bodies; from `Stream-Position` on the channel
    `ops.webhooks` tells what changes. What takes longer than 5 s is answered 400."""
    # No index has an order for these.
    searching = bool(query.q or query.type or query.key or query.state)
    wanted, limit = query.filter(query.state), query.limit + 1
    async with _operating(request, searching=searching) as connection:
        found = await sql.find(
            connection, wanted, after=query.after, limit=limit, seconds=LIST_SECONDS
        )
    page = cut(found, query.limit, by="seq")
    body = DeliveryList(deliveries=[DeliveryRow(**row) for row in page.rows], next=page.next)
    return answer(body, headers=page.headers(PATH, **query.query()))


@route(
    "GET",
    ONE,
    summary="One webhook delivery",
    tag=TAG,
    answers={200: DeliveryWhole},
    access=OPERATORS,
    errors=(NOT_FOUND,),
)
async def get_delivery(request: web.Request, path: DeliveryPath) -> DeliveryWhole:
    """With its headers, its body as text, and what became of its attempts."""
    async with request.app[POOL].acquire() as connection:
        row = await sql.show(connection, path.id)
    if row is None:
        raise ApiError(NOT_FOUND)
    return DeliveryWhole.of(row)


@route(
    "POST",
    ONE + "/retry",
    summary="Handle a webhook delivery again",
    tag=TAG,
    answers={200: DeliveryRow},
    access=OPERATORS,
    errors=(NOT_FOUND, CONFLICT),
    rate="writes",
)
async def retry_delivery(request: web.Request, path: DeliveryPath) -> DeliveryRow:
    """Whatever its state; one that is pending is due at once. 409 once its body is gone."""
    async with _operating(request) as connection:
        row = await sql.retry(connection, path.id, quiet=True)
    if row is None:
        raise ApiError(NOT_FOUND)
    _wake(request)
    return DeliveryRow(**row)


@route(
    "POST",
    PATH + "/replay",
    summary="Handle many webhook deliveries again",
    tag=TAG,
    answers={200: ReplayDone},
    access=OPERATORS,
    rate="writes",
)
async def replay_deliveries(request: web.Request, body: Replay) -> ReplayDone:
    """The oldest first, in one transaction. Pending ones, those in a worker's hands, and those
    whose body is gone are left alone."""
    async with _operating(request, searching=True) as connection:
        done = await sql.replay(
            connection,
            body.filter(body.state),
            limit=body.limit,
            dry_run=body.dry_run,
            seconds=REPLAY_SECONDS,
            quiet=True,
        )
    if done.replayed:
        _wake(request)
    return ReplayDone(**done._asdict())


@route(
    "GET",
    "/api/webhooks/summary",
    summary="How many webhook deliveries there are",
    tag=TAG,
    answers={200: Counts},
    access=OPERATORS,
)
async def webhook_summary(request: web.Request) -> Counts:
    """By source and state. Of each kind at most 10,000 are counted."""
    async with _operating(request, searching=True) as connection:
        return Counts.of(await sql.summary(connection))


@asynccontextmanager
async def _operating(request: web.Request, *, searching: bool = False) -> AsyncIterator[Either]:
    """A connection; what the statements raise, as answers. `searching`: it may take its time.

    Raises:
        ApiError: 400 for what took too long, 409, 503.
    """
    turn = request.app[SEARCHING] if searching else None
    if turn is not None:
        try:
            await asyncio.wait_for(turn.acquire(), LIST_SECONDS)
        except TimeoutError:
            raise _busy("others are searching") from None
    try:
        async with request.app[POOL].acquire() as connection:
            yield connection
    except sql.TooSlowError:
        msg = "this takes too long: narrow the time (since, until), or name the source"
        raise ApiError(INVALID, msg) from None
    except sql.HeldError:
        raise _busy("a worker holds it") from None
    except sql.GoneError:
        raise ApiError(CONFLICT, "its body is no longer kept") from None
    finally:
        if turn is not None:
            turn.release()


def _busy(why: str) -> ApiError:
    return ApiError(UNAVAILABLE, why, headers={"Retry-After": "2"})


def _wake(request: web.Request) -> None:
    """After a commit: the stamper, which tells other processes, and this process' worker."""
    request.app[SERVICE].log.stamper.wake()
    request.app[WORKER].wake()


def add_routes(app: web.Application) -> None:
    """Put them on the application."""
    app[SEARCHING] = asyncio.Semaphore(SEARCHERS)
    add(app, list_deliveries, replay_deliveries, get_delivery, retry_delivery, webhook_summary)

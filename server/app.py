"""The composition root: names every part of the application, and the order of life and death.

Life: pool → pubsub → log (listens before it reads) → streams → doors. Death: the streams say
`bye` first (`on_shutdown`: aiohttp would wait for their handlers otherwise), then the tasks end,
the newest first, then the pool closes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from aiohttp import web

from server import __version__, accounts, uploads, webhooks
from server.auth.identify import identify
from server.dashboard import page
from server.db.pool import Database, create_pool
from server.demo import Demo
from server.guard import cors
from server.guard.limiter import Limiter
from server.guard.rates import LIMITER, POLICIES, policies
from server.keys import BANNER, FATAL, POOL, SETTINGS
from server.log.catalog import CATALOG
from server.log.service import Log
from server.meters import METERS, Meters
from server.middleware import MIDDLEWARES, tell
from server.openapi import serving
from server.openapi.route import add
from server.ops import health
from server.ops.access import ACCESS_LOG, AccessLog
from server.ops.clock import Clock
from server.ops.metrics import CHANNEL as METRICS
from server.ops.metrics import Metrics
from server.resources import RESOURCES
from server.resources.mail import MAILER, Mailer
from server.settings import Settings
from server.stream import events, handlers, introspection
from server.stream.channels import readable
from server.stream.directory import DIRECTORY, Directory
from server.stream.limits import limits_of
from server.stream.news import News
from server.stream.permissions import Permissions
from server.stream.pubsub import PubSub
from server.stream.service import OPENED, SERVICE, Service
from server.stream.streams import Streams
from server.tasks import Tasks
from server.uploads import policies as upload_policies

if TYPE_CHECKING:
    from server.db.pool import Connection

CLOSE_POOL = 1.0
"""Seconds that a running query has at the end."""

TASKS = web.AppKey("tasks", Tasks)
DATABASE = web.AppKey("database", Database)
DEMO = web.AppKey("demo", Demo)
TAKEN = tuple(
    page.Takes(
        policy.name,
        tuple(name for each in policy.types for name in (each.name, *each.aliases)),
        tuple(extension for each in policy.types for extension in each.extensions),
        policy.max_bytes,
    )
    for policy in upload_policies.POLICIES.values()
)
"""What the page is told of uploads."""


def build(
    settings: Settings, database: Database, *, demo: bool, door: bool = True
) -> web.Application:
    """The whole application, not started yet. `door`: whether anybody can send it requests."""
    app = web.Application(middlewares=MIDDLEWARES)
    app[SETTINGS] = settings
    app[DATABASE] = database
    app[TASKS] = Tasks()
    app[METERS] = Meters()
    app[BANNER] = []
    app[OPENED] = (METRICS,) if demo else ()
    app[health.READINESS] = health.Readiness()
    app[POLICIES] = policies(settings)
    if settings.access_log == "on":
        app[ACCESS_LOG] = AccessLog(settings.trusted_proxies)
    app.on_response_prepare.append(tell)
    app.cleanup_ctx.append(_fatal)
    app.cleanup_ctx.append(_guard)
    app.cleanup_ctx.append(_core)
    if demo:
        app.cleanup_ctx.append(_demo)
        app.router.add_get("/demo", _demo_sign_in)
    app.on_shutdown.append(_say_bye)
    _add_routes(app, door=door)
    cors.set_up(app, settings.cors_origins)
    return app


def _add_routes(app: web.Application, *, door: bool) -> None:
    add(app, health.healthz, health.readyz)
    add(app, handlers.get_stream, handlers.post_stream, events.get_events, events.post_events)
    add(app, *introspection.ROUTES)
    accounts.add_routes(app)
    webhooks.add_routes(app)
    if door:
        # Nor does a process without one clean up: on its machine a disk store may be another, and
        # all of its files without a row.
        uploads.add_routes(app)
    for routes in RESOURCES:
        add(app, *routes)
    page.add_routes(app, _describe)
    serving.add_routes(app, version=__version__, events=CATALOG)  # of all that were added above


async def _describe(request: web.Request) -> page.PageInfo:
    who = await identify(request)
    return page.PageInfo(
        demo=DEMO in request.app,
        metrics=readable(who, [METRICS], request.app[OPENED]),
        uploads=TAKEN,
    )


async def _fatal(app: web.Application) -> AsyncIterator[None]:
    app[FATAL] = asyncio.get_running_loop().create_future()
    yield


async def _guard(app: web.Application) -> AsyncIterator[None]:
    """What counts requests, and what writes them down."""
    limiter = app[LIMITER] = Limiter(app[SETTINGS].redis_url)
    yield
    await limiter.close()
    if ACCESS_LOG in app:
        app[ACCESS_LOG].flush()


async def _core(app: web.Application) -> AsyncIterator[None]:
    """Pool, log and streams."""
    settings, database, tasks = app[SETTINGS], app[DATABASE], app[TASKS]
    pool = await create_pool(database, settings.pool_size, check=_check_epoch)
    pubsub = PubSub(settings.ring_bytes)
    streams = Streams(
        pubsub,
        heartbeat=settings.heartbeat,
        deadline=settings.write_deadline,
        limits=limits_of(settings),
    )
    log = Log(pool, database.direct, pubsub, settings, tasks, process=streams.process)
    service = Service(log, pubsub, streams)
    app[POOL], app[SERVICE] = pool, service
    app[DIRECTORY] = Directory(streams, log.peers)
    try:
        await log.start()
        if settings.takeover == "on":
            await service.take_over()
        tasks.spawn("streams", streams.run)
        tasks.spawn("stream news", News(service).run)
        tasks.spawn("permissions", Permissions(pool, streams, app[OPENED]).run)
        clock = Clock(pool)
        tasks.spawn("clock", clock.run)
        tasks.spawn("metrics", Metrics(service, app[METERS], clock).run)
        if settings.smtp_url:
            mailer = app[MAILER] = Mailer(pool, settings)
            tasks.spawn("mail", mailer.run)
        yield
    finally:
        await tasks.stop()
        if service.outbound is not None:
            await service.outbound.close()
        try:
            async with asyncio.timeout(CLOSE_POOL):
                await pool.close()
        except TimeoutError:
            pool.terminate()


async def _check_epoch(connection: Connection) -> None:
    """No connection may label or stamp an event before it is known which history it tells."""
    await connection.fetchval("SELECT tailrace.epoch_check()")


async def _demo(app: web.Application) -> AsyncIterator[None]:
    demo = await Demo.prepare(app[POOL])
    app[DEMO] = demo
    app[BANNER] += demo.banner("{base}")  # the port may not be known yet
    app[TASKS].spawn("demo", lambda: demo.move(app[SERVICE].log))
    yield


async def _demo_sign_in(request: web.Request) -> web.StreamResponse:
    return await request.app[DEMO].sign_in(request)


async def _say_bye(app: web.Application) -> None:
    await app[SERVICE].streams.shut_down()

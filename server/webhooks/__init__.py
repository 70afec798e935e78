"""Webhooks: what providers deliver is verified, committed before the answer, and seen live."""

from __future__ import annotations

import secrets as random
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from aiohttp import web

from server.errors import StartError
from server.keys import POOL, SETTINGS
from server.meters import METERS
from server.openapi.route import add
from server.settings import Settings
from server.stream.service import SERVICE
from server.tasks import Tasks
from server.webhooks import events
from server.webhooks.handling.retention import Retention
from server.webhooks.handling.waking import Watch
from server.webhooks.handling.worker import WORKER, Worker
from server.webhooks.intake.doors import deliver_source, door
from server.webhooks.intake.intake import INTAKE, Intake
from server.webhooks.operating import routes as delivery_routes
from server.webhooks.providers import PROVIDERS, Provider, dodo
from server.webhooks.providers.dodo import DODO
from server.webhooks.signing.signatures import split_secrets
from server.webhooks.sources import routes as source_routes
from server.webhooks.sources.cache import SOURCES, Sources
from server.webhooks.sources.sealing import Sealer

__all__ = ["add_routes", "events", "providers_of", "secrets_of"]


def add_routes(app: web.Application) -> None:
    """Put the doors on the application, and what stores deliveries into its life.

    Raises:
        StartError: a secret that can't be used.
    """
    app.cleanup_ctx.append(_live)
    for provider in providers_of(app[SETTINGS]):
        add(app, door(provider, secrets_of(provider, app[SETTINGS])))
    delivery_routes.add_routes(app)
    add(app, *source_routes.ROUTES)
    add(app, deliver_source)  # the last: its path is any name


def providers_of(settings: Settings) -> Sequence[Provider]:
    """The built-in providers as the settings have them: what signs, and what gives credits."""
    scheme = DODO.scheme if settings.dodo_text_form == "on" else dodo.STANDARD
    handlers = {**DODO.handlers, "payment.succeeded": dodo.paid(settings.dodo_products)}
    own = replace(DODO, scheme=scheme, handlers=handlers)
    return [own if it is DODO else it for it in PROVIDERS]


def secrets_of(provider: Provider, settings: Settings) -> Sequence[str]:
    """The secrets that the settings have for a provider; none where its door stays closed.

    Raises:
        StartError: one of them can't be used.
    """
    given = getattr(settings, provider.setting) if provider.setting is not None else None
    if given is None:
        return ()
    secrets = split_secrets(given)
    for secret in secrets:
        try:
            provider.scheme.check_secret(secret)
        except ValueError as error:
            alias = type(settings).model_fields[str(provider.setting)].alias
            msg = f"{alias}: {error}"
            raise StartError(msg) from None
    return secrets


async def _live(app: web.Application) -> AsyncIterator[None]:
    settings, pool, service = app[SETTINGS], app[POOL], app[SERVICE]
    stamped = service.log.stamper.wake
    # A handler holds its connection as long as it takes: one is left for whoever delivers or reads.
    number = min(settings.webhook_workers, settings.pool_size - 1)
    worker = app[WORKER] = Worker(pool, stamped, number, providers_of(settings))

    def stored() -> None:
        stamped()
        worker.wake()

    intake = app[INTAKE] = Intake(pool, stored)
    app[METERS].counter(
        "webhooks",
        "Deliveries, as they came and what became of them",
        lambda: {**intake.counts, **worker.counts},
        "state",
    )
    # The start always has a secret; without one, sources are good until this process ends.
    sealer = Sealer(settings.secret or random.token_urlsafe(32))
    sources = app[SOURCES] = Sources(pool, sealer)
    tasks = Tasks()
    tasks.spawn("webhook intake", intake.run)
    if worker.number:
        watch = Watch(service.pubsub, worker.wake)
        for loop in range(worker.number):
            tasks.spawn(f"webhook worker {loop}", worker.run)
        retention = Retention(
            pool, payloads=settings.webhook_retain_payloads, deliveries=settings.webhook_retain
        )
        tasks.spawn("webhook retention", retention.run)
    try:
        yield
    finally:
        await tasks.stop()
        await sources.stop()
        if worker.number:
            service.pubsub.leave(watch)

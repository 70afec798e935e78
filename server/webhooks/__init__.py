"""Webhooks: what providers deliver is verified, committed before the answer, and seen live."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from aiohttp import web

from server.errors import StartError
from server.keys import POOL, SETTINGS
from server.openapi.route import add
from server.settings import Settings
from server.stream.service import SERVICE
from server.tasks import Tasks
from server.webhooks import events
from server.webhooks.doors import door
from server.webhooks.intake import INTAKE, Intake
from server.webhooks.providers import PROVIDERS, Provider
from server.webhooks.signatures import split_secrets

__all__ = ["add_routes", "events", "secrets_of"]


def add_routes(app: web.Application) -> None:
    """Put the doors on the application, and what stores deliveries into its life.

    Raises:
        StartError: a secret that can't be used.
    """
    app.cleanup_ctx.append(_live)
    for provider in PROVIDERS:
        add(app, door(provider, secrets_of(provider, app[SETTINGS])))


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
    intake = app[INTAKE] = Intake(app[POOL], app[SERVICE].log.stamper.wake)
    tasks = Tasks()
    tasks.spawn("webhook intake", intake.run)
    try:
        yield
    finally:
        await tasks.stop()

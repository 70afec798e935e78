"""`tailrace webhooks send`: a sample of any provider, signed and posted to a server, for local
development."""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, NamedTuple

import aiohttp
import click

from server.errors import StartError
from server.webhooks.operating.console import Place, run, visible
from server.webhooks.providers import Provider, source
from server.webhooks.providers.samples.example import Example
from server.webhooks.signing.schemes import Either
from server.webhooks.signing.signatures import Scheme, is_id, split_secrets
from server.webhooks.sources.cache import BUILT_IN, stored_scheme

if TYPE_CHECKING:
    from server.db.pool import Connection

SECONDS = 30.0
_SCHEME = "SELECT scheme::text FROM public.webhook_sources WHERE name = $1 AND scheme IS NOT NULL"


class Answer(NamedTuple):
    """What the server said."""

    status: int
    body: str


@click.command()
@click.argument("provider")
@click.argument("type_", metavar="[TYPE]", required=False)
@click.option("--url", default="http://127.0.0.1:8080", show_default=True, help="The server.")
@click.option("--secret", help="What to sign with, instead of the setting's secret.")
@click.option("--user", help="The id of the user that it is about.")
@click.option("--credits", "credits_", type=click.IntRange(1), help="What a payment gives.")
@click.option("--id", "reference", help="Goes into its ids: the same again is the same event.")
@click.option("--data", type=click.File("rb"), help="A body of your own; - is standard input.")
@click.pass_obj
def send(
    place: Place,
    /,
    *,
    provider: str,
    type_: str | None,
    url: str,
    secret: str | None,
    user: str | None,
    credits_: int | None,
    reference: str | None,
    data: IO[bytes] | None,
) -> None:
    """Sign a sample and post it as PROVIDER would: dodo, stripe, github, or a source of yours.

    With one --id a refund is that of the payment with the same --id. Without TYPE it is the
    provider's first one.
    """
    sender = BUILT_IN.get(provider) or _own(place, provider)
    key = secret or _secret(place, sender)
    kind = type_ or sender.types[0]
    example = _example(user, credits_, reference)
    body = _sample(sender, kind, example) if data is None else data.read()
    headers = {"content-type": "application/json", **sender.headers(kind)}
    message_id = f"msg_{example.reference}_{kind}"
    if not is_id(message_id):
        msg = (
            "--id and TYPE must be printable ASCII without spaces, together at most 190 characters"
        )
        raise StartError(msg)
    try:
        headers |= _signed(sender.scheme, body, key, message_id)
    except ValueError as error:
        raise StartError(f"the secret of {provider}: {error}") from None
    answer = asyncio.run(_post(url.rstrip("/") + sender.path, body, headers))
    click.echo(f"{answer.status} {visible(answer.body)}")
    if answer.status != 200:
        msg = f"the server did not take the {kind} of {provider}: it answered {answer.status}"
        raise StartError(msg)
    click.echo(f"delivery {visible(_delivery(answer.body))}")


def _signed(scheme: Scheme, body: bytes, secret: str, message_id: str) -> dict[str, str]:
    """By the first of two schemes, unless the secret is one for the second alone.

    Raises:
        ValueError: it can't be used.
    """
    scheme.check_secret(secret)
    if isinstance(scheme, Either):
        try:
            return scheme.first.sign(body, secret, message_id=message_id, at=time.time())
        except ValueError:
            scheme = scheme.second
    return scheme.sign(body, secret, message_id=message_id, at=time.time())


def _own(place: Place, name: str) -> Provider:
    """A source that an admin has made; its secret is known to its sender alone."""

    async def look(connection: Connection) -> str | None:
        found: str | None = await connection.fetchval(_SCHEME, name)
        return found

    text = run(place, look)
    if text is None:
        msg = f"there is no provider or source {name}; built in are {', '.join(BUILT_IN)}"
        raise StartError(msg)
    scheme = stored_scheme(text)
    if scheme is None:
        msg = f"this version does not know the scheme of {name}"
        raise StartError(msg)
    return source(name, scheme)


def _secret(place: Place, provider: Provider) -> str:
    if provider.setting is None:
        msg = f"{provider.name} is a source of your own: give its secret with --secret"
        raise StartError(msg)
    settings = place.settings()
    given = getattr(settings, provider.setting)
    if given is None:
        alias = type(settings).model_fields[provider.setting].alias
        msg = f"no secret to sign with: set {alias} as the server has it, or give --secret"
        raise StartError(msg)
    return split_secrets(given)[0]


def _example(user: str | None, credits_: int | None, reference: str | None) -> Example:
    example = Example(reference=reference or uuid.uuid4().hex[:12], at=datetime.now(UTC))
    return Example(
        user_id=user or example.user_id,
        credits=credits_ or example.credits,
        reference=example.reference,
        at=example.at,
    )


def _sample(provider: Provider, type_: str, example: Example) -> bytes:
    try:
        return provider.sample(type_, example)
    except ValueError as error:
        raise StartError(f"{provider.name}: {error}") from None


async def _post(url: str, body: bytes, headers: dict[str, str]) -> Answer:
    timeout = aiohttp.ClientTimeout(total=SECONDS)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return Answer(answer.status, await answer.text(errors="replace"))
    except TimeoutError:
        msg = f"no answer from {url} in {SECONDS:.0f} s"
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError):
        msg = f"{url} is not an address such as http://127.0.0.1:8080"
    except aiohttp.ClientConnectorError as error:
        number = error.os_error.errno
        msg = f"cannot connect to {url}: {os.strerror(number) if number else error.os_error}"
    except (aiohttp.ClientError, OSError) as error:
        msg = f"cannot post to {url}: {error}"
    raise StartError(msg)


def _delivery(body: str) -> str:
    try:
        return str(json.loads(body)["id"])
    except (ValueError, TypeError, KeyError):
        return "unknown: the answer is not that of a door"

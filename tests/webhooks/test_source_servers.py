"""Sources where there is more than one server, or one that is set up in another way."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from server.db.pool import Database
from server.errors import StartError
from server.keys import POOL
from server.webhooks import providers_of, secrets_of
from server.webhooks.providers.samples.example import Example
from server.webhooks.sources import cache as sources
from server.webhooks.sources.cache import SOURCES
from tests.clean import clean, reused
from tests.conftest import absent
from tests.gate import gated
from tests.process import REPOSITORY
from tests.served import KEY, served
from tests.waiting import until
from tests.webhooks.sending import (
    Caller,
    by_standard,
)
from tests.webhooks.test_intake import DODO, DODO_KEY, url

__all__ = ["clean", "client", "reused"]

OLD = "whsec_b2xkLXNlY3JldC1vbGQtc2VjcmV0LW9sZC1zZWNyZXQ="
NEW = "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldy1zZWNyZXQ="
DOCS = REPOSITORY / "docs" / "webhooks.md"


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(timeout=20) as running:
        yield running


async def test_the_lines_of_the_docs_work_as_they_stand(clean: Database) -> None:
    section = DOCS.read_text().partition("## Sources of your own")[2].partition("\n## ")[0]
    if not (shutil.which("curl") and shutil.which("openssl")):
        absent("curl, or openssl,")
    lines = "".join(re.findall(r"```sh\n(.*?)```", section, re.DOTALL))
    async with served(clean) as server:
        assert "http://127.0.0.1:8080" in lines
        script = lines.replace("http://127.0.0.1:8080", server.url)
        shell = await asyncio.create_subprocess_exec(
            "bash",
            "-ec",
            'curl() { command curl -sS --fail-with-body "$@" && echo; }\n' + script,
            env=os.environ | {"TAILRACE_API_KEY": KEY},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await shell.communicate()
        assert shell.returncode == 0, output.decode()
        await server.settled()
        types = await server.app[POOL].fetch("SELECT type FROM public.webhook_deliveries")
        assert [row["type"] for row in types] == ["order.paid"], output.decode()
        assert b"whsec_" in output


async def test_with_another_secret_of_the_server_the_door_is_closed_and_never_open(
    clean: Database, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with served(clean) as server:
        await Caller(client, server).make(secret=OLD)
    async with served(clean, secret="t" * 32) as server:
        api = Caller(client, server)
        for headers in (by_standard(OLD), by_standard(NEW), {}):
            answer = await api.deliver(headers)
            assert answer.status_code == 503
            assert "TAILRACE_SECRET" not in answer.text  # a stranger asks
        assert not (await api.told())["open"]
        errors = [it.getMessage() for it in caplog.records if it.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert "acme" in errors[0]
        assert "another TAILRACE_SECRET" in errors[0]
        # The way out of it: a new secret.
        await api.rotate(secret=NEW)
        assert [await api.status(OLD), await api.status(NEW)] == [401, 200]
        assert (await api.told())["open"]
    async with served(clean) as server:
        assert await Caller(client, server).status(OLD) == 200


async def test_another_process_knows_of_changes(
    clean: Database, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FRESH", 0.3)
    async with served(clean) as one, served(clean) as two:
        here, there = Caller(client, one), Caller(client, two)
        assert await there.status(OLD) == 404
        await here.make(secret=OLD)

        async def answers(secret: str, status: int) -> None:
            async def so() -> bool:
                return await there.status(secret) == status

            await until(so)

        await answers(OLD, 200)
        await here.rotate(secret=NEW, overlapSeconds=0)
        await answers(NEW, 200)
        assert await there.status(OLD) == 401
        await here.call("DELETE", "/acme")
        await answers(NEW, 404)


async def test_what_is_known_goes_on_while_the_database_is_away(
    clean: Database, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FRESH", 0.0)
    async with gated(clean) as (gate, behind), served(behind) as server:
        api = Caller(client, server)
        await api.make(secret=OLD)
        await server.settled()
        await gate.shut()
        assert await api.status(NEW) == 401  # by the secrets that are known
        assert await api.status(OLD) == 503  # it can't be stored
        assert await api.status(OLD, "nobody") == 404
        assert (await api.call("GET", "")).status_code == 503
        await gate.open()

        async def stored() -> bool:
            return await api.status(OLD) == 200

        await until(stored)


async def test_a_look_that_hangs_holds_nobody_up_for_long(
    clean: Database, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "FRESH", 0.0)
    monkeypatch.setattr(sources, "PATIENCE", 0.01)
    # The workers would wait for that lock, too, with a connection each.
    async with served(clean, webhook_workers=0) as server:
        api, known = Caller(client, server), server.app[SOURCES]
        await api.make(secret=OLD)
        async with server.app[POOL].acquire() as connection, connection.transaction():
            await connection.execute("LOCK TABLE public.webhook_sources")
            looks = known.looks
            assert [await api.status(OLD) for _ in range(5)] == [200] * 5
            assert known.looks == looks + 1
        await known.all()


async def test_before_anything_is_known_the_answer_is_503(
    clean: Database, client: httpx.AsyncClient
) -> None:
    async with gated(clean) as (gate, behind), served(behind) as server:
        await gate.shut()
        answer = await Caller(client, server).deliver(by_standard(OLD))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        await gate.open()


async def test_the_list_has_built_in_sources_too(
    clean: Database, client: httpx.AsyncClient
) -> None:
    async with served(clean, stripe_webhook_secret="whsec_stripe_0123456789") as server:
        api = Caller(client, server)
        await api.make(channel="public.acme")
        await api.call("PATCH", "/github", {"paused": True})
        found = (await api.call("GET", "")).json()["sources"]
        short = [(it["name"], it["builtin"], it["open"], it["paused"]) for it in found]
        assert short == [
            ("dodo", True, False, False),
            ("stripe", True, True, False),
            ("github", True, False, True),
            ("acme", False, True, False),
        ]
        assert found[1]["path"] == "/api/payments/stripe/webhook"
        assert found[3]["channel"] == "public.acme"
        assert [found[1]["setting"], found[3]["setting"]] == ["STRIPE_WEBHOOK_SECRET", None]
        assert found == [(await api.call("GET", f"/{it['name']}")).json() for it in found]
        assert (await api.call("GET", "/nobody")).status_code == 404


async def test_dodos_door_can_refuse_the_texts_form(
    clean: Database, client: httpx.AsyncClient
) -> None:
    body = DODO.sample(DODO.types[0], Example())
    texts = DODO.scheme.second.sign(body, DODO_KEY, message_id="", at=0)  # type: ignore[attr-defined]
    for setting, statuses in (("on", (200, 200)), ("off", (400, 200))):
        given: dict[str, Any] = {"dodo_text_form": setting}
        given["dodo_payments_webhook_key"] = DODO_KEY
        async with served(clean, **given) as server:
            found = []
            for headers in (texts, by_standard(DODO_KEY, body)):
                answer = await client.post(url(server, DODO), content=body, headers=headers)
                found.append(answer.status_code)
            assert tuple(found) == statuses


def test_without_the_texts_form_a_passphrase_stops_the_start() -> None:
    from server.settings import load

    given = {"dodo_payments_webhook_key": "a passphrase of the text's form"}
    assert secrets_of(providers_of(load(**given))[0], load(**given))
    strict = load(**given, dodo_text_form="off")
    with pytest.raises(StartError, match="DODO_PAYMENTS_WEBHOOK_KEY"):
        secrets_of(providers_of(strict)[0], strict)

"""The commands on a real database, and `send` to a real server."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from click.testing import CliRunner

from server.__main__ import main
from server.db.embedded import EmbeddedPostgres
from server.db.pool import Database
from server.keys import POOL
from server.webhooks.operating.console import visible
from server.webhooks.providers import PROVIDERS
from tests.clean import clean, reused
from tests.conftest import database_url
from tests.process import REPOSITORY, environment
from tests.served import BEARER, Served, served
from tests.webhooks.test_operating import put, states

__all__ = ["clean", "reused"]

DODO_KEY = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
OWN_KEY = "whsec_" + "b3RoZXItb3RoZXItb3RoZXItb3RoZXItb3RoZXI="
STRIPE_KEY, GITHUB_KEY = "whsec_stripe_0123456789", "It's a Secret to Everybody"


class Command(NamedTuple):
    """A server without workers, and `tailrace webhooks` on its database."""

    server: Served
    environment: dict[str, str]

    async def __call__(self, *arguments: str, answer: str = "", fails: bool = False) -> str:
        """What it prints, or the one sentence with which it fails."""
        done = await asyncio.to_thread(
            CliRunner().invoke, main, ["webhooks", *arguments], input=answer, env=self.environment
        )
        assert done.exit_code == (1 if fails else 0), done.output
        if not fails:
            return done.stdout
        [sentence] = done.stderr.splitlines()
        return sentence

    async def send(self, *arguments: str, fails: bool = False) -> str:
        return await self("send", *arguments, "--url", self.server.url, fails=fails)


@pytest.fixture
async def command(clean: Database) -> AsyncIterator[Command]:
    environment = {
        "DATABASE_URL": clean.url,
        "TAILRACE_SECRET": "s" * 32,
        "DODO_PAYMENTS_WEBHOOK_KEY": DODO_KEY,
        "STRIPE_WEBHOOK_SECRET": f"{STRIPE_KEY},other-secret-0123456789",
        "GITHUB_WEBHOOK_SECRET": GITHUB_KEY,
    }
    async with served(
        clean,
        webhook_workers=0,
        dodo_payments_webhook_key=DODO_KEY,
        stripe_webhook_secret=STRIPE_KEY,
        github_webhook_secret=GITHUB_KEY,
    ) as server:
        yield Command(server, environment)


async def stored(command: Command) -> list[Any]:
    return list(
        await command.server.app[POOL].fetch("SELECT * FROM public.webhook_deliveries ORDER BY seq")
    )


async def test_it_runs_as_a_process(command: Command) -> None:
    made = await put(command.server, state="dead")
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "server", "webhooks", "list", "--json"],
        cwd=REPOSITORY,
        env=environment(command.environment),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    [line] = done.stdout.splitlines()
    async with httpx.AsyncClient(base_url=command.server.url, headers=BEARER) as client:
        told = (await client.get("/api/webhooks/deliveries")).json()["deliveries"]
    assert [json.loads(line)] == told
    assert told[0]["id"] == made


async def test_every_sample_of_every_provider_is_taken(command: Command) -> None:
    for provider in PROVIDERS:
        for type_ in provider.types[:3]:
            printed = await command.send(provider.name, type_)
            row = (await stored(command))[-1]
            assert (row["source"], row["type"]) == (provider.name, type_)
            assert printed.splitlines() == [
                f'200 {{"received":true,"id":"{row["id"]}"}}',
                f"delivery {row['id']}",
            ]
    await command.send("stripe")
    assert (await stored(command))[-1]["type"] == PROVIDERS[1].types[0]


async def test_it_says_what_the_sample_is_about(command: Command) -> None:
    first = await command.send("dodo", "--user", "ada", "--credits", "7", "--id", "A17")
    assert await command.send("dodo", "--id", "A17") == first, "the same event"
    await command.send("dodo", "refund.succeeded", "--id", "A17")
    payment, refund = [json.loads(row["body"])["data"] for row in await stored(command)]
    assert payment["metadata"] == {"user_id": "ada", "credits": "7"}
    assert payment["payment_id"] == refund["payment_id"] == "pay_A17"


async def test_a_body_of_your_own_goes_as_it_is(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "body.json"
    body = b'{ "type" : "own.type",\r\n "name" : "K\xc3\xa4the" }\n'
    file.write_bytes(body)
    await command.send("dodo", "--data", str(file))
    [row] = await stored(command)
    assert (row["body"], row["type"]) == (body, "own.type")


async def test_a_key_that_fits_the_texts_form_alone_signs_so(clean: Database) -> None:
    key = "a plain string, as the text has it"
    async with served(clean, webhook_workers=0, dodo_payments_webhook_key=key) as server:
        command = Command(server, {"DATABASE_URL": clean.url, "TAILRACE_SECRET": "s" * 32})
        await command.send("dodo", "--secret", key)
        [row] = await stored(command)
        assert "x-dodo-signature" in json.loads(row["headers"])


async def test_a_source_of_ones_own_signs_with_the_secret_given(command: Command) -> None:
    scheme = {"kind": "hmac", "header": "x-acme", "timestamp_header": "x-time"}
    scheme["template"] = "{timestamp}.{body}"
    sources = {"acme": scheme, "other": {"kind": "standard"}}
    async with httpx.AsyncClient(base_url=command.server.url, headers=BEARER) as client:
        for name, form in sources.items():
            body = {"name": name, "scheme": form, "secret": OWN_KEY}
            answer = await client.post("/api/webhooks/sources", json=body)
            assert answer.status_code == 201, answer.text
    for name in sources:
        await command.send(name, "thing.made", "--secret", OWN_KEY)
        row = (await stored(command))[-1]
        assert (row["source"], row["type"]) == (name, "thing.made")
    assert "--secret" in await command.send("acme", fails=True)
    for future in ('{"kind": "hmac", "header": "x", "later": 1}', '{"kind": "later"}', "[]"):
        await command.server.app[POOL].execute(
            "UPDATE public.webhook_sources SET scheme = $1", future
        )
        said = await command.send("acme", "--secret", OWN_KEY, fails=True)
        assert said == "tailrace: this version does not know the scheme of acme"


async def test_what_can_not_be_sent_is_told_in_one_sentence(command: Command) -> None:
    for arguments, words in (
        (("dodo", "nonsense"), "no sample of nonsense: there are payment.succeeded"),
        (("nobody",), "there is no provider or source nobody"),
        (("dodo", "--secret", OWN_KEY), "it answered 401"),
        (("dodo", "--secret", "whsec_!"), "the secret must be base64"),
        (("dodo", "--id", "a b"), "printable ASCII"),
    ):
        assert words in await command.send(*arguments, fails=True), arguments
    url = "http://127.0.0.1:1"
    assert "refused" in await command("send", "dodo", "--url", url, fails=True)
    assert "is not an address" in await command("send", "dodo", "--url", "nonsense", fails=True)
    del command.environment["GITHUB_WEBHOOK_SECRET"]
    assert "GITHUB_WEBHOOK_SECRET" in await command.send("github", fails=True)
    assert await stored(command) == []


async def test_what_a_server_answers_is_harmless_on_a_terminal() -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.json_response({"id": "\x1b]0;x\x07"})

    app = web.Application()
    app.router.add_post("/api/webhooks/github", answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/"))
        asked = ["webhooks", "send", "github", "--secret", GITHUB_KEY, "--url", url]
        done = await asyncio.to_thread(CliRunner().invoke, main, asked)
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[1] == "delivery \\u001b]0;x\\u0007"


async def test_the_list_is_a_table_that_no_sender_can_break(command: Command) -> None:
    old = await put(command.server, "stripe", "invoice.paid", key="cus_1", state="done")
    bad = await put(
        command.server, key="a\u202eb", state="dead", minutes=5, error="no\n\x1b[2J" + "x" * 100
    )
    assert await command("list") == (
        "ID                                RECEIVED              SOURCE  TYPE               STATE"
        "  TRIES  KEY       ERROR\n"
        f"{bad}  2026-11-22 12:05:00Z  dodo    payment.succeeded  dead   1      a\\u202eb"
        f"  no\\u000a\\u001b[2J{'x' * 53}…\n"
        f"{old}  2026-11-22 12:00:00Z  stripe  invoice.paid       done   1      cus_1\n"
    )
    both = ("--state", "done", "--state", "dead", "--until", "2026-11-22T12:01:00Z")
    for arguments in (("--source", "stripe"), ("--type", "invoice.*"), ("--key", "cus_1"), both):
        lines = (await command("list", *arguments)).splitlines()
        assert [line.split()[0] for line in lines] == ["ID", old]
    seq = (await stored(command))[1]["seq"]
    for limit, hint in (("1", f"there are older ones: --after {seq}\n"), ("2", "")):
        asked = ["webhooks", "list", "--limit", limit]
        done = await asyncio.to_thread(CliRunner().invoke, main, asked, env=command.environment)
        assert len(done.stdout.splitlines()) == 1 + int(limit)
        assert done.stderr == hint
    assert old in (await command("list", "--after", str(seq), "--json"))
    assert await command("list", "--json", "--text", "nowhere") == ""
    assert "--since: an ISO 8601 time" in await command("list", "--since", "x", fails=True)
    assert "--text" in await command("list", "--text", "x", fails=True)


async def test_one_is_shown_whole(command: Command) -> None:
    attempt = {"at": "2026-11-22T12:00:00.000Z", "state": "failed", "error": "no", "ms": 1.5}
    body = '{"a":"\x9bä",\n\t"b":1}'.encode()
    made = await put(command.server, state="dead", body=body, history=json.dumps([attempt]))
    printed = await command("show", made)
    assert f"id          {made}\n" in printed
    assert "\nattempts:\n  2026-11-22T12:00:00.000Z  failed  1.5 ms  no\n" in printed
    assert printed.endswith('\nheaders:\n  x-more: ä\n\nbody:\n{"a":"\\u009bä",\n\t"b":1}\n')
    gone = await put(command.server, body=None)
    assert (await command("show", gone)).endswith("body:\n  (no longer kept)\n")
    assert await command("show", "x", fails=True) == "tailrace: there is no delivery x"


async def test_a_retry_tries_all_and_tells_of_each(command: Command) -> None:
    dead, gone, done = [
        await put(command.server, state=state, body=body)
        for state, body in (("dead", b"{}"), ("dead", None), ("done", b"{}"))
    ]
    sentence = await command("retry", dead, gone, "x", done, fails=True)
    assert sentence == (f"tailrace: {gone}: its body is no longer kept; there is no delivery x")
    assert await states(command.server) == {dead: "pending", gone: "dead", done: "pending"}


async def test_a_replay_asks_first(command: Command) -> None:
    dead = [await put(command.server, state="dead") for _ in range(3)]
    other = await put(command.server, "stripe", state="dead")
    before = await states(command.server)
    question = "3 match. Handle 3 again? [y/N]: "
    assert await command("replay", "--source", "dodo", "--dry-run") == "3 match\n"
    assert await command("replay", "--source", "dodo", answer="n\n", fails=True) == "Aborted!"
    assert await states(command.server) == before
    printed = await command("replay", "--source", "dodo", answer="y\n")
    assert printed == f"{question}y\n3 of 3 are pending\n"
    assert await states(command.server) == dict.fromkeys(dead, "pending") | {other: "dead"}
    assert await command("replay", "--source", "dodo", answer="y\n") == "0 match\n"
    printed = await command("replay", "--state", "dead", "--since", "90000d", "--yes")
    assert printed == "1 of 1 are pending\n"
    assert "at least one of source" in await command("replay", "--yes", fails=True)


async def test_without_a_database_or_its_tables_it_says_what_to_do(
    postgres: EmbeddedPostgres,
) -> None:
    for url, words in (
        ("postgresql://127.0.0.1:1/x", "cannot connect to Postgres"),
        (database_url(postgres, "postgres"), "run tailrace migrate"),
    ):
        given = {"DATABASE_URL": url, "TAILRACE_SECRET": "s" * 32}
        done = await asyncio.to_thread(CliRunner().invoke, main, ["webhooks", "list"], env=given)
        assert done.exit_code == 1
        assert words in done.stderr


def test_foreign_text_is_harmless_on_a_terminal() -> None:
    text = "a\x00\x1b]0;x\x07\x7f\x9b\u061c\u2028\u202e\u2067b\n\t\u00e4"
    assert visible(text) == (
        "a\\u0000\\u001b]0;x\\u0007\\u007f\\u009b\\u061c\\u2028\\u202e\\u2067b\\u000a\\u0009ä"
    )
    assert visible("a\n\tb", lines=True) == "a\n\tb"

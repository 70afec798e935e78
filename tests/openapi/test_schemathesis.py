"""schemathesis against a server as people start it: the document is true, and nothing breaks it."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path

import asyncpg
import pytest

from server.db.embedded import EmbeddedPostgres
from tests.conftest import CLONE, database_url
from tests.process import ServerProcess

SEED = 20261122
EXAMPLES = 2
"""Cases of an operation in the fuzzing phase; the coverage phase has its own, fixed ones."""
KEY = "an api key for tests, 32 characters or more"
TOKEN = "trs_" + "a" * 32
SPARE = [f"trs_{index:032d}" for index in range(400)]
HOOKS = Path(__file__).with_name("st_hooks.py")

_ADMIN = "INSERT INTO users (name, email, role) VALUES ('A', 'a@example.com', 'admin') RETURNING id"
_OTHER = "INSERT INTO users (name, email) VALUES ('B', 'b@example.com') RETURNING id"
_SESSION = "INSERT INTO sessions (user_id, token_hash, expires_at) VALUES ($1, $2, now() + '1 day')"

# `max-stream-events`: a stream ends for the tester when it has come to an event; `ready` is one.
CONFIG = f"""
seed = {SEED}
workers = 1
max-stream-events = 1
request-timeout = 10
color = false
hooks = {json.dumps(str(HOOKS))}

[generation]
max-examples = {EXAMPLES}
deterministic = true
database = "none"
# NUL is refused everywhere, as Postgres can't store it: tests of their own hold that.
allow-x00 = false

[phases.coverage]
# Every path answers 405 in one place, which tests of its own hold: one wrong method is enough here.
unexpected-methods = ["TRACE"]

[auth.openapi]
session = {{ api_key = "{TOKEN}" }}
bearer = {{ bearer = "{TOKEN}" }}
apiKey = {{ bearer = "{KEY}" }}

[checks.positive_data_acceptance]
# What is right in itself may still not fit what is there: versions (412), accounts (422).
expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "412", "422", "429"]

[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "408", "412", "413", "415", "422", "429"]
"""

# tus speaks in headers; and what a file may be, only its length and its bytes tell.
CONFIG += """
[[operations]]
include-path-regex = "^/api/uploads/tus"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "413", "415", "429", "507"]
[operations.checks.missing_required_header]
expected-statuses = ["400", "401", "403", "404", "405", "406", "412", "415", "422"]
"""

REFUSING = {
    "changePassword": "takes the current password",
    "createKey": "takes a time that is still to come",
    "createNotification": "takes the id of a user",
    "deliverGithub": "takes what is signed",
    "deliverSource": "takes what is signed",
    "createSource": "takes a secret and a template that fit the scheme",
    "changeSource": "takes a template that fits the scheme",
    "addSecret": "takes a secret that fits the scheme",
    "upload": "takes a file of the types of its policy",
}
"""Operations that answer 400 to what is right by its schema, as they also look at what is there."""
CONFIG += "".join(
    f"""
[[operations]]  # {why}
include-operation-id = "{name}"
[operations.checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "429"]
"""
    for name, why in REFUSING.items()
)


async def sign_in(url: str) -> None:
    """An admin's session, and others for the operations that end theirs."""
    connection = await asyncpg.connect(url)
    try:
        admin = await connection.fetchval(_ADMIN)
        await connection.execute(_SESSION, admin, hashlib.sha256(TOKEN.encode()).digest())
        other = await connection.fetchval(_OTHER)
        await connection.executemany(
            _SESSION, [(other, hashlib.sha256(token.encode()).digest()) for token in SPARE]
        )
    finally:
        await connection.close()


def operations(url: str) -> int:
    """How many there are without HEAD, whose answers are those of GET."""
    with urllib.request.urlopen(f"{url}/openapi.json") as answer:
        paths = json.load(answer)["paths"]
    return sum(method != "head" for methods in paths.values() for method in methods)


def explore(url: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run schemathesis as its command line does, which prints how to repeat what it found."""
    config = directory / "schemathesis.toml"
    config.write_text(CONFIG)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config)]
    command += ["run", f"{url}/openapi.json", "--exclude-method", "HEAD"]
    command += ["--phases", "examples,coverage,fuzzing", "--continue-on-failure"]
    tokens = {"TOKEN": TOKEN, "SPARE_TOKENS": ",".join(SPARE), "PYTHONWARNINGS": "default"}
    return subprocess.run(
        command, cwd=directory, env=os.environ | tokens, capture_output=True, text=True, check=False
    )


@pytest.mark.timeout(180)
def test_every_answer_is_as_the_document_says(
    place: Path, tmp_path: Path, postgres: EmbeddedPostgres
) -> None:
    name = f"schemathesis_{uuid.uuid4().hex[:12]}"
    postgres.run("psql", "-qc", CLONE.format(name), postgres.url)
    url = database_url(postgres, name)
    asyncio.run(sign_in(url))
    settings = {
        "DATABASE_URL": url,
        "TAILRACE_SECRET": "a secret for tests, 32 characters or more",
        "TAILRACE_API_KEY": KEY,
        "TAILRACE_LIMITS": "off",
        "GITHUB_WEBHOOK_SECRET": "a secret for webhooks",  # the other doors are closed: 404
    }
    with ServerProcess(place, "--no-demo", **settings) as server:
        count = operations(server.url)
        done = explore(server.url, tmp_path)
        output = server.output
    postgres.run("psql", "-qc", f"DROP DATABASE {name} WITH (FORCE)", postgres.url)
    if kept := os.environ.get("SCHEMATHESIS_OUTPUT"):
        Path(kept).write_text(done.stdout + done.stderr + output)
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr
    assert f"Tested: {count}" in done.stdout
    # aiohttp logs requests that are no HTTP; what is logged by our own loggers is a fault.
    assert " ERROR server" not in output, output

"""What all tests share: one Postgres for the session, a fresh database for each test."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio

from server.db.embedded import EmbeddedPostgres
from server.db.migrate import migrate
from server.db.pool import Database
from server.settings import Settings

if TYPE_CHECKING:
    from playwright.async_api import Browser

TEMPLATE = "tailrace_template"
# Through the log, which is the default, each page would be read, logged and written again.
CLONE = f"CREATE DATABASE {{}} TEMPLATE {TEMPLATE} STRATEGY FILE_COPY"
# Tests may crash Postgres, never the machine; two-phase commit has tests of its own.
OPTIONS = {"fsync": "off", "max_prepared_transactions": "10"}

# A Postgres takes 40 MB; some tests have several.
MEMORY = 4 * 1024**3
# Each takes 10 s or more.
LONG = (
    "tests/openapi/test_schemathesis.py",
    "tests/test_serve.py",
    "tests/clients/test_page_webhooks.py",
    "tests/clients/test_chromium.py",
    "tests/clients/test_page_faults.py",
    "tests/clients/test_client_js_shared.py",
    "tests/clients/test_client_js.py",
    "tests/load/test_peer.py",
    "tests/load/test_scenarios.py",
    "tests/oracle/test_planted.py",
    "tests/db/test_datadir.py",
    "tests/oracle/test_oracle.py",
    "tests/stream/test_latest.py",
    "tests/webhooks/oracle/test_planted.py",
    "tests/clients/test_page_streams.py",
    "tests/webhooks/test_worker.py",
    "tests/clients/test_page.py",
    "tests/clients/test_page_accounts.py",
    "tests/stream/test_schedule.py",
    "tests/clients/test_page_axe.py",
    "tests/clients/test_page_uploads.py",
    "tests/openapi/test_docs_page.py",
    "tests/clients/test_page_example.py",
)
IN_MEMORY = "/dev/shm"
PREFIX = "tailrace-test-"

CHROMIUM = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--mute-audio",
)


def pytest_configure(config: pytest.Config) -> None:
    """Keep bytecode in pytest's cache, where none may be kept beside the sources.

    Without any, each worker and each process that a test starts compiles all that it imports.
    """
    if sys.dont_write_bytecode and hasattr(config, "cache"):
        sys.dont_write_bytecode = False
        sys.pycache_prefix = str(config.cache.mkdir("bytecode"))
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    if "TMPDIR" not in os.environ and roomy(IN_MEMORY):
        # Processes that tests start, and xdist's workers, get it from here.
        os.environ["TMPDIR"] = tempfile.tempdir = _own_directory()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The modules that take long first: none is left over when all others are done."""
    place = {name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.nodeid.partition("::")[0], len(LONG)))


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the run left in memory; a worker's is a part of it."""
    del config
    directory = os.environ.get("TMPDIR", "")
    if directory.startswith(f"{IN_MEMORY}/{PREFIX}{os.getpid()}-"):
        shutil.rmtree(directory, ignore_errors=True)


def _own_directory() -> str:
    """A new one for this run, once those of runs are removed that were killed."""
    for left in Path(IN_MEMORY).glob(f"{PREFIX}*"):
        pid = left.name.removeprefix(PREFIX).partition("-")[0]
        with suppress(FileNotFoundError):  # another run removes it
            if left.stat().st_uid == os.getuid() and not Path(f"/proc/{pid}").exists():
                shutil.rmtree(left, ignore_errors=True)
    return tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=IN_MEMORY)


def absent(what: str) -> NoReturn:
    """Skip, or fail where nothing may be missing (scripts/test sets TEST_STRICT with CI=true)."""
    if os.environ.get("TEST_STRICT") == "1":
        pytest.fail(f"{what} is missing")
    pytest.skip(f"{what} is missing")


def database_url(postgres: EmbeddedPostgres, name: str) -> str:
    """The address of another database of this Postgres."""
    return urlsplit(postgres.url)._replace(path=f"/{name}").geturl()


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The developer's own settings must not reach the code under test."""
    names = {field.alias for field in Settings.model_fields.values()}
    for name in os.environ:
        if name in names or name.startswith("TAILRACE_"):
            monkeypatch.delenv(name)


def roomy(directory: str) -> bool:
    """Whether a directory in memory is there, large enough, and lets programs run."""
    try:
        found = os.statvfs(directory)
    except OSError:
        return False
    free = found.f_bavail * found.f_frsize
    return free > MEMORY and not found.f_flag & getattr(os, "ST_NOEXEC", 0)


@pytest.fixture(scope="session")
def shelf() -> Iterator[Path]:
    """A directory that the account of Postgres can pass: pytest's own are shut to others."""
    base = IN_MEMORY if roomy(IN_MEMORY) else "/tmp"
    directory = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=base))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def place(shelf: Path) -> Iterator[Path]:
    """A fresh directory for one test, for a Postgres or a server of its own."""
    directory = Path(tempfile.mkdtemp(dir=shelf))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def seed(shelf: Path) -> Path:
    """A data directory as a first start leaves it: copying one is faster than initdb."""
    postgres = EmbeddedPostgres(shelf / "seed", options=OPTIONS)
    postgres.start()
    postgres.stop()
    return postgres.data.path


@pytest.fixture
def planted(place: Path, seed: Path) -> Path:
    """`place` with such a directory in `data`."""
    plant(seed, place / "data")
    return place


def plant(seed: Path, data: Path) -> None:
    """Copy a stopped data directory, owners included."""
    subprocess.run(["cp", "-Rp", seed, data], check=True)


@pytest.fixture(scope="session")
def postgres(shelf: Path) -> Iterator[EmbeddedPostgres]:
    """The Postgres of the session, with a migrated database to clone."""
    postgres = EmbeddedPostgres(shelf / "postgres", options=OPTIONS)
    postgres.start()
    try:
        postgres.run("psql", "-c", f"CREATE DATABASE {TEMPLATE}", postgres.url)
        asyncio.run(migrate(Database(database_url(postgres, TEMPLATE), None, embedded=True)))
        yield postgres
    finally:
        postgres.stop(immediate=True)


@pytest.fixture
async def database(postgres: EmbeddedPostgres) -> AsyncIterator[Database]:
    """A migrated database of its own for one test."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    connection = await asyncpg.connect(postgres.url)
    try:
        await connection.execute(CLONE.format(name))
        yield Database(database_url(postgres, name), None, embedded=True)
        await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of a Chromium."""
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return found
    absent("Chromium")


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """One Chromium for the session, in whose loop the tests with it run."""
    from playwright.async_api import async_playwright  # only for who has such a test

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=CHROMIUM)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def node() -> str:
    """The path of Node.js, with the clients of tests/node installed."""
    found = shutil.which("node")
    clients = Path(__file__).parent / "node" / "node_modules" / "eventsource"
    if found is None or not clients.is_dir():
        absent("Node.js, or its clients in tests/node (scripts/test installs them),")
    return found

"""`tailrace worker`: the workers alone, in a process of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from server.db.pool import Database
from server.keys import POOL
from server.webhooks.handling import worker as module
from tests.clean import clean, reused
from tests.process import REPOSITORY, environment
from tests.served import served
from tests.waiting import until
from tests.webhooks.test_worker import credits_of, store

__all__ = ["clean", "reused"]

COMMAND = [sys.executable, "-m", "server", "worker"]


def start(log: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            COMMAND, cwd=REPOSITORY, env=environment(settings), stdout=output, stderr=output
        )


async def test_it_handles_what_the_servers_store_and_ends_at_a_signal(
    clean: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_EVERY", 3600.0)
    settings = {
        "DATABASE_URL": clean.url,
        "TAILRACE_SECRET": "s" * 32,
        # The platform gives all processes the same settings: this one is the web's.
        "TAILRACE_WEBHOOK_WORKERS": "0",
        # Nor has it the web's disk: what has no uploads needs no place for them.
        "TAILRACE_DATA": str(tmp_path / "data"),
        "STORAGE_URL": "file:///proc/elsewhere",
    }
    async with served(clean, webhook_workers=0) as web:
        user, _ = await web.sign_in()
        await store(web, 1, user)
        log = tmp_path / "worker.log"
        process = start(log, settings)
        try:
            done = "SELECT count(*) FROM webhook_deliveries WHERE state = 'done'"

            async def handled(number: int) -> bool:
                assert process.poll() is None, log.read_text()
                return bool(await web.app[POOL].fetchval(done) == number)

            await until(lambda: handled(1))
            await store(web, 2, user)
            await until(lambda: handled(2))
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()
            process.wait()
        assert await credits_of(web, user) == 20
    assert "webhooks, 2 at once" in log.read_text()
    assert "http://" not in log.read_text()
    assert not (tmp_path / "data" / "spool").exists()


def test_without_a_database_to_share_it_says_so(tmp_path: Path) -> None:
    done = subprocess.run(
        COMMAND,
        cwd=REPOSITORY,
        env=environment({"TAILRACE_DATA": str(tmp_path / "data")}),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("tailrace: a worker needs DATABASE_URL")
    assert not (tmp_path / "data").exists()

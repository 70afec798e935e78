"""Shows what the rate limit does with one Redis: two processes, and an outage under load.

    .venv/bin/python scripts/bench_redis.py

Two servers share a limit of 10 requests in 10 s: of 60 requests at once 10 must pass. Then eight
clients send to one server without a pause while its Redis is killed, started, stopped (SIGSTOP) and
continued: none may be refused, and none may take longer than 250 ms.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from scripts.bench_http import Server, start_postgres
from tests.guard.valkey import Valkey

BODY = {"name": "Ada", "email": "ada@example.com", "message": "Hello there, you."}
PORTS = (8481, 8482)


def serve(port: int, env: dict[str, str]) -> Server:
    command = [sys.executable, "-m", "server", "serve", "--port", str(port), "--no-demo"]
    return Server("tailrace", command, port, env)


async def shared(env: dict[str, str]) -> None:
    servers = []
    try:
        for port in PORTS:
            servers.append(serve(port, env))
            await servers[-1].ready()
        async with httpx.AsyncClient(timeout=10) as client:
            answers = await asyncio.gather(
                *(
                    client.post(f"http://127.0.0.1:{PORTS[number % 2]}/api/contact", json=BODY)
                    for number in range(60)
                )
            )
        passed = sum(answer.status_code == 200 for answer in answers)
        print(f"two processes, 60 requests at once, 10 in 10 s: {passed} passed")
    finally:
        for server in servers:
            server.end()


async def outage(env: dict[str, str], redis: Valkey) -> None:
    server = serve(PORTS[0], env | {"TAILRACE_RATE_FORMS": "1000000/10s"})
    done: list[tuple[float, int, float]] = []

    async def client() -> None:
        async with httpx.AsyncClient(timeout=10) as http:
            while True:
                start = time.perf_counter()
                answer = await http.post(f"http://127.0.0.1:{PORTS[0]}/api/contact", json=BODY)
                now = time.perf_counter()
                done.append((now, answer.status_code, now - start))

    await server.ready()
    tasks = [asyncio.create_task(client()) for _ in range(8)]
    try:
        for name, change in (
            ("healthy", lambda: None),
            ("killed (-9)", redis.stop),
            ("started again", redis.start),
            ("stopped (SIGSTOP)", lambda: os.kill(redis.pid, signal.SIGSTOP)),
            ("continued", lambda: os.kill(redis.pid, signal.SIGCONT)),
        ):
            start = time.perf_counter()
            change()
            await asyncio.sleep(3)
            part = [row for row in done if row[0] >= start]
            times = sorted(row[2] for row in part)
            refused = sum(row[1] != 200 for row in part)
            print(
                f"{name:18} {len(part):5} requests, {refused} refused,"
                f" p50 {1000 * times[len(times) // 2]:.1f} ms, max {1000 * times[-1]:.1f} ms"
            )
    finally:
        for task in tasks:
            task.cancel()
        server.end()


async def main() -> None:
    directory, postgres = start_postgres()
    redis = Valkey(directory)
    redis.start()
    env = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": postgres.url,
        "TAILRACE_SECRET": "s" * 32,
        "TAILRACE_ACCESS_LOG": "off",
        "REDIS_URL": redis.url,
    }
    try:
        await shared(env)
        await outage(env, redis)
    finally:
        redis.stop()
        postgres.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main())

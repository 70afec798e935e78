"""The world of one run: its options, its folder, its Postgres, and how each server is started."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from scripts.benchmark import peers, process
from scripts.benchmark.loadgen import Load, Run
from scripts.benchmark.peers import ROOT, SOURCE
from scripts.benchmark.process import ALL_CORES, LOAD, Process, free_port
from server.db.embedded import EmbeddedPostgres

KEY = "bench-key-" + "0" * 32
WEBHOOK_KEY = "whsec_" + "c2VjcmV0" * 4
CHANNEL = "public.bench"
FLUSH_US = 1_000
PEERS = ("starlette", "aiohttp-sse", "better-sse", "nchan")
EVENT = (
    f'{{"channel":"{CHANNEL}","type":"tick","data":{{"t":@T@,"seq":@N@,"kind":"price",'
    '"symbol":"ACME","bid":101.25,"ask":101.27,"note":"the quick brown fox jumps"}}'
)


@dataclass(frozen=True)
class Options:
    """What the command line says. `clients`, `seconds`: `None` is the row's own."""

    pairs: int
    peers: tuple[str, ...]
    clients: int | None
    seconds: float
    quick: bool
    other_pct: float
    repeats: int
    access_log: bool

    def population(self, own: int) -> int:
        """How many clients a row has whose own number is `own`."""
        return self.clients or (max(20, own // 50) if self.quick else own)

    def amount(self, own: int) -> int:
        """How many events a row needs."""
        return own // 50 if self.quick else own

    def times(self, own: int) -> int:
        """How often a long row is repeated: `own` times at most."""
        return min(self.pairs, own)


@dataclass(frozen=True)
class Target:
    """A server that runs, as the load generator is to use it. `others`: processes that belong to
    it without being it (its database)."""

    process: Process
    path: str
    publish: str
    authorization: str = ""
    body: str = ""
    others: tuple[int, ...] = ()

    def load(self, clients: int, **more: object) -> Load:
        """A run on it; `more` are `Load`'s fields."""
        fields: dict[str, object] = {
            "path": self.path,
            "publish": self.publish,
            "authorization": self.authorization and f"Bearer {self.authorization}",
            "body": self.body,
            "pids": (self.process.pid,),
            "others": self.others,
        }
        return Load(port=self.process.port, clients=clients, **(fields | more))  # type: ignore[arg-type]


class World:
    """A context: what is begun in it is ended with it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._stack = ExitStack()
        self._postgres: EmbeddedPostgres | None = None
        self._slow: EmbeddedPostgres | None = None
        self._count = 0

    def __enter__(self) -> Self:
        # Under /var/tmp: Postgres has to reach it as another user.
        self.folder = Path(tempfile.mkdtemp(prefix="tailrace-bench-", dir="/var/tmp"))
        self.folder.chmod(0o755)
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        # A client of ours belongs to the load's core.
        os.sched_setaffinity(0, ALL_CORES if LOAD is None else {LOAD})
        self._stack.callback(os.sched_setaffinity, 0, ALL_CORES)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def postgres(self) -> EmbeddedPostgres:
        """The run's own Postgres; it runs where it finds room."""
        if self._postgres is None:
            self._postgres = self._started("data", {})
        return self._postgres

    @property
    def slow(self) -> EmbeddedPostgres:
        """Another one, on a disk that flushes in `FLUSH_US`, as a cloud's does.

        Raises:
            NotInstalledError: there is no C compiler.
        """
        if self._slow is None:
            library = self.folder / "slowsync.so"
            source = ROOT / "scripts" / "slowsync.c"
            peers.run(["cc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"])
            env = {"LD_PRELOAD": str(library), "SLOWSYNC_US": str(FLUSH_US)}
            self._slow = self._started("slow", env)
        return self._slow

    def _started(self, folder: str, env: Mapping[str, str]) -> EmbeddedPostgres:
        os.sched_setaffinity(0, ALL_CORES)
        try:
            postgres = EmbeddedPostgres(self.folder / folder, env=env)
            self._stack.callback(postgres.stop)
            postgres.start()
        finally:
            os.sched_setaffinity(0, ALL_CORES if LOAD is None else {LOAD})
        return postgres

    def run(self, load: Load) -> Run:
        """Run the load generator.

        Raises:
            MeasureError: its figures are worth nothing.
        """
        process.raise_files(load.clients + 500)
        return load.run(peers.compiled("sseload"), LOAD)

    @contextmanager
    def serve(
        self, name: str, on: EmbeddedPostgres | None = None, /, **settings: str
    ) -> Iterator[Target]:
        """A fresh server of that name for as long as the context lasts. `on`: its Postgres, if it
        has one; default: `postgres`.

        Raises:
            NotInstalledError, StartError: there is none.
        """
        process.raise_files(1_000)
        port, make = free_port(), _MAKE.get(name)
        self._count += 1
        folder = self.folder / f"{self._count}-{name}"
        folder.mkdir()
        if make is not None:
            target = Target(make(port, folder), "/sse?channel=c", "/pub?channel=c")
        else:
            target = self._tailrace(_TAILRACE[name], port, folder, on or self.postgres, settings)
        try:
            target.process.ready()
            yield target
        finally:
            target.process.stop()
            shutil.rmtree(folder, ignore_errors=True)

    def _tailrace(
        self,
        program: Sequence[str],
        port: int,
        folder: Path,
        postgres: EmbeddedPostgres,
        settings: dict[str, str],
    ) -> Target:
        env = _plain() | {
            "DATABASE_URL": postgres.url,
            "TAILRACE_DATA": str(folder / "data"),
            "TAILRACE_SECRET": "s" * 32,
            "TAILRACE_API_KEY": KEY,
            "TAILRACE_LIMITS": "off",
            "TAILRACE_UPLOAD_QUOTA": str(2**50),
            "TAILRACE_ACCESS_LOG": "on" if self.options.access_log else "off",
            **settings,
        }
        argv = [sys.executable, "-m", *program, "serve", "--port", str(port), "--no-demo"]
        running = Process("tailrace", argv, port, log=folder / "log", env=env, cwd=ROOT)
        pid = postgres.pid
        return Target(
            running,
            f"/api/stream?channel={CHANNEL}",
            "/api/events",
            KEY,
            EVENT,
            () if pid is None else (pid,),
        )


def _plain() -> dict[str, str]:
    ours = ("TAILRACE_", "DATABASE_", "PG")
    taken = {"HOST", "PORT", "REDIS_URL", "PYTHONPATH", "VIRTUAL_ENV"}
    return {k: v for k, v in os.environ.items() if not k.startswith(ours) and k not in taken}


def _started(name: str, argv: list[str], port: int, folder: Path, cwd: Path = ROOT) -> Process:
    return Process(name, argv, port, log=folder / "log", env=_plain(), cwd=cwd)


def _c(mode: str, port: int, folder: Path) -> Process:
    return _started(f"c-{mode}", [str(peers.compiled("cfloor")), str(port), mode], port, folder)


def _own(script: str, port: int, folder: Path, *more: str) -> Process:
    argv = [sys.executable, str(SOURCE / f"{script}.py"), str(port), *more]
    return _started(script, argv, port, folder)


def _peer(name: str, script: str, port: int, folder: Path) -> Process:
    return _started(name, [str(peers.python()), str(SOURCE / script), str(port)], port, folder)


def _better_sse(port: int, folder: Path) -> Process:
    argv = ["node", str(SOURCE / "better_sse.mjs"), str(port)]
    return _started("better-sse", argv, port, folder, peers.node())


def _nchan(port: int, folder: Path) -> Process:
    program, module = peers.nchan()
    text = (SOURCE / "nchan.conf").read_text()
    user = "user root;" if os.getuid() == 0 else ""
    for mark, value in (("PORT", port), ("DIR", folder), ("MODULE", module), ("USER", user)):
        text = text.replace(f"@{mark}@", str(value))
    config = folder / "nginx.conf"
    config.write_text(text)
    return _started("nchan", [str(program), "-p", str(folder), "-c", str(config)], port, folder)


_MAKE = {
    "c-send": lambda port, folder: _c("send", port, folder),
    "c-batch": lambda port, folder: _c("batch", port, folder),
    "engine": lambda port, folder: _own("engine", port, folder),
    "bare": lambda port, folder: _own("bare", port, folder),
    "bare-webhooks": lambda port, folder: _own("bare_webhooks", port, folder),
    "bare-webhooks-verified": lambda port, folder: _own("bare_webhooks", port, folder, WEBHOOK_KEY),
    "starlette": lambda port, folder: _peer("starlette", "starlette_app.py", port, folder),
    "aiohttp-sse": lambda port, folder: _peer("aiohttp-sse", "aiohttp_sse_app.py", port, folder),
    "better-sse": _better_sse,
    "nchan": _nchan,
}

_TAILRACE = {
    "tailrace": ["server"],
    "tailrace-pool": ["scripts.benchmark.singly", "pool"],
    "tailrace-queue": ["scripts.benchmark.singly", "queue"],
}
"""The modules that are run: the server, and it with one transaction for each webhook."""

"""A round of chaos: writers, clients and faults at once; then quiet; then judgement."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.oracle.clients import Client
from tests.oracle.faults import Faults
from tests.oracle.law import deliveries, judge
from tests.oracle.ledger import Ledger, audit
from tests.oracle.model import History, Violation
from tests.oracle.poller import Poller
from tests.oracle.posters import Poster
from tests.oracle.witness import Witness
from tests.oracle.world import World
from tests.oracle.writers import Writer
from tests.waiting import until

SETTLE = 20.0
WANTED = (
    ("public.>",),
    ("public.o.1",),
    ("public.o.2", "public.o.3", "public.rows.0"),
    ("public.rows.*",),
    ("public.deep.*.y", "public.o.0"),
    ("public.quiet",),
    (">",),
    ("table.public.copied", "public.o.4"),
)
"""What clients subscribe to, in turn. On `public.quiet` nothing ever happens."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How much of everything."""

    writers: int = 26
    posters: int = 6
    clients: int = 24
    pollers: int = 2
    pace: float = 0.15
    pester: float = 0.03


@dataclass(slots=True)
class Report:
    """What was done and what was found."""

    events: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    hits: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    wrote: Counter[str] = field(default_factory=Counter)
    stuck: int = 0
    violations: list[Violation] = field(default_factory=list)


class Chaos:
    """Rounds on one world; the log, the witness and the ledger go through all of them."""

    def __init__(self, world: World, witness: Witness, seed: int, shape: Shape) -> None:
        self.report = Report()
        self._world = world
        self._witness = witness
        self._seed = seed
        self._shape = shape
        self._ledger = Ledger()
        self._round = 0
        self._audited = 0

    async def round(self, faults: Sequence[str], *, slow: bool = True) -> None:
        """One round, with these faults of the servers in this order, then the judgement."""
        self._round += 1
        started = time.monotonic()
        await self._witness.collect()
        clients = [self._client(index) for index in range(self._shape.clients)]
        pollers = [self._poller(index) for index in range(self._shape.pollers)]
        everybody: list[Client | Poller] = [*clients, *pollers]
        doer = Faults(self._world, self._witness, self._ledger, clients, self._rng("faults"))
        async with asyncio.TaskGroup() as group:
            for one in everybody:
                group.create_task(one.run(self._world.servers))
            await self._storm(group, doer, faults, slow=slow)
            await self._quiet(everybody)
            for one in everybody:
                one.finish()
        self.report.seconds += time.monotonic() - started
        await self._judge([one.history for one in everybody], doer)

    async def _storm(
        self, group: asyncio.TaskGroup, doer: Faults, faults: Sequence[str], *, slow: bool
    ) -> None:
        """Everything at once, until the faults are done and the slow transaction is through."""
        writers = [self._writer(index) for index in range(self._shape.writers)]
        posters = [self._poster(index) for index in range(self._shape.posters)]
        everybody: list[Writer | Poster] = [*writers, *posters]
        at_work = [group.create_task(one.run()) for one in everybody]
        at_work.append(group.create_task(doer.pester(self._shape.pester)))
        if slow:
            at_work.append(group.create_task(self._slow()))
        for kind in faults:
            await doer.do(kind)
        doer.over = True
        for one in everybody:
            one.over = True
        await asyncio.gather(*at_work)
        for one in everybody:
            self.report.wrote += one.did

    async def _slow(self) -> None:
        """A three-second transaction, again until it gets through."""
        writer = Writer(f"{self._round}slow", self._world, self._ledger, self._rng("slow"), 0)
        for _ in range(20):
            if await writer.attempt(writer.slow):
                break
            await asyncio.sleep(0.1)
        writer.over = True
        await writer.run()
        self.report.wrote += writer.did

    async def _quiet(self, everybody: Sequence[Client | Poller]) -> None:
        """Until everybody has everything; who does not get there in time is judged for it."""
        try:
            await until(self._witness.settled, SETTLE)
            head = self._witness.head
            await until(lambda: all(one.position >= head for one in everybody), SETTLE)
        except AssertionError:
            await self._witness.collect()

    async def _judge(self, histories: Sequence[History], doer: Faults) -> None:
        report = self.report
        report.violations += await self._witness.review()
        truth = self._witness.truth()
        for history in histories:
            report.violations += judge(truth, history)
        if truth.head >= 2 * self._audited:
            self.audit()
        for server in self._world.servers:
            report.violations += server.complaints()
        self._witness.texts.clear()
        report.events = truth.head
        report.told += deliveries(histories)
        report.faults += doer.done
        report.hits += doer.hits
        report.stuck += doer.stuck

    def audit(self) -> None:
        """Judge the whole log. Not after every round: it takes as long as the log is."""
        if self._audited == self._witness.head:
            return
        self._audited = self._witness.head
        self.report.violations += audit(self._witness.rows, self._ledger)

    def _client(self, index: int) -> Client:
        wanted = WANTED[index % len(WANTED)]
        name = f"client {self._round}.{index} {','.join(wanted)}"
        return Client(name, wanted, self._witness, self._rng(f"client {index}"))

    def _poller(self, index: int) -> Poller:
        wanted = WANTED[index % len(WANTED)]
        name = f"poller {self._round}.{index} {','.join(wanted)}"
        return Poller(name, wanted, self._witness, self._rng(f"poller {index}"))

    def _writer(self, index: int) -> Writer:
        name, rng = f"{self._round}w{index}", self._rng(f"writer {index}")
        return Writer(name, self._world, self._ledger, rng, self._shape.pace)

    def _poster(self, index: int) -> Poster:
        name, rng = f"{self._round}h{index}", self._rng(f"poster {index}")
        return Poster(name, self._world, self._ledger, rng, self._shape.pace)

    def _rng(self, name: str) -> random.Random:
        """Everybody's own, so that one's choices do not depend on another's timing."""
        return random.Random(f"{self._seed}/{self._round}/{name}")

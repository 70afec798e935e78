"""A process with one bug: `python -m tests.webhooks.oracle.planted <bug> serve …`.

Each bug is one that a careless change could bring, planted where that change would be made. The
oracle has to find every one of them.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from server import run
from server.__main__ import main
from server.db.faults import LOST
from server.db.migrate import migrate
from server.db.pool import Database, connect
from server.webhooks.handling.worker import Worker
from server.webhooks.intake import intake
from server.webhooks.intake.deliveries import Delivery, Stored, store
from server.webhooks.intake.intake import Intake

if TYPE_CHECKING:
    from server.db.pool import Pool

FLUSH = 0.02
"""Seconds that a commit may take on a disk that has to flush it."""
# A plain INSERT, where nothing stands in the way of a second one.
_PLAIN = """
    SELECT pg_advisory_xact_lock(1);  -- several processes may be starting
    ALTER TABLE public.webhook_deliveries
      DROP CONSTRAINT IF EXISTS webhook_deliveries_source_message_id_key;
    CREATE OR REPLACE FUNCTION tailrace.store_deliveries(
      sources text[], message_ids text[], types text[], keys text[], times timestamptz[],
      headers text[], bodies bytea[]
    ) RETURNS TABLE (n bigint, id text, fresh boolean) LANGUAGE plpgsql AS $$
    BEGIN
      RETURN QUERY WITH stored AS (
        INSERT INTO public.webhook_deliveries AS w
          (source, message_id, type, key, event_at, headers, body)
        SELECT * FROM unnest(sources, message_ids, types, keys, times, headers::json[], bodies)
        RETURNING w.id, w.source, w.message_id
      ) SELECT t.n, s.id, true FROM stored s
        JOIN unnest(sources, message_ids) WITH ORDINALITY AS t (source, message_id, n)
          ON s.source = t.source AND s.message_id = t.message_id;
    END $$"""


def early_answer() -> None:
    """Deliveries are acknowledged, and committed right after that."""
    later = set()

    async def finish(pool: Pool, connection: Any, transaction: Any) -> None:
        await asyncio.sleep(FLUSH)
        try:
            await transaction.commit()
        except LOST:
            pass
        finally:
            await pool.release(connection)

    async def writing(self: Intake, items: Sequence[Delivery]) -> Sequence[Stored]:
        connection: Any = await self._pool.acquire()
        transaction = connection.transaction()
        try:
            await transaction.start()
            results = await store(connection, items)
        except BaseException:
            await self._pool.release(connection)
            raise
        task = asyncio.create_task(finish(self._pool, connection, transaction))
        later.add(task)
        task.add_done_callback(later.discard)
        return results

    _plant(Intake, "write", writing)


def own_memory() -> None:
    """Whether a message has come before is known by the process, not by the database."""
    known: dict[tuple[str, str], str] = {}

    async def migrating(database: Database) -> None:
        await migrate(database)
        connection = await connect(database)
        await connection.execute(_PLAIN)
        await connection.close()

    async def storing(pool: Pool, deliveries: Sequence[Delivery]) -> list[Stored]:
        fresh = {item[:2]: item for item in deliveries if item[:2] not in known}
        if fresh:
            results = await store(pool, list(fresh.values()))
            known.update(zip(fresh, (result.id for result in results), strict=True))
        return [Stored(known[item[:2]], item[:2] in fresh) for item in deliveries]

    _plant(run, "migrate", migrating)
    _plant(intake, "store", storing)


def apart() -> None:
    """Handlers work on connections of their own, each statement a transaction of its own."""
    handle = Worker._handle

    async def handling(self: Worker, connection: Any, row: Any) -> Any:
        del connection
        return await handle(self, self._pool, row)  # type: ignore[arg-type]

    _plant(Worker, "_handle", handling)


def any_order() -> None:
    """A worker takes what is due, whatever waits before it."""
    _alter("take_webhook", "d.key IS NULL OR", "true OR")


def last_wins() -> None:
    """A subscription is as whatever came last says."""
    _alter("keep_subscription", "WHERE excluded.event_at > s.event_at", "WHERE true")


BUGS: dict[str, Callable[[], None]] = {
    "early-answer": early_answer,
    "own-memory": own_memory,
    "apart": apart,
    "any-order": any_order,
    "last-wins": last_wins,
}


def _plant(owner: Any, name: str, bug: Any) -> None:
    """Replace something that is really there."""
    assert hasattr(owner, name), f"{owner} has no {name} any more: plant the bug elsewhere"
    setattr(owner, name, bug)


def _alter(name: str, what: str, bug: str) -> None:
    """Write a function of the database anew, once it is there."""

    async def migrating(database: Database) -> None:
        await migrate(database)
        connection = await connect(database)
        text = await connection.fetchval(
            "SELECT pg_get_functiondef(oid) FROM pg_proc"
            " WHERE proname = $1 AND pronamespace = 'tailrace'::regnamespace",
            name,
        )
        assert what in text or bug in text, f"{name} is otherwise now: plant the bug elsewhere"
        # Several processes may be starting.
        await connection.execute(f"SELECT pg_advisory_xact_lock(1);{text.replace(what, bug)}")
        await connection.close()

    _plant(run, "migrate", migrating)


if __name__ == "__main__":
    BUGS[sys.argv.pop(1)]()
    main(prog_name="tailrace")

"""What the database itself notes, and what it holds in the end.

Triggers write into tables of the schema `oracle`, in the very transactions that they tell of: what
was rolled back leaves nothing there either.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.webhooks.oracle.model import (
    Books,
    Effect,
    Handled,
    Notice,
    Payment,
    Row,
    Subscription,
)

if TYPE_CHECKING:
    from server.db.pool import Connection

WITNESS = """
    CREATE SCHEMA oracle;
    CREATE TABLE oracle.handled (
      id text NOT NULL, state text NOT NULL, began timestamptz NOT NULL, at timestamptz NOT NULL,
      xid xid8 NOT NULL, process text NOT NULL);
    CREATE FUNCTION oracle.note_handled() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO oracle.handled VALUES (NEW.id, NEW.state, transaction_timestamp(),
        clock_timestamp(), pg_current_xact_id(), session_user);
      RETURN NULL;
    END $$;
    CREATE TRIGGER oracle_handled AFTER UPDATE OF state ON public.webhook_deliveries FOR EACH ROW
      WHEN (OLD.state = 'pending' AND NEW.state <> 'pending')
      EXECUTE FUNCTION oracle.note_handled();

    CREATE TABLE oracle.effect (delivery text NOT NULL, tab text NOT NULL, xid xid8 NOT NULL);
    CREATE FUNCTION oracle.note_effect() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO oracle.effect VALUES (NEW.delivery, TG_TABLE_NAME, pg_current_xact_id());
      RETURN NULL;
    END $$;
    CREATE TRIGGER oracle_effect AFTER INSERT ON public.payments FOR EACH ROW
      EXECUTE FUNCTION oracle.note_effect();
    CREATE TRIGGER oracle_effect AFTER INSERT OR UPDATE ON public.refunds FOR EACH ROW
      EXECUTE FUNCTION oracle.note_effect();
    CREATE TRIGGER oracle_effect AFTER INSERT OR UPDATE ON public.subscriptions FOR EACH ROW
      EXECUTE FUNCTION oracle.note_effect();

    -- Backends of the processes under test that hold something of a delivery right now: what they
    -- do, and the transaction that would be lost with them.
    CREATE FUNCTION oracle.at_work()
      RETURNS TABLE (pid integer, role text, xid xid8, idle boolean, task text)
    LANGUAGE sql AS $$
      SELECT a.pid, a.usename::text, a.backend_xid::text::xid8, a.state <> 'active',
        CASE WHEN a.query LIKE '%store_deliveries%' THEN 'store' ELSE 'handle' END
      FROM pg_stat_activity a
      WHERE a.datname = current_database() AND a.usename LIKE 'oracle\\_%'
        AND a.backend_xid IS NOT NULL AND a.state IN ('active', 'idle in transaction')
        AND a.query NOT LIKE 'COMMIT%'  -- it will be, whoever dies
        AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid AND l.granted
          AND l.relation = 'public.webhook_deliveries'::regclass)
    $$;
    -- End backends at such a moment until one's transaction was undone by it: another may have been
    -- about to commit, and still does. False if that did not come about.
    CREATE FUNCTION oracle.strike(wanted text, patience interval) RETURNS boolean
    LANGUAGE plpgsql AS $$
    DECLARE
      target record;
      over timestamptz := clock_timestamp() + patience;
    BEGIN
      WHILE clock_timestamp() < over LOOP
        PERFORM pg_stat_clear_snapshot();
        SELECT w.* INTO target FROM oracle.at_work() w WHERE w.task = wanted
        ORDER BY random() LIMIT 1;
        IF FOUND THEN
          PERFORM pg_terminate_backend(target.pid);
          WHILE pg_xact_status(target.xid) = 'in progress' LOOP
            PERFORM pg_sleep(0.0003);
          END LOOP;
          IF pg_xact_status(target.xid) = 'aborted' THEN RETURN true; END IF;
        END IF;
        PERFORM pg_sleep(0.0003);
      END LOOP;
      RETURN false;
    END $$;"""
_ROWS = """
    SELECT id, seq, source, message_id, type, key, state, body,
      extract(epoch FROM received_at)::float8
    FROM public.webhook_deliveries ORDER BY seq"""
_HANDLED = """
    SELECT id, state, extract(epoch FROM began)::float8, extract(epoch FROM at)::float8, xid::text,
      process FROM oracle.handled ORDER BY at"""
_SUBSCRIPTIONS = """
    SELECT source, id, status, extract(epoch FROM event_at)::bigint, delivery
    FROM public.subscriptions"""
_TOLD = """
    SELECT key, type, count(*) FROM (
      SELECT key, type FROM tailrace.event WHERE channel = 'ops.webhooks'
      UNION ALL SELECT key, type FROM tailrace.outbox WHERE channel = 'ops.webhooks') AS told
    GROUP BY key, type"""
_PENDING = "SELECT count(*) FROM public.webhook_deliveries WHERE state = 'pending'"
# As an operator does who does not wait for the next attempt.
_NOW = """
    UPDATE public.webhook_deliveries SET due_at = clock_timestamp()
    WHERE id IN (SELECT id FROM public.webhook_deliveries
      WHERE state = 'pending' AND due_at > clock_timestamp() FOR UPDATE SKIP LOCKED)"""


async def books(connection: Connection) -> Books:
    """All that the law is to judge, in one snapshot."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        effects = await connection.fetch("SELECT delivery, tab, xid::text FROM oracle.effect")
        users = await connection.fetch("SELECT id, credits_total FROM public.users")
        payments = await connection.fetch(
            "SELECT source, id, user_id, credits, taken FROM public.payments"
        )
        notices = await connection.fetch("SELECT user_id, title, body FROM public.notifications")
        return Books(
            rows=[Row(*row) for row in await connection.fetch(_ROWS)],
            handled=[Handled(*row) for row in await connection.fetch(_HANDLED)],
            effects=[Effect(*row) for row in effects],
            credits={row["id"]: row["credits_total"] for row in users},
            payments=[Payment(*row) for row in payments],
            subscriptions=[Subscription(*row) for row in await connection.fetch(_SUBSCRIPTIONS)],
            notices=[Notice(*row) for row in notices],
            told=Counter({(key, type_): n for key, type_, n in await connection.fetch(_TOLD)}),
        )


async def pending(connection: Connection) -> int:
    """How much waits to be handled."""
    return int(await connection.fetchval(_PENDING))


async def hurry(connection: Connection) -> None:
    """Let what failed be tried again now."""
    await connection.execute(_NOW)

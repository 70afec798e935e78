"""A database that is used again and cleaned between tests: a clone takes a quarter of a second.

For tests that leave the schema, the partitions and the epoch as they are; others take `database`.
A directory's conftest imports both fixtures.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import asyncpg
import pytest

from server.db.embedded import EmbeddedPostgres
from server.db.pool import Database
from tests.conftest import CLONE, database_url

RESET = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
    -- Rows are deleted for what they are: no trigger tells of it, and every table has its turn.
    SET session_replication_role = replica;
    DO $$
    DECLARE
      item record;
      large text[] = '{}';
    BEGIN
      FOR item IN
        SELECT format('public.%I', relname) AS name, relname, relkind, pg_relation_size(oid) AS size
        FROM pg_class
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')
          AND NOT relispartition
      LOOP
        IF item.relname NOT IN
          ('users', 'sessions', 'api_keys', 'notifications', 'posts', 'contacts',
            'webhook_deliveries', 'webhook_sources', 'webhook_secrets', 'payments', 'refunds',
            'subscriptions', 'uploads')
        THEN
          EXECUTE format('DROP %s IF EXISTS %s CASCADE',
            CASE item.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END, item.name);
        ELSIF item.size > 65536 THEN
          large = large || item.name;
        ELSIF item.size > 0 THEN
          -- TRUNCATE makes new files for a table, its indexes and its TOAST: ten times the work.
          EXECUTE format('DELETE FROM %s', item.name);
        END IF;
      END LOOP;
      IF large <> '{}' THEN
        EXECUTE format('TRUNCATE %s CASCADE', array_to_string(large, ', '));
      END IF;
    END $$;
    SET session_replication_role = DEFAULT;
    TRUNCATE tailrace.outbox, tailrace.event, tailrace.message RESTART IDENTITY;
    UPDATE tailrace.head SET pos = 0, floor = 0;
    UPDATE tailrace.lease SET awake_until = '-infinity';
    SELECT tailrace.extend(100000, 100000)
"""


@pytest.fixture(scope="session")
def reused(postgres: EmbeddedPostgres) -> Iterator[Database]:
    """The database that all tests of a directory use in turn."""
    name = f"reused_{uuid.uuid4().hex[:12]}"
    postgres.run("psql", "-qc", CLONE.format(name), postgres.url)
    yield Database(database_url(postgres, name), None, embedded=True)
    postgres.run("psql", "-qc", f"DROP DATABASE {name} WITH (FORCE)", postgres.url)


@pytest.fixture
async def clean(reused: Database) -> Database:
    """It, with an empty log, no users and no other tables."""
    connection = await asyncpg.connect(reused.url)
    await connection.execute(RESET)
    await connection.close()
    return reused

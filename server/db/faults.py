"""Which errors mean that the database is gone for now, as opposed to a statement that is wrong."""

from __future__ import annotations

import asyncpg

LOST: tuple[type[Exception], ...] = (
    OSError,
    TimeoutError,
    asyncpg.InterfaceError,
    # A backend killed in the middle of an operation raises this, and it is no PostgresError.
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,  # shutting down, starting up, terminated
    asyncpg.TooManyConnectionsError,
    asyncpg.InsufficientResourcesError,  # disk full, out of memory
    asyncpg.PostgresSystemError,
    asyncpg.PostgresIOError,
    # A new primary that is not one yet.
    asyncpg.ReadOnlySQLTransactionError,
)

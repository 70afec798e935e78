"""Postgres itself: the supervised embedded server, the pool, the migration."""

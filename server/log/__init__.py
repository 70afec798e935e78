"""The event log: the one source of truth that every stream is read from."""

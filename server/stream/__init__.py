"""Streams: from the log's events to the bytes of Server-Sent Events."""

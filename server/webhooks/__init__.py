"""Webhooks that come in: verified on their raw bytes, committed, applied once."""

"""Tailrace: commit to Postgres, and every subscribed browser knows within milliseconds."""

__version__ = "0.1.0"

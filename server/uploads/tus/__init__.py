"""tus 1.0: uploads in pieces that go on where they were cut (https://tus.io/protocols)."""

from __future__ import annotations

from server.uploads.tus.handlers import add_routes
from server.uploads.tus.service import TUS, Tus

__all__ = ["TUS", "Tus", "add_routes"]

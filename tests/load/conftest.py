from __future__ import annotations

from tests.clean import clean, reused

__all__ = ["clean", "reused"]

"""What a channel policy is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from server.auth.principal import Principal


@dataclass(frozen=True, slots=True)
class Policy:
    """`grants(principal)`: the patterns that this policy lets a principal read, perhaps none."""

    name: str
    grants: Callable[[Principal], Iterable[str]]

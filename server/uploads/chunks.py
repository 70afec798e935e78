"""What is handed on while a body comes: bytes, or a block of memory that will be filled again.

With new memory for each piece the kernel gives it page by page, and none of it is in the
processor's cache.
"""

from __future__ import annotations

from typing import TypeAlias

Chunk: TypeAlias = bytes | bytearray
"""To be read, and not to be changed. Who keeps some of it beyond the call copies that."""


class Block(bytearray):
    """A piece that goes back when it is written. One that is not given back is only forgotten."""

    def __init__(self, size: int, home: Blocks) -> None:
        super().__init__(size)
        self._home = home

    def give_back(self) -> None:
        """It may be filled again from now on; from any thread."""
        self._home.add(self)


class Blocks:
    """Memory that was filled before, of which at most `most` bytes are kept."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free: list[Block] = []

    def take(self, size: int) -> Block:
        """One of `size` bytes: one that was given back, or a new one."""
        while self._free:
            block = self._free.pop()
            if len(block) == size:
                return block
        return Block(size, self)

    def add(self, block: Block) -> None:
        """Nobody reads it any more; from any thread."""
        if len(block) * (len(self._free) + 1) <= self._most:
            self._free.append(block)

    def clear(self) -> None:
        """Keep none."""
        self._free.clear()

"""A client program whose standard output is read line by line, as it comes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Self

from tests.waiting import until


class Program:
    """`lines` grows as the program writes; it is killed at the end of the block."""

    def __init__(self, *command: str, cwd: str | None = None) -> None:
        self._command = command
        self._cwd = cwd
        self.lines: list[str] = []

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            cwd=self._cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            limit=2**24,
        )
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().removesuffix("\n"))

    async def ended(self) -> int:
        """Wait for the program's own end; its exit code."""
        await self._reading
        return await self._process.wait()

    async def wait(self, condition: Callable[[list[str]], bool]) -> None:
        """Wait until its lines satisfy a condition; a failure shows the last of them."""
        with contextlib.suppress(AssertionError):
            await until(lambda: condition(self.lines) or self._reading.done())
        ended = "ended" if self._reading.done() else "runs"
        assert condition(self.lines), f"it {ended} after {len(self.lines)}: {self.lines[-20:]}"

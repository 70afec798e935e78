"""CPU seconds of processes and of the whole machine, from /proc."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")
SHORT = 0.3
"""Seconds in which the kernel's ticks of 10 ms tell too little."""


def _processes() -> dict[int, tuple[int, float]]:
    """Every process: its parent and the CPU it has used, it and its children that have ended.

    What ends is so counted with who has waited for it, and not lost.
    """
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        found[int(entry.name)] = (int(fields[1]), sum(map(int, fields[11:15])) / TICK)
    return found


def _busy() -> float:
    """CPU that the machine has used, without waiting."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _, _, irq, softirq = map(int, fields[:7])
    return (user + nice + system + irq + softirq) / TICK


def used(roots: Iterable[int]) -> float:
    """What these processes and their descendants have used."""
    every = _processes()
    known = set(roots)
    while more := {pid for pid, (parent, _) in every.items() if parent in known} - known:
        known |= more
    return sum(every[pid][1] for pid in known if pid in every)


class Meter:
    """From its making on: how much of a core went to neither us nor `pids` and their children."""

    def __init__(self, *pids: int) -> None:
        self._pids = (*pids, os.getpid())
        self._at, self._all, self._own = time.monotonic(), _busy(), used(self._pids)

    def other_pct(self) -> float:
        """100 is one core."""
        seconds = time.monotonic() - self._at
        if seconds < SHORT:
            return 0.0
        return (_busy() - self._all - (used(self._pids) - self._own)) / seconds * 100

"""Processes that are started, ended, and counted for what they used."""

from __future__ import annotations

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.benchmark.meter import used
from scripts.benchmark.process import Process, StartError, free_port

LISTEN = """
import socket, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
sock = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print(child.pid, flush=True)
time.sleep(60)
"""
BURN = "import time\nwhile time.process_time() < 0.3: pass"


def gone(pid: int) -> bool:
    """Whether it has ended, reaped or not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def listening(tmp_path: Path) -> Process:
    port = free_port()
    argv = [sys.executable, "-c", LISTEN, str(port)]
    process = Process("listener", argv, port, log=tmp_path / "log")
    process.ready()
    while not process.said:
        os.sched_yield()
    return process


def test_the_end_of_the_first_is_the_end_of_all_it_started(tmp_path: Path) -> None:
    process = listening(tmp_path)
    child = int(process.said)
    process.signal(signal.SIGKILL)
    assert process.wait(10) == -signal.SIGKILL
    assert Path(f"/proc/{process.pid}").exists(), "reaped: its number may be another's"
    process.stop()
    while not gone(child):
        os.sched_yield()
    assert not Path(f"/proc/{process.pid}").exists()
    process.stop()  # does nothing more


def test_it_is_given_a_while_and_no_longer(tmp_path: Path) -> None:
    process = listening(tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    process.stop()


def test_somebody_elses_port_is_no_start(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        process = Process("late", [sys.executable, "-c", "0"], port, log=tmp_path / "log")
        assert process.wait(10) == 0
        with pytest.raises(StartError, match="late has ended"):
            process.ready()
        process.stop()


def test_what_has_ended_has_still_used_its_cpu() -> None:
    before = used([os.getpid()])
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", BURN], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    theirs = sum(after[:2]) - sum(children[:2])
    assert used([os.getpid()]) - before >= theirs - 0.05 > 0.2

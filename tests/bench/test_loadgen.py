"""What the load generator says is believed only when every count is right."""

import json
from pathlib import Path
from typing import Any

import pytest

from scripts.benchmark.loadgen import Load, MeasureError

CONNECT: dict[str, Any] = {
    "phase": "connect",
    "n": 20,
    "connected": 20,
    "failed": 0,
    "secs": 0.5,
    "cps": 40,
    "cpu_us_per_conn": 100.0,
    "pss0_kb": 1000,
    "pss1_kb": 1040,
    "kb_per_conn": 2.0,
    "kb_grown": 1.8,
    "closed": 0,
    "conc": 100,
    "other_pct": 3,
}
PHASE: dict[str, Any] = {
    "phase": "w1",
    "n": 20,
    "published": 10,
    "expected": 200,
    "received": 200,
    "lost": 0,
    "dup": 0,
    "stray": 0,
    "uneven_clients": 0,
    "dps": 4000,
    "eps": 200.0,
    "p50": 90,
    "p99": 210,
    "cpu_us": 5.5,
    "other_pct": 7,
    "closed": 0,
    "pub_err": 0,
}
LOAD = Load(port=1, path="/sse", clients=20, phases="w1", pids=(7,))


def said(*lines: dict[str, Any]) -> str:
    return "".join(json.dumps(line) + "\n" for line in lines)


def test_the_figures_of_a_run_are_read() -> None:
    run = LOAD.read(0, said(CONNECT, PHASE), "connected 20 in 0.5 s")
    assert run.connected.rate == 40
    assert run.phases[0].cpu_us == 5.5
    assert run.other_pct == 7


def test_without_phases_the_disturbance_is_that_of_connecting() -> None:
    run = Load(port=1, path="/sse", clients=20).read(0, said(CONNECT), "")
    assert run.other_pct == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"received": 199, "lost": 1},
        {"received": 201, "lost": -1},
        {"dup": 1},
        {"stray": 1},
        {"uneven_clients": 2},
        {"closed": 1},
        {"pub_err": 1},
        {"published": 0, "expected": 0, "received": 0},
        {"expected": 180, "received": 180},
        {"cpu_us": 0.0},
    ],
)
def test_a_wrong_count_is_an_error_and_no_figure(wrong: dict[str, Any]) -> None:
    with pytest.raises(MeasureError, match="w1"):
        LOAD.read(0, said(CONNECT, PHASE | wrong), "")


@pytest.mark.parametrize("wrong", [{"connected": 19}, {"failed": 1}, {"closed": 1}])
def test_a_client_without_a_stream_is_an_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(MeasureError, match="clients connected"):
        LOAD.read(0, said(CONNECT | wrong, PHASE), "")


def test_memory_that_was_not_measured_is_an_error() -> None:
    load = Load(port=1, path="/sse", clients=20, pids=(7,), grown=5)
    with pytest.raises(MeasureError, match="no memory"):
        load.read(0, said(CONNECT | {"kb_grown": 0.0}), "")


def test_a_probe_that_nobody_answered_is_an_error() -> None:
    load = Load(port=1, path="/sse", clients=20, phases="w1g", probe="/healthz")
    with pytest.raises(MeasureError, match="no probe"):
        load.read(0, said(CONNECT, PHASE | {"phase": "w1g", "probe_n": 0, "probe_p99": 0}), "")


def test_a_probe_that_failed_is_an_error() -> None:
    load = Load(port=1, path="/sse", clients=20, phases="w1g", probe="/healthz")
    line = PHASE | {"phase": "w1g", "probe_n": 9, "probe_p99": 5, "probe_err": 0}
    assert load.read(0, said(CONNECT, line), "").phases[0].probes == 9
    with pytest.raises(MeasureError, match="1 probes failed"):
        load.read(0, said(CONNECT, line | {"probe_err": 1}), "")


def test_a_missing_phase_is_an_error() -> None:
    with pytest.raises(MeasureError, match="phases are missing"):
        LOAD.read(0, said(CONNECT), "")


def test_a_failure_is_told_with_its_last_words() -> None:
    with pytest.raises(MeasureError, match="only 3 of 20 connected"):
        LOAD.read(1, "", "only 3 of 20 connected\n")


def test_the_command_has_what_was_asked_for_and_nothing_else() -> None:
    load = Load(port=8080, path="/s?c=c%d", clients=5, phases="w1", seconds=1.0, pids=(7, 8))
    assert " ".join(load.command(Path("sseload"))) == (
        "sseload -s -p w1 -u 127.0.0.1:8080/pub -P 7,8 -c 100 -k 20.0 127.0.0.1 8080 /s?c=c%d 5 1.0"
    )


def test_every_run_has_an_end() -> None:
    short = Load(port=1, path="/", clients=10, phases="w1", seconds=1.0, drain=1.0)
    long = Load(port=1, path="/", clients=10, phases="w1,w1@300", seconds=1.0, drain=1.0)
    assert short.most_seconds < 120
    assert long.most_seconds > short.most_seconds + 299

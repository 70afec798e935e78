"""The report of a run as one JSON document, and as a few lines of text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from scripts.load.histogram import Histogram
from scripts.load.machine import describe
from scripts.load.run import Result

SCHEMA = 1
BUSY = 0.9
"""Cores of this process above which its own work is in the latencies."""
SHOWN_FAULTS = 6
EXACT, NOT_EXACT, NOT_TESTED = "exact", "not exact", "not tested"
EXIT_CODES = {EXACT: 0, NOT_EXACT: 1, NOT_TESTED: 2}


def build(result: Result) -> dict[str, Any]:
    """All figures. Times in seconds, latencies in milliseconds, memory in bytes."""
    meter = result.meter
    why = untested(result)
    outcome = NOT_TESTED if why else EXACT
    if not result.verdict.exact:
        outcome = NOT_EXACT  # what was seen stands, however little it was
    return {
        "schema": SCHEMA,
        "tool": "tailrace loadtest",
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": result.options.command,
        "machine": describe(),
        "scenario": result.options.scenario,
        "parameters": result.options.parameters,
        "server": {
            "host": result.target.host,
            "own": result.options.url is None,
            "loopback": result.target.loopback,
        },
        "run": result.ledger.run,
        "ended_early": result.early,
        "outcome": outcome,
        "exact": outcome == EXACT,
        "exit_code": EXIT_CODES[outcome],
        "untested": why,
        "verdict": _verdict(result),
        "warnings": warnings(result),
        "totals": _totals(result),
        "latency_ms": {
            "delivery": meter.live.whole.summary(),
            "after_reconnect": meter.recovered.whole.summary(),
            "slow_readers": meter.slow.whole.summary(),
            "publish": meter.publish.whole.summary(),
            "publish_lateness": meter.late.summary(),
            "connect_to_ready": meter.opening.summary(),
            "back_to_ready": meter.returning.summary(),
        },
        "phases": {
            name: histogram.summary() for name, histogram in meter.phases.items() if histogram.total
        },
        "curves": {
            "delivery": _curve(meter.live.whole),
            "after_reconnect": _curve(meter.recovered.whole),
            "slow_readers": _curve(meter.slow.whole),
            "publish": _curve(meter.publish.whole),
            "connect_to_ready": _curve(meter.opening),
            "back_to_ready": _curve(meter.returning),
        },
        "storms": [asdict(storm) for storm in result.happened.storms],
        "stall": {"clients": result.happened.stalled, "seconds": result.happened.stall},
        "series": [_row(row) for row in meter.rows],
    }


def untested(result: Result) -> list[str]:
    """Why nothing broken means nothing: the test did not take place, or not to its end."""
    found: list[str] = []
    options, judged = result.options, result.verdict.clients
    clients = options.clients + options.readers
    if not result.ledger.acknowledged:
        found.append("no event was published and acknowledged")
    if judged != clients:
        found.append(f"{judged:,} of {clients:,} clients were told where their stream starts")
    open_ = result.publisher.uncertain + result.publisher.unsent
    if open_ and result.connected * 2 < options.clients:
        found.append(
            f"at the end {result.connected:,} of {options.clients:,} clients were connected, and"
            f" {open_:,} events were not sent or have an unknown outcome"
        )
    return found


def _verdict(result: Result) -> dict[str, Any]:
    verdict = result.verdict
    return {
        "clients_judged": verdict.clients,
        "clients_harmed": verdict.harmed,
        "expected_deliveries": verdict.expected,
        "violations": dict(verdict.counts),
        "examples": {
            kind: [f"client {it.client}: {it.what}" for it in found]
            for kind, found in verdict.examples.items()
        },
        "gaps_told": verdict.gaps,
        "events_in_told_gaps": verdict.told,
        "settled": result.settled,
        "settle_seconds": round(result.settle_seconds, 3),
    }


def _totals(result: Result) -> dict[str, Any]:
    meter, publisher = result.meter, result.publisher
    return {
        "clients": result.options.clients,
        "connected_at_end": result.connected,
        "published": result.ledger.published,
        "acknowledged": result.ledger.acknowledged,
        "uncertain": publisher.uncertain,
        "unsent": publisher.unsent,
        "publisher_kept_up": publisher.kept_up,
        "deliveries": meter.deliveries,
        "deliveries_per_second_max": round(max(_rates(result), default=0)),
        "cuts": meter.cuts,
        "gaps": dict(meter.gaps),
        "byes": dict(meter.byes),
        "refused": meter.refused,
        "readers": {
            "deliveries": sum(reader.deliveries for reader in result.readers),
            "cuts": sum(reader.cuts for reader in result.readers),
        },
        "faults": dict(meter.faults),
        "epochs": len(result.ledger.epochs),
    }


def _rates(result: Result) -> Iterable[float]:
    return (row.deliveries / row.seconds for row in result.meter.rows if row.seconds > 0.2)


def _curve(histogram: Histogram) -> list[list[float]]:
    return [[round(q, 8), value / 1000] for q, value in histogram.curve()]


def _row(row: Any) -> dict[str, Any]:
    """One second. Rates are per second, whatever the interval was."""
    return {
        "at": round(row.at, 3),
        "seconds": round(row.seconds, 3),
        "phase": row.phase,
        "open": row.open,
        "open_fewest": row.fewest,
        "events_per_second": round(row.published / row.seconds, 2),
        "deliveries_per_second": round(row.deliveries / row.seconds, 1),
        "p50_ms": _ms(row.p50),
        "p99_ms": _ms(row.p99),
        "max_ms": _ms(row.max),
        "publish_p99_ms": row.publish_p99 / 1000,
        "loop_lag_ms": row.lag / 1000,
        "faults": row.faults,
        "own_cores": round(row.own_cpu, 3),
        "server_cores": None if row.cpu is None else round(row.cpu, 3),
        "server_rss": row.rss,
        "postgres_cores": None if row.postgres_cpu is None else round(row.postgres_cpu, 3),
    }


def _ms(micros: int | None) -> float | None:
    return None if micros is None else micros / 1000


def warnings(result: Result) -> list[str]:
    """What makes the figures say less than they seem to."""
    found: list[str] = []
    meter, publisher = result.meter, result.publisher
    running = [row for row in meter.rows if row.phase not in ("opening", "settling")]
    busy = [row for row in running if row.seconds > 0.2 and row.own_cpu > BUSY]
    if len(busy) * 3 > len(running):
        found.append(
            "The load test itself used a whole core for a third of the time or more: latencies are"
            " partly its own. Ask for less, or give it a machine of its own."
        )
    if not publisher.kept_up:
        late = meter.late.quantile(0.99) / 1000
        found.append(
            f"The publisher could not keep up: the latest hundredth of its requests left"
            f" {late:,.0f} ms late or more, and {publisher.unsent:,} events were not sent at all."
            " Latencies count from when they were due."
        )
    if publisher.uncertain:
        found.append(f"The outcome of {publisher.uncertain:,} published events is not known.")
    if result.early:
        found.append("The run was ended early: what was still under way is not counted as missing.")
    if len(result.ledger.epochs) > 1:
        found.append("The log changed its epoch during the run: restored, or failed over.")
    return found


def text(report: dict[str, Any]) -> str:
    """The end of a run, for a terminal."""
    totals, verdict = report["totals"], report["verdict"]
    delivered = totals["deliveries"] + totals["readers"]["deliveries"]
    lines = ["", f"{_headline(report)}", ""]
    lines.append(
        f"  {totals['acknowledged']:,} events to {verdict['clients_judged']:,} clients:"
        f" {delivered:,} deliveries of {verdict['expected_deliveries']:,} expected,"
        f" at most {totals['deliveries_per_second_max']:,}/s"
    )
    names = {"delivery": "delivery", "after_reconnect": "  after a reconnect",
             "slow_readers": "  slow readers", "publish": "publish → 200",
             "connect_to_ready": "connect → ready", "back_to_ready": "cut → ready"}  # fmt: skip
    head = ("p50", "p90", "p99", "p99.9", "max")
    lines += ["", f"  {'latency, ms':20}" + "".join(f"{name:>10}" for name in head)]
    for name, shown in names.items():
        values = report["latency_ms"][name]
        if values["count"]:
            lines.append(f"  {shown:20}" + "".join(f"{values[q]:>10.1f}" for q in head))
    if totals["cuts"] or verdict["gaps_told"]:
        lines += ["", f"  {totals['cuts']:,} connections cut, {verdict['gaps_told']} gaps told"]
    faults = sorted(totals["faults"].items(), key=lambda it: -it[1])[:SHOWN_FAULTS]
    lines += [f"  {what}: {count:,}" for what, count in faults]
    lines += [f"  bye {reason}: {count:,}" for reason, count in totals["byes"].items()]
    for kind, examples in verdict["examples"].items():
        lines.append(f"  {kind} ({verdict['violations'][kind]:,}): {examples[0]}")
    lines += [f"  Note: {warning}" for warning in report["warnings"]]
    return "\n".join(lines)


def _headline(report: dict[str, Any]) -> str:
    if report["exact"]:
        return "EXACT: nothing lost, doubled or out of order, every gap told."
    if report["outcome"] == NOT_TESTED:
        return f"NOT TESTED: {'; '.join(report['untested'])}."
    told = ", ".join(f"{n:,} {kind}" for kind, n in report["verdict"]["violations"].items())
    return f"NOT EXACT: {told}, at {report['verdict']['clients_harmed']:,} clients."

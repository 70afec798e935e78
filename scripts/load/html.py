"""The report as one self-contained page: verdict, percentiles, what happened over time, tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from scripts.load import plots
from scripts.load.plots import Axis, Band, Line, chart, linear, logarithmic, nines, place
from scripts.load.style import STYLE

Report = dict[str, Any]
LATENCIES = {
    "delivery": "Delivery",
    "after_reconnect": "Delivery after a reconnect",
    "slow_readers": "Delivery to slow readers",
    "publish": "Publish to 200",
    "publish_lateness": "Publisher's own lateness",
    "connect_to_ready": "Connect to ready",
    "back_to_ready": "Cut to ready",
}
DELIVERIES = ("delivery", "after_reconnect", "slow_readers")
OTHERS = ("publish", "connect_to_ready", "back_to_ready")
QUANTILES = ("p50", "p90", "p99", "p99.9", "p99.99", "max")
MB = 1e6


def page(report: Report) -> str:
    """The whole document. Nothing in it is loaded from anywhere."""
    title = f"{report['scenario']}: {report['outcome']}"
    body = "".join(
        (
            _verdict(report), _cards(report), _notes(report),
            f"<section><h2>Latency</h2>{_latency(report)}</section>",
            f"<section><h2>Over time</h2>{_over_time(report)}</section>",
            _details(report),
        )
    )  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style></head><body><main>{body}</main></body></html>\n"
    )


def _verdict(report: Report) -> str:
    verdict = report["verdict"]
    if report["exact"]:
        word, tone = "Exact", "good"
        text = (
            f"{verdict['clients_judged']:,} clients had all of the"
            f" {verdict['expected_deliveries'] - verdict['events_in_told_gaps']:,} deliveries that"
            " were theirs: none lost, none doubled, none out of order, every gap told."
        )
    elif report["untested"] and not verdict["violations"]:
        word, tone = "Not tested", "bad"
        text = f"{'; '.join(report['untested'])}."
    else:
        word, tone = "Not exact", "bad"
        told = ", ".join(f"{count:,} {kind}" for kind, count in verdict["violations"].items())
        text = f"{told}, at {verdict['clients_harmed']:,} of {verdict['clients_judged']:,} clients."
    return (
        f'<header class="{tone}"><p class="what">Tailrace load test · {escape(report["scenario"])}'
        f'</p><h1>{word}</h1><p class="lead">{escape(text)}</p>'
        f'<p class="command"><code>{escape(report["command"])}</code></p></header>'
    )


def _cards(report: Report) -> str:
    totals, delivery = report["totals"], report["latency_ms"]["delivery"]
    cards = [
        ("Clients", f"{report['verdict']['clients_judged']:,}", "streams at once"),
        ("Events", f"{totals['acknowledged']:,}", "published and committed"),
        ("Deliveries", _short(totals["deliveries"]),
         f"at most {_short(totals['deliveries_per_second_max'])}/s"),
        ("p50", f"{_ms(delivery['p50'])} ms", "due to received"),
        ("p99", f"{_ms(delivery['p99'])} ms", f"max {_ms(delivery['max'])} ms"),
        ("Gaps told", f"{report['verdict']['gaps_told']:,}", f"{totals['cuts']:,} connections cut"),
    ]  # fmt: skip
    return '<div class="cards">' + "".join(
        f"<div><span>{name}</span><b>{value}</b><small>{escape(note)}</small></div>"
        for name, value, note in cards
    ) + "</div>"  # fmt: skip


def _notes(report: Report) -> str:
    notes = [f"<li>{escape(it)}</li>" for it in report["warnings"]]
    for kind, examples in report["verdict"]["examples"].items():
        count = report["verdict"]["violations"][kind]
        shown = "".join(f"<br><code>{escape(it)}</code>" for it in examples)
        notes.append(f"<li><b>{escape(kind)}, {count:,}</b>{shown}</li>")
    return f'<ul class="notes">{"".join(notes)}</ul>' if notes else ""


def _latency(report: Report) -> str:
    figures = [
        _percentiles(report, "Deliveries by percentile", DELIVERIES),
        _percentiles(report, "Publishing and connecting by percentile", OTHERS),
    ]
    return f'<div class="plots">{"".join(figures)}</div>{_latency_table(report)}'


def _percentiles(report: Report, title: str, names: Sequence[str]) -> str:
    curves = {name: report["curves"][name] for name in names}
    lines = [
        Line(LATENCIES[name], [(place(q), ms) for q, ms in points], tone)
        for tone, (name, points) in enumerate(curves.items(), 1)
    ]
    values = [ms for points in curves.values() for _, ms in points]
    most = max((place(points[-2][0]) for points in curves.values() if len(points) > 1), default=1)
    axes = nines(most), logarithmic(values)
    return chart(title, lines, axes, ("percentile", "milliseconds, log")) if values else ""


def _latency_table(report: Report) -> str:
    rows = [
        (name, report["latency_ms"][key])
        for key, name in LATENCIES.items()
        if report["latency_ms"][key]["count"]
    ]
    if len(report["phases"]) > 1:
        rows += [(f"Delivery, phase “{name}”", it) for name, it in report["phases"].items()]
    head = "".join(f"<th>{name}</th>" for name in ("ms", *QUANTILES, "count"))
    body = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f"<td>{_ms(it[q])}</td>" for q in QUANTILES)
        + f"<td>{it['count']:,}</td></tr>"
        for name, it in rows
    )
    return (
        f'<div class="scroll below"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table>"
        "</div><p class=small>Delivery: from the moment an event was due to be sent, to the moment"
        " a client had it. A value is at most 0.4 % above the true one.</p>"
    )


def _over_time(report: Report) -> str:
    series = report["series"]
    if not series:
        return "<p>Shorter than a second.</p>"
    last = series[-1]["at"]
    bands, x = _bands(report), Axis(0.0, last, linear(last).ticks)
    whole = [row for row in series if row["seconds"] > 0.2]

    def line(name: str, field: str, tone: int, scale: float = 1.0) -> Line:
        points = [(row["at"], row[field] / scale) for row in whole if row[field] is not None]
        return Line(name, points, tone)

    def over(title: str, unit: str, *lines: Line) -> str:
        top = max((value for it in lines for _, value in it.points), default=0)
        if not any(it.points for it in lines):
            return ""
        y = linear(max(top, 1e-3))
        return chart(title, lines, (x, y), ("seconds", unit), bands)

    figures = (
        over("Deliveries", "per second", line("deliveries", "deliveries_per_second", 1)),
        over("Delivery latency", "milliseconds",
             line("p50", "p50_ms", 1), line("p99", "p99_ms", 2)),
        over("Open streams", "clients", line("at their fewest", "open_fewest", 1)),
        over("Events published", "per second", line("events", "events_per_second", 3)),
        over("Publish to 200, and this test's own delay", "milliseconds",
             line("publish p99", "publish_p99_ms", 3), line("loop delay, max", "loop_lag_ms", 4)),
        over("Memory of the server", "MB resident", line("server", "server_rss", 1, MB)),
        over("CPU", "cores", line("server", "server_cores", 1),
             line("Postgres", "postgres_cores", 3), line("this load test", "own_cores", 4)),
    )  # fmt: skip
    return f'<div class="plots">{"".join(figures)}</div>'


def _bands(report: Report) -> list[Band]:
    """Storms and the stall. A storm without a known end is shown as an instant."""
    found = [
        Band(storm["at"], storm["at"] + (storm["back"] or 0), "storm, until all are back")
        for storm in report["storms"]
    ]
    if report["stall"]["seconds"]:
        start, end = report["stall"]["seconds"]
        found.append(Band(start, end, "slow readers do not read", tone=2))
    return found


def _details(report: Report) -> str:
    machine, totals = report["machine"], report["totals"]
    pairs: dict[str, Any] = {
        "At": report["at"],
        "Server": f"{report['server']['host']}{', of its own' if report['server']['own'] else ''}",
        "Load test on": f"{machine['cpus']} CPUs, {machine['system']}, Python {machine['python']}",
        **{name.replace("_", " ").capitalize(): it for name, it in report["parameters"].items()},
        "Publisher kept up": "yes" if totals["publisher_kept_up"] else "no",
        "Connections cut": f"{totals['cuts']:,}",
        "Settled": f"after {report['verdict']['settle_seconds']} s"
        if report["verdict"]["settled"] else "no",
    }  # fmt: skip
    pairs |= {f"Fault: {name}": f"{count:,}" for name, count in totals["faults"].items()}
    pairs |= {f"Bye: {name}": f"{count:,}" for name, count in totals["byes"].items()}
    pairs |= {f"Gap: {name}": f"{count:,}" for name, count in totals["gaps"].items()}
    rows = "".join(
        f"<tr><th>{escape(k)}</th><td>{escape(str(v))}</td></tr>" for k, v in pairs.items()
    )
    storms = "".join(
        f"<tr><th>{it['at']:.1f} s</th><td>{it['cut']:,}</td>"
        f"<td>{'not in time' if it['back'] is None else plots.number(round(it['back'], 2))}"
        "</td></tr>"
        for it in report["storms"]
    )
    table = (
        "<section><h2>Storms</h2><div class=scroll><table><thead><tr><th>at</th><th>cut</th>"
        f"<th>all back, s</th></tr></thead><tbody>{storms}</tbody></table></div></section>"
        if storms else ""
    )  # fmt: skip
    return (
        f"{table}<section><h2>The run</h2><div class=scroll><table class=run><tbody>{rows}</tbody>"
        "</table></div></section>"
    )


def _ms(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    return f"{value / 1e3:.1f} k" if value >= 1e4 else f"{value:,.0f}"

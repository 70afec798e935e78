from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from scripts.load.__main__ import main
from scripts.load.options import SCENARIOS, UsageError, parse, resolve
from scripts.load.publisher import timetable


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_has_sensible_defaults(scenario: str) -> None:
    options = parse([scenario], {})
    assert (options.clients, options.url, options.gaps) == (1_000, None, True)
    assert set(SCENARIOS[scenario][1]) <= set(options.parameters)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["fanout", "--clients", "50001"], "--clients is from 1 to 50000"),
        (["fanout", "--clients", "0"], "--clients"),
        (["fanout", "--seconds", "3601"], "--seconds is from 1 to 3600"),
        (["fanout", "--seconds", "nan"], "--seconds"),
        (["fanout", "--rate", "inf"], "--rate"),
        (["fanout", "--rate", "-1"], "--rate"),
        (["fanout", "--batch", "1001"], "--batch"),
        (["fanout", "--clients", "5", "--channels", "6"], "--channels is from 1 to 5"),
        (["fanout", "--share", "0.5"], "--share is not for fanout"),
        (["churn", "--share", "1.5"], "--share is from 0 to 1"),
        (["slow-readers", "--seconds", "10", "--stall", "10"], "--stall"),
        (["fanout", "--clients", "50000", "--seconds", "3600", "--rate", "20000"], "fewer clients"),
        (["fanout", "--clients", "50000", "--connect-rate", "80"], "--connect-rate"),
        (
            [
                "mixed",
                "--clients",
                "50000",
                "--channels",
                "1000",
                "--seconds",
                "3600",
                "--rate",
                "500",
            ],
            "fewer clients",
        ),
        (["fanout", "--client", "5"], "unrecognized"),
        (["nothing"], "invalid choice"),
        ([], "required"),
        (["fanout", "--url", "http://127.0.0.1:1"], "needs an API key"),
    ],
)
def test_what_is_out_of_bounds_is_refused_with_a_sentence(arguments: list[str], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        parse(arguments, {})


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8080", "http://localhost:8080/", "http://127.9.9.9", "http://[::1]:1"]
)
def test_loopback_needs_no_leave(url: str) -> None:
    assert resolve(parse(["fanout"], {}), url).loopback


def test_names_of_hosts_have_no_case() -> None:
    options = parse(["fanout", "--allow-host", "LocalHost", "--allow-host", "FD00::A"], {})
    assert resolve(options, "http://[fd00::a]:8080").host == "[fd00::a]:8080"


def test_another_machine_must_be_named_exactly() -> None:
    url = "http://192.0.2.7:8080"
    for allowed in ([], ["--allow-host", "192.0.2.70"], ["--allow-host", "192.0.2"]):
        with pytest.raises(UsageError, match=re.escape("--allow-host 192.0.2.7")):
            resolve(parse(["fanout", *allowed], {}), url)
    target = resolve(parse(["fanout", "--allow-host", "192.0.2.7"], {}), url + "/live/")
    assert (target.host, target.prefix, target.loopback) == ("192.0.2.7:8080", "/live", False)


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8080",
        "ftp://127.0.0.1",
        "http://",
        "http://127.0.0.1:99999",
        "http://u:p@127.0.0.1/",
    ],
)
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(UsageError):
        resolve(parse(["fanout"], {}), url)


def test_the_key_is_in_no_report() -> None:
    secret = "a-secret-key"
    for given in (["--key", secret], [f"--key={secret}"]):
        options = parse(["fanout", *given], {})
        assert options.key == secret
        assert secret not in options.command
        assert secret not in str(options.parameters)
    assert parse(["fanout"], {"TAILRACE_API_KEY": secret}).key == secret


def test_usage_and_no_server_are_code_two(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fanout", "--clients", "0"]) == 2
    assert main(["fanout", "--url", "http://192.0.2.7", "--key", "k"]) == 2
    assert main(["fanout", "--json", str(tmp_path / "no" / "x.json")]) == 2
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 3
    assert all(line.startswith("scripts/loadtest: ") for line in told)


def test_the_timetable_is_steady_and_in_order() -> None:
    dues = list(timetable(parse(["fanout", "--rate", "50", "--batch", "5", "--seconds", "2"], {})))
    assert sum(due.events for due in dues) == 100
    assert [due.at for due in dues] == [pytest.approx(n * 0.1) for n in range(20)]


def test_a_burst_is_all_due_at_once() -> None:
    dues = list(timetable(parse(["burst", "--burst", "250", "--seconds", "8"], {})))
    assert all(one.at <= other.at for one, other in pairwise(dues))
    at_two = [due for due in dues if due.at == 2.0 and due.events > 1]
    assert sum(due.events for due in at_two) == 250
    assert sum(due.events for due in dues) == 8 + 2 * 250

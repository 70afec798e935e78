from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from server.errors import StartError
from server.settings import Rate, Settings, load

DOCS = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
SECRET = "x" * 32


def test_nothing_needs_to_be_set() -> None:
    settings = load()
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.database_url is None
    assert settings.data == Path(".tailrace")


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    monkeypatch.setenv("CORS_ORIGINS", "https://a.example, http://localhost:3000")
    settings = load()
    assert settings.port == 9000
    assert settings.cors_origins == ("https://a.example", "http://localhost:3000")


def test_an_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "9000")
    assert load(port=9001, host=None).port == 9001


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "")
    assert load().database_url is None


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load().port = 1


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PORT", "http", "PORT: .*integer"),
        ("PORT", "65536", "PORT: .*65535"),
        ("DATABASE_URL", "mysql://db", "DATABASE_URL: must start with postgresql://"),
        ("DATABASE_URL", "postgresql://db", "TAILRACE_SECRET is not: set it"),
        ("DATABASE_DIRECT_URL", "postgresql://db", "DATABASE_URL is not: set both"),
        ("TAILRACE_SECRET", "hunter2", "TAILRACE_SECRET: .*32 characters"),
        ("TAILRACE_API_KEY", "hunter2", "TAILRACE_API_KEY: .*32 characters"),
        ("TAILRACE_LIMITS", "no", "TAILRACE_LIMITS: .*'on' or 'off'"),
        ("TAILRACE_HEARTBEAT", "0", "TAILRACE_HEARTBEAT: .*greater than"),
        ("TAILRACE_PASSWORD", "x", "unknown setting TAILRACE_PASSWORD: see docs/settings.md"),
        ("CORS_ORIGINS", "example.com", "'example.com' is not an origin such as"),
        ("CORS_ORIGINS", "https://example.com/", "is not an origin such as"),
    ],
)
def test_a_wrong_value_stops_the_start_with_what_to_set(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StartError, match=says):
        load()


def test_a_secret_is_never_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_SECRET", "hunter2")
    monkeypatch.setenv("DATABASE_URL", "mysql://u:hunter2@db")
    with pytest.raises(StartError) as caught:
        load()
    assert "hunter2" not in str(caught.value)


def test_the_documentation_names_every_setting_with_its_default() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", DOCS.read_text(), re.MULTILINE))
    assert set(rows) == {field.alias for field in Settings.model_fields.values()}
    for field in Settings.model_fields.values():
        default = field.default
        if default not in {None, ()}:
            shown = f"{default:g}" if isinstance(default, float) else str(default)
            assert rows[field.alias or ""] in {f"`{shown}`", "made and kept in `TAILRACE_DATA`"}


def test_a_rate_is_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAILRACE_RATE_FORMS", "1000000/10s")
    assert load().rate_forms == Rate(1_000_000, 10)
    for wrong in ("10", "10/10", "0/10s", "10/0s", "x/10s", "[10,10]", "-1/10s"):
        monkeypatch.setenv("TAILRACE_RATE_FORMS", wrong)
        with pytest.raises(StartError, match="TAILRACE_RATE_FORMS: a rate is requests/seconds"):
            load()


def test_every_setting_can_be_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a library would parse as JSON is a text here."""
    given = {
        "TRUSTED_PROXIES": "10.0.0.0/8, ::1", "CORS_ORIGINS": "https://A.example",
        "REDIS_URL": "redis://localhost", "SMTP_URL": "smtp://mail:587", "CONTACT_TO": "a@b.c",
        "CONTACT_FROM": "a@b.c", "TAILRACE_RATE_AUTH": "1/2s", "TAILRACE_RATE_WRITES": "3/4s",
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = load()
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert settings.cors_origins == ("https://a.example",)
    assert (settings.rate_auth, settings.rate_writes) == ((1, 2), (3, 4))

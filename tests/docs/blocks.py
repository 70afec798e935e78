"""The code blocks of a page of docs/, by language, with the addresses of a server that runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

DOCS = Path(__file__).resolve().parents[2] / "docs"
BASE = "http://127.0.0.1:8080"

_FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SCRIPT = re.compile(r'<script type="module">\n(.*?)</script>', re.DOTALL)
_PLACEHOLDER = re.compile(r"\$\d|%s|\?")
_STATEMENT = re.compile(r"""["']((?:SELECT|INSERT) [^"'\n]*)["']""")


class Code(NamedTuple):
    """One block; `section`: the heading of the second level that it stands under."""

    section: str
    language: str
    text: str


def blocks(page: str, language: str, section: str | None = None) -> list[str]:
    """The texts of a page's blocks."""
    found = _read((DOCS / page).read_text())
    return [
        code.text for code in found if code.language == language and section in (None, code.section)
    ]


def _read(text: str) -> list[Code]:
    found: list[Code] = []
    for part in re.split(r"^## ", text, flags=re.MULTILINE):
        section = part.partition("\n")[0]
        found += [Code(section, *code) for code in _FENCED.findall(part)]
    return found


def scripts_of(html: str) -> list[str]:
    """The modules in a page of HTML."""
    return _SCRIPT.findall(html)


def statements(code: str) -> list[str]:
    """The SQL in a program, with the placeholders of asyncpg."""
    return [_numbered(sql) for sql in _STATEMENT.findall(code)]


def _numbered(sql: str) -> str:
    numbers = iter(range(1, 100))
    return _PLACEHOLDER.sub(lambda _: f"${next(numbers)}", sql)

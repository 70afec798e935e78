"""Programs on the pages that can't run here, for want of their drivers, can at least be read."""

from __future__ import annotations

import ast
import shutil
import subprocess
from typing import Any

import pytest

from tests.conftest import absent
from tests.docs.blocks import blocks, scripts_of


@pytest.mark.parametrize("page", ["publishing.md", "clients.md"])
def test_the_python_can_be_parsed(page: str) -> None:
    programs = blocks(page, "python")
    assert len(programs) > 1
    for code in programs:
        ast.parse(code)


def javascript() -> list[Any]:
    """The programs of the pages, modules all, and what can't be parsed any more in one of them."""
    programs = {page: blocks(page, "js") for page in ("publishing.md", "clients.md")}
    scripts = ["".join(scripts_of(code)) for code in blocks("clients.md", "html")]
    assert [len(found) for found in (*programs.values(), scripts)] == [1, 3, 1]
    found = [*programs["publishing.md"], *programs["clients.md"], *scripts]
    return [(code, True) for code in found] + [(found[0].replace("await", "await (", 1), False)]


@pytest.mark.parametrize(("code", "right"), javascript())
def test_the_javascript_can_be_parsed(code: str, right: bool) -> None:
    node = shutil.which("node") or absent("Node.js")
    ran = subprocess.run(
        [node, "--input-type=module", "--check"],
        input=code.encode(),
        capture_output=True,
        check=False,
    )
    assert (ran.returncode == 0) == right, ran.stderr

"""Programs on the pages that can't run here, for want of their drivers, can at least be read."""

from __future__ import annotations

import ast
import shutil
import subprocess

import pytest

from tests.conftest import absent
from tests.docs.blocks import blocks


@pytest.mark.parametrize("page", ["publishing.md", "clients.md"])
def test_the_python_can_be_parsed(page: str) -> None:
    programs = blocks(page, "python")
    assert len(programs) > 1
    for code in programs:
        ast.parse(code)


def test_the_javascript_can_be_parsed() -> None:
    node = shutil.which("node") or absent("Node.js")
    (code,) = blocks("publishing.md", "js")
    for text, right in ((code, True), (code.replace("await", "await await (", 1), False)):
        ran = subprocess.run(
            [node, "--input-type=module", "--check"],
            input=text.encode(),
            capture_output=True,
            check=False,
        )
        assert (ran.returncode == 0) == right, ran.stderr

"""The browser client without a browser: its parser in Node.js, its types in TypeScript."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clients.program import Program

pytestmark = [pytest.mark.node, pytest.mark.asyncio(loop_scope="session")]

NODE = Path(__file__).parents[1] / "node"


@pytest.mark.parametrize(
    ("name", "passed"),
    [
        pytest.param("parser", 75, id="the parser reads every case however it is cut"),
        pytest.param("client", 16, id="no answer makes it storm, stop or lose what came"),
        pytest.param("shared", 4, id="no lost message and no check ends who shares for nothing"),
    ],
)
async def test_in_node(node: str, name: str, passed: int) -> None:
    async with Program(node, "--test", str(NODE / f"{name}.test.mjs")) as program:
        failed = await program.ended()
    assert not failed, "\n".join(line for line in program.lines if "not ok" in line)
    assert f"# pass {passed}" in program.lines


async def test_typescript_takes_an_example_and_refuses_mistakes(node: str) -> None:
    compiler = NODE / "node_modules" / "typescript" / "bin" / "tsc"
    options = "--noEmit --strict --target es2022 --module esnext --moduleResolution bundler"
    example = str(NODE / "client-types.ts")
    async with Program(node, str(compiler), *options.split(), example) as program:
        assert await program.ended() == 0, program.lines

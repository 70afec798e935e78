"""Browser code of tests/node, put together by esbuild."""

from __future__ import annotations

import asyncio
from pathlib import Path

NODE = Path(__file__).parents[1] / "node"


async def bundle(name: str) -> str:
    """The script that `tests/node/<name>` and all it imports become."""
    process = await asyncio.create_subprocess_exec(
        NODE / "node_modules" / ".bin" / "esbuild", name, "--bundle", "--jsx=automatic",
        '--define:process.env.NODE_ENV="production"', "--log-level=error",
        cwd=NODE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    script, complaint = await process.communicate()
    assert process.returncode == 0, complaint.decode()
    return script.decode()

"""Plays a small shop on a server of its own and takes pictures of the dashboard's pages."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Literal

import asyncpg
from playwright.async_api import Browser, Page, async_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "docs" / "images"
SECONDS = 118
"""Of life before the picture: what the plot shows."""
CLIENTS = 40
"""Streams beside the pages, so that the number of clients is one."""

PICTURES: dict[str, tuple[str, Literal["light", "dark"]]] = {
    "overview": ("/", "light"),
    "overview-dark": ("/", "dark"),
    "events": ("/events", "light"),
    "streams": ("/streams", "dark"),
}
"""By the file's name: the page, and how it is looked at."""

_SHOP = """
    CREATE TABLE orders (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                         item text, amount int, status text DEFAULT 'new');
    SELECT tailrace.watch('orders', channel => 'public.orders');"""
ITEMS = ("desk lamp", "tea, 500 g", "bicycle bell", "notebook", "wool blanket", "coffee mill")


class Server:
    """The server as `scripts/serve` starts it; `--demo` is the default."""

    def __init__(self, data: Path) -> None:
        environment = {"PATH": "/usr/bin:/bin", "TAILRACE_DATA": str(data), "PORT": "0"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "server", "serve", "--demo"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.link = ""
        for line in self._process.stdout:  # ends with the process, or with the last printed line
            if found := re.search(r"http://\S+/demo\?token=\S+", line):
                self.link = found[0]
            if "api/notifications/stream" in line:
                break
        if not self.link:
            sys.exit("the server has not printed the link that signs in")
        self.base = self.link.partition("/demo?")[0]
        self.database = (data / "url").read_text().strip()

    def end(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(10)


async def play(database: str) -> None:
    """Orders come, slowly and then in rushes, and move on."""
    sql = await asyncpg.connect(database)
    await sql.execute(_SHOP)
    dice = random.Random(7)
    while True:
        rush = dice.random() < 0.2
        for _ in range(dice.randrange(6, 16) if rush else 1):
            order = await sql.fetchval(
                "INSERT INTO orders (item, amount) VALUES ($1, $2) RETURNING id",
                dice.choice(ITEMS),
                dice.randrange(4, 90),
            )
            if dice.random() < 0.5:
                await sql.execute("UPDATE orders SET status = 'paid' WHERE id = $1", order)
        if dice.random() < 0.3:
            await sql.execute(
                "SELECT tailrace.publish('public.hello', 'greeting', '{\"from\": \"psql\"}')"
            )
        await asyncio.sleep(dice.uniform(0.1, 1.2))


async def listen(base: str) -> None:
    """One client more."""
    host, port = base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(
            f"GET /api/stream?channel=public.orders HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
        )
        while await reader.read(65536):
            pass
    finally:
        writer.close()


async def visit(
    browser: Browser, server: Server, path: str, scheme: Literal["light", "dark"]
) -> Page:
    """A page, signed in."""
    context = await browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = await context.new_page()
    await page.goto(server.link)
    await page.goto(f"{server.base}/#{path}")
    await page.locator(".pill.live").wait_for()
    return page


async def take(server: Server, chromium: str) -> None:
    """Let it live for a while, then take the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    lives = [asyncio.create_task(listen(server.base)) for _ in range(CLIENTS)]
    lives.append(asyncio.create_task(play(server.database)))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
        )
        pages = {name: await visit(browser, server, *look) for name, look in PICTURES.items()}
        await asyncio.wait(lives, timeout=SECONDS, return_when=asyncio.FIRST_EXCEPTION)
        for name, page in pages.items():
            if name == "events":
                await page.locator("ol.rows .line").nth(2).click()
                await page.locator(".detail").wait_for()
            await page.screenshot(path=IMAGES / f"{name}.png")
            print(f"docs/images/{name}.png")
        await browser.close()
    for task in lives:
        task.cancel()
    ended = await asyncio.gather(*lives, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    chromium = chromium or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("needs a Chromium: apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="tailrace-", dir="/tmp") as directory:
        Path(directory).chmod(0o711)
        server = Server(Path(directory) / "data")
        try:
            asyncio.run(take(server, chromium))
        finally:
            server.end()


if __name__ == "__main__":
    main()

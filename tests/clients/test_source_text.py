"""The source text's own client code, unchanged, in Chromium; its front end's calls beside it."""

from __future__ import annotations

import pytest
from playwright.async_api import Page, expect

from tests.clients.bundle import bundle
from tests.clients.conftest import Serve

pytestmark = [
    pytest.mark.browser,
    pytest.mark.node,
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.usefixtures("node"),
]

_CALL = """async ([method, path, body]) => {
  const answer = await fetch(path, {
    method, headers: body ? { "Content-Type": "application/json" } : {},
    body: body ? JSON.stringify(body) : undefined });
  return [answer.status, await answer.json()];
}"""

# A picture that the browser makes, sent as the text's route takes it, then shown.
_UPLOAD = """async ([type, field]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 30, height: 20 });
  canvas.getContext("2d").fillRect(5, 5, 9, 9);
  const picture = await new Promise((done) => canvas.toBlob(done, type));
  const form = new FormData();
  form.append(field, picture, "Käse.png");
  const answer = await fetch("/api/upload", { method: "POST", body: form });
  return [answer.status, await answer.json()];
}"""
_SHOW = """async (url) => {
  const image = document.body.appendChild(new Image());
  image.src = url;
  await image.decode();
  return [image.naturalWidth, image.naturalHeight];
}"""


async def call(page: Page, method: str, path: str, body: object = None) -> tuple[int, dict]:  # type: ignore[type-arg]
    status, answer = await page.evaluate(_CALL, [method, path, body])
    return status, answer


async def sign_up(page: Page, email: str) -> str:
    body = {"name": "Ada", "email": email, "password": "correct horse"}
    status, answer = await call(page, "POST", "/api/auth/sign-up/email", body)
    assert status == 200, answer
    return str(answer["user"]["id"])


async def test_the_texts_component_shows_what_is_unread_as_it_changes(
    serve: Serve, page: Page
) -> None:
    served = await serve()
    await page.goto(f"{served.proxy.url}/healthz")
    user = await sign_up(page, "ada@example.com")
    await page.evaluate("document.body.replaceChildren()")
    await page.evaluate(await bundle("text-page.tsx"))
    await expect(page.get_by_text("Unread: 0")).to_be_visible()
    insert = "INSERT INTO notifications (user_id, title) VALUES ($1, 'Hello')"
    await served.sql.execute(insert, user)
    await expect(page.get_by_text("Unread: 1")).to_be_visible()
    await served.sql.execute(insert, user)
    await expect(page.get_by_text("Unread: 2")).to_be_visible()
    await call(page, "POST", "/api/notifications/read-all")
    await expect(page.get_by_text("Unread: 0")).to_be_visible()
    await page.goto("about:blank")


async def test_the_texts_routes_answer_a_browser_as_the_text_says(serve: Serve, page: Page) -> None:
    served = await serve()
    await page.goto(f"{served.proxy.url}/healthz")
    assert await call(page, "GET", "/api/hello") == (200, {"message": "Hello World"})
    edge = {"message": "This runs on the Edge!", "region": None}
    assert await call(page, "GET", "/api/edge") == (200, edge)
    good = {"name": "Ada", "email": "ada@example.com", "message": "Hello there, you."}
    assert await call(page, "POST", "/api/contact", good) == (200, {"success": True})
    bad = {"name": "", "email": "ada", "message": "short"}
    status, answer = await call(page, "POST", "/api/contact", bad)
    assert (status, answer["error"]) == (400, "Invalid input")
    assert [issue["path"] for issue in answer["issues"]] == [["name"], ["email"], ["message"]]
    for method, path, status, error in (
        ("GET", "/api/user/profile", 401, "Unauthorized"),
        ("GET", "/api/posts/1", 404, "Not found"),
        ("DELETE", "/api/posts/1", 401, "Unauthorized"),
        ("GET", "/api/notifications/stream", 401, "Unauthorized"),
    ):
        found, answer = await call(page, method, path)
        assert (found, answer["error"]) == (status, error), path
    status, answer = await page.evaluate(_UPLOAD, ["image/png", "file"])
    assert (status, answer["error"]) == (401, "Unauthorized")
    await sign_up(page, "ada@example.com")
    status, answer = await call(page, "GET", "/api/user/profile")
    assert (status, answer["user"]["creditsTotal"]) == (200, 0)
    found, answer = await call(page, "DELETE", "/api/posts/1")
    assert (found, answer["error"]) == (403, "Forbidden")
    status, post = await call(page, "POST", "/api/posts", {"title": "One", "content": "Two"})
    assert status == 201
    assert await call(page, "GET", f"/api/posts/{post['id']}") == (200, post)
    assert await call(page, "DELETE", f"/api/posts/{post['id']}") == (200, {"success": True})
    for kind in ("image/png", "image/jpeg", "image/webp"):
        status, answer = await page.evaluate(_UPLOAD, [kind, "file"])
        assert (status, answer["type"]) == (200, kind), answer
        assert await page.evaluate(_SHOW, answer["url"]) == [30, 20]
    status, answer = await page.evaluate(_UPLOAD, ["image/png", "picture"])
    assert (status, answer["error"]) == (400, "No file provided")
    await page.goto("about:blank")

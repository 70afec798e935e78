"""The registry, and the routes of one line each: they answer whatever happens to the database."""

from __future__ import annotations

from server.db.pool import Database
from server.resources import RESOURCES
from tests.gate import gated
from tests.resources.calls import call, cookie
from tests.served import Served, served


def test_every_address_and_method_is_declared_once() -> None:
    found = [route for routes in RESOURCES for route in routes]
    names = [(route.method, route.path) for route in found]
    assert len(set(names)) == len(names)
    assert all(route.summary and route.handler.__doc__ for route in found)


async def test_hello(server: Served) -> None:
    answer = await call(server, "GET", "/api/hello")
    assert (answer.status, answer.json) == (200, {"message": "Hello World"})


async def test_edge_tells_the_region_if_there_is_one(clean: Database) -> None:
    async with served(clean) as server:
        answer = await call(server, "GET", "/api/edge")
        assert answer.json == {"message": "This runs on the Edge!", "region": None}
    async with served(clean, region="fra1") as server:
        assert (await call(server, "GET", "/api/edge")).json["region"] == "fra1"


async def test_both_answer_without_a_database_even_with_a_cookie(clean: Database) -> None:
    async with gated(clean) as (gate, database), served(database, secret="s" * 32) as server:
        _, token = await server.sign_in()
        await gate.shut()
        for path in ("/api/hello", "/api/edge"):
            assert (await call(server, "GET", path, Cookie=cookie(token))).status == 200
        lost = await call(server, "GET", "/api/posts")
        assert (lost.status, lost.json["error"]) == (503, "Service unavailable")

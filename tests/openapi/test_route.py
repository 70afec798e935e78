from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from pydantic import ConfigDict, Field
from yarl import URL

from server.errors import ApiError
from server.openapi.access import ANYONE, KEY, READERS, Access
from server.openapi.fields import Input, Output, RowId
from server.openapi.reading import Repeated, _known, check, many, read_path, read_query
from server.openapi.route import Route, add, answer, route


class RowPath(Input):
    id: RowId


class Wanted(Input):
    name: list[str] = Field(default_factory=list)
    page_size: int = Field(20, ge=1, le=100)


class Body(Input):
    title: str = Field(max_length=5)


class Told(Output):
    some_count: int


def declared(handler: Any, method: str = "GET", path: str = "/x", **more: Any) -> Route:
    return route(method, path, summary="X", tag="x", answers={200: Told}, **more)(handler)


def asked(query: str = "", **info: str) -> web.Request:
    request = make_mocked_request("GET", f"/x?{query}")
    request.match_info.update(info)
    return request


def faults(query: str) -> list[tuple[tuple[str | int, ...], str]]:
    with pytest.raises(ApiError) as caught:
        read_query(Wanted, asked(query))
    assert caught.value.kind.status == 400
    return [(issue.path, issue.code) for issue in caught.value.issues]


def test_a_handler_is_given_what_it_names() -> None:
    async def handler(request: web.Request, path: RowPath, query: Wanted, body: Body) -> Told:
        raise NotImplementedError

    made = declared(handler, "POST")
    assert dict(made.models) == {"path": RowPath, "query": Wanted, "body": Body}
    assert made.takes == {"request", "path", "query", "body"}


def test_a_handler_that_takes_something_else_is_refused() -> None:
    async def handler(params: Wanted) -> Told:
        raise NotImplementedError

    with pytest.raises(TypeError, match="not \\['params'\\]"):
        declared(handler)


def test_a_raw_handler_says_its_models_beside_it() -> None:
    async def handler(anything: web.Request) -> web.Response:
        raise NotImplementedError

    made = declared(handler, raw={"query": Wanted})
    assert made.raw
    assert dict(made.models) == {"query": Wanted}


def test_a_body_that_a_handler_reads_by_itself_is_only_told() -> None:
    async def handler(request: web.Request, query: Wanted) -> Told:
        raise NotImplementedError

    made = declared(handler, "POST", body=Body)
    assert dict(made.models) == {"query": Wanted, "body": Body}
    assert made.unread == {"body"}


@pytest.mark.parametrize("text", ["x", "0", "-1", "1.5", str(2**63), "1" * 5000, "%00", ""])
def test_what_is_no_id_is_not_found(text: str) -> None:
    with pytest.raises(ApiError) as caught:
        read_path(RowPath, asked(id=text))
    assert caught.value.kind.status == 404


def test_a_list_may_be_given_many_times_and_anything_else_once() -> None:
    wanted = read_query(Wanted, asked("name=a&name=b"))
    assert wanted.name == ["a", "b"]
    assert read_query(Wanted, asked("name=a")).name == ["a"]
    assert faults("pageSize=1&pageSize=2") == [(("pageSize",), "int_type")]
    assert many(Wanted) == {"name"}


def test_an_unknown_parameter_is_an_error() -> None:
    assert faults("pagesize=3") == [(("pagesize",), "extra_forbidden")]


def test_all_faults_are_told() -> None:
    assert faults("pageSize=101&x=1") == [
        (("pageSize",), "less_than_equal"),
        (("x",), "extra_forbidden"),
    ]


def test_defaults_hold_where_nothing_is_given() -> None:
    assert read_query(Wanted, asked()).model_dump() == {"name": [], "pageSize": 20}
    assert read_query(Wanted, asked("pageSize=7")).page_size == 7


def test_a_body_is_checked_with_the_place_of_each_fault() -> None:
    with pytest.raises(ApiError) as caught:
        check(Body, {"title": "too long"})
    assert [issue.path for issue in caught.value.issues] == [("title",)]


def test_an_answer_is_camel_case_and_not_kept_by_caches() -> None:
    response = answer(Told(some_count=1), status=201, headers={"Location": "/x/1"})
    assert (response.status, response.body) == (201, b'{"someCount":1}')
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Location"] == "/x/1"


def test_a_number_in_a_path_is_digits_so_that_names_beside_it_are_their_own() -> None:
    async def handler(path: RowPath) -> Told:
        raise NotImplementedError

    async def other() -> Told:
        raise NotImplementedError

    app = web.Application()
    add(app, declared(handler, "DELETE", "/rows/{id}"), declared(other, "GET", "/rows/unread"))
    named, numbered = {str(it.canonical): it for it in app.router.resources()}.items()
    assert {named[0], numbered[0]} == {"/rows/{id}", "/rows/unread"}
    resources = {it.canonical: it for it in app.router.resources()}
    assert resources["/rows/{id}"].get_info()["pattern"].fullmatch("/rows/unread") is None
    assert resources["/rows/{id}"].get_info()["pattern"].fullmatch("/rows/17")


def test_who_may_show_credentials_need_not() -> None:
    assert READERS.open
    assert ANYONE.open
    assert READERS.schemes == KEY
    assert not Access("Somebody.", lambda _: False, KEY).open


class Often(Repeated):
    model_config = ConfigDict(extra="forbid")

    channel: list[str]
    token: str | None = None
    since: str | None = None


def test_a_query_that_many_ask_is_read_once() -> None:
    first = read_query(Often, asked("channel=a&channel=b"))
    assert first.channel == ["a", "b"]
    assert read_query(Often, asked("channel=a&channel=b")) is first
    assert read_query(Often, asked("channel=b")).channel == ["b"]


@pytest.mark.parametrize("spelt", ["token", "since", "%74oken", "sinc%65", "%73%69nce"])
def test_no_secret_and_no_time_is_remembered(spelt: str) -> None:
    before = _known.cache_info()
    # As it comes off the wire, spelt as the client spelt it.
    url = URL.build(path="/x", query_string=f"channel=a&{spelt}=10m", encoded=True)
    queries = [read_query(Often, asked().clone(rel_url=url)) for _ in range(2)]
    assert queries[0] == queries[1]
    assert queries[0] is not queries[1]
    assert "10m" in (queries[0].token, queries[0].since)
    assert _known.cache_info() == before

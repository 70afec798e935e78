from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from aiohttp import web
from pydantic import BaseModel

import server
from server import app as composition
from server.db.pool import Database
from server.errors import NOT_FOUND
from server.log.catalog import CATALOG
from server.openapi.document import document
from server.openapi.problems import MEANINGS, Problem
from server.openapi.route import ROUTES, Route, route
from server.settings import load
from tests.served import Served

UNDECLARED = {"/api/page"}
"""What only our own page asks for."""
KEYWORDS = {
    *("$ref", "const", "enum", "type", "format", "pattern", "not", "anyOf", "oneOf", "allOf"),
    *("default", "deprecated", "description", "examples", "title", "contentMediaType"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "uniqueItems", "items", "prefixItems"),
    *(
        "minProperties",
        "maxProperties",
        "properties",
        "required",
        "additionalProperties",
        "propertyNames",
    ),
}
Doc = dict[str, Any]


@pytest.fixture(scope="module")
def app() -> web.Application:
    nowhere = Database("postgresql://127.0.0.1:1/x", None, embedded=True)
    return composition.build(load(api_key="k" * 32), nowhere, demo=False)


@pytest.fixture(scope="module")
def doc(app: web.Application) -> Doc:
    routes: list[Route] = app[ROUTES]
    return document(routes, version="1", events=CATALOG)


def resolved(doc: Doc, value: Doc) -> Doc:
    while "$ref" in value:
        found: Any = doc
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        value = found
    return value


def operations(doc: Doc) -> Iterator[tuple[str, str, Doc]]:
    for path, methods in doc["paths"].items():
        for method, item in methods.items():
            yield path, method, item


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def schemas(value: Any) -> Iterator[Doc]:
    """Every schema within a schema, itself included."""
    if not isinstance(value, dict):
        return
    yield value
    for name in ("items", "not", "additionalProperties", "propertyNames"):
        yield from schemas(value.get(name))
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for item in value.get(name, ()):
            yield from schemas(item)
    for item in value.get("properties", {}).values():
        yield from schemas(item)


def test_the_document_is_openapi_3_1(doc: Doc) -> None:
    """By the meta-schema of the OpenAPI Initiative, which schemathesis brings."""
    from schemathesis.specs.openapi import definitions  # takes a second

    faults = jsonschema_rs.Draft202012Validator(definitions.OPENAPI_31).iter_errors(doc)
    assert [fault.message for fault in faults] == []
    missing = [name for name in references(doc) if not resolved(doc, {"$ref": name})]
    assert missing == []


def test_every_schema_is_a_schema_of_words_that_everybody_knows(doc: Doc) -> None:
    found = list(doc["components"]["schemas"].values())
    for _, _, item in operations(doc):
        found += [parameter["schema"] for parameter in item.get("parameters", ())]
    for schema in found:
        jsonschema_rs.meta.validate(
            {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema
        )
        for inner in schemas(schema):
            assert set(inner) <= KEYWORDS, inner
            if "pattern" in inner:
                re.compile(inner["pattern"])


def test_every_route_is_in_it(app: web.Application, doc: Doc) -> None:
    missing = []
    for item in app.router.routes():
        if item.resource is None or item.method == "OPTIONS":
            continue
        path = item.resource.canonical
        if not path.startswith("/api/") or path in UNDECLARED:
            continue
        if item.method.lower() not in doc["paths"].get(path, {}):
            missing.append(f"{item.method} {path}")
    assert missing == []


def test_every_operation_has_all_its_errors(app: web.Application, doc: Doc) -> None:
    routes: list[Route] = app[ROUTES]
    for item in routes:
        path = re.sub(r":[^}]*\}", "}", item.path)
        found = doc["paths"][path][item.method.lower()]
        errors = {int(status) for status in found["responses"] if status >= "400"}
        wanted = {500, *(kind.status for kind in item.errors)}
        wanted |= {400, 408, 413, 415} if "requestBody" in found else set()
        wanted |= {400} if "query" in item.models else set()
        wanted |= {404} if "path" in item.models else set()
        wanted |= {401, 403, 503} if not item.access.open else set()
        wanted |= {401, 503} if "who" in item.takes else set()
        wanted |= {429} if item.rate else set()
        assert wanted <= errors, f"{item.method} {path}"
        for status in errors:
            answer = resolved(doc, found["responses"][str(status)])
            form = answer["content"]["application/problem+json"]["schema"]
            assert form == {"$ref": "#/components/schemas/Problem"}
            assert "X-Request-Id" in answer["headers"]
            assert answer["description"] == MEANINGS.get(status, answer["description"])
        if 429 in errors:
            limited = resolved(doc, found["responses"]["429"])["headers"]
            assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(limited)


def test_every_operation_can_be_told_from_the_others(doc: Doc) -> None:
    names = [item["operationId"] for _, _, item in operations(doc)]
    assert len(names) == len(set(names))
    for path, method, item in operations(doc):
        where = f"{method} {path}"
        assert item["summary"], where
        assert len(item["tags"]) == 1, where
        assert "**Access**" in item["description"], where
        assert any(status < "400" for status in item["responses"]), where
        declared = {it["name"] for it in item.get("parameters", ()) if it["in"] == "path"}
        assert declared == set(re.findall(r"\{(\w+)\}", path)), where


def test_every_get_has_its_head_without_bodies(doc: Doc) -> None:
    for methods in doc["paths"].values():
        assert ("get" in methods) == ("head" in methods)
        for answer in methods.get("head", {}).get("responses", {}).values():
            assert "content" not in resolved(doc, answer)


def test_event_types_are_listed_with_their_schemas(doc: Doc) -> None:
    found = {(item["name"], item["channel"]): item for item in doc["x-events"]}
    measurement = found["measurement", "public.demo"]
    assert resolved(doc, measurement["schema"])["required"] == ["level_m", "flow_m3s"]
    assert found["metrics", "ops.metrics"]["source"] == "ephemeral"
    assert len(found) == len(list(CATALOG))


class Thing(BaseModel):
    """A thing."""

    name: str


def made(name: str, tag: str = "things", **more: Any) -> Route:
    async def handler() -> Thing:
        return Thing(name="x")

    handler.__name__ = name
    given = {"summary": "A thing", "answers": {200: Thing}, "tag": tag} | more
    return route("GET", f"/{tag}/{name}", **given)(handler)


def test_handlers_of_one_name_are_told_apart_by_their_tags() -> None:
    doc = document([made("list_all"), made("list_all", "other")], version="1")
    names = [item["operationId"] for _, method, item in operations(doc) if method == "get"]
    assert names == ["thingsListAll", "otherListAll"]


def test_two_operations_of_one_name_stop_the_start() -> None:
    with pytest.raises(ValueError, match="several handlers are called thingsShow"):
        document([made("show"), made("show")], version="1")


def test_a_header_that_nobody_describes_stops_the_start() -> None:
    with pytest.raises(ValueError, match="describe \\['X-New'\\]"):
        document([made("show", headers=("X-New",))], version="1")


def test_an_error_that_only_this_route_has_is_told() -> None:
    doc = document([made("show", errors=(NOT_FOUND,))], version="1")
    assert set(doc["paths"]["/things/show"]["get"]["responses"]) == {"200", "404", "500"}


def test_models_that_are_only_parameters_are_no_components(doc: Doc) -> None:
    used = {name.rpartition("/")[2] for name in references(doc) if "/schemas/" in name}
    assert set(doc["components"]["schemas"]) == used
    assert Problem.__name__ in used


async def test_it_is_served_once_made_and_asked_for_again_by_its_tag(server: Served) -> None:
    answer, body = await server.get("/openapi.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"
    assert body["info"]["version"] == version()
    packed = await server.raw(
        b"GET /openapi.json HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    assert json.loads(gzip.decompress(await packed.rest())) == body
    known = f"If-None-Match: {answer.headers['etag']}"
    again = await server.raw(f"GET /openapi.json HTTP/1.1\r\nHost: x\r\n{known}\r\n\r\n".encode())
    assert again.status == 304
    assert packed.headers["etag"] != answer.headers["etag"]


def version() -> str:
    return server.__version__


def test_no_file_of_the_docs_page_names_another_host() -> None:
    static = Path(server.__file__).parent / "openapi" / "static"
    for path in static.iterdir():
        assert not re.search(r"https?://|//cdn", path.read_text()), path.name
        assert not re.search(r"\sstyle=|<script>|\son[a-z]+=", path.read_text()), path.name

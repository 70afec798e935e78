"""One declared route as an operation of the document."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from server.errors import PRECONDITION
from server.openapi import headers
from server.openapi.problems import PROBLEM_JSON, errors_of, limited
from server.openapi.route import Route
from server.openapi.schemas import Schemas

Operation = dict[str, Any]
EVENT_STREAM = "text/event-stream"
BODILESS = {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}


def operation(route: Route, name: str, schemas: Schemas) -> Operation:
    """A route's operation."""
    made: Operation = {
        "operationId": name,
        "summary": route.summary,
        "tags": [route.tag],
        "description": describe(route),
        "parameters": _parameters(route, schemas),
        "responses": {**_answers(route, schemas), **_errors(route)},
        "security": security(route),
    }
    if (body := route.models.get("body")) is not None:
        content = {route.consumes: {"schema": schemas.of(body, "validation")}}
        made["requestBody"] = {"required": True, "content": content}
    return {key: value for key, value in made.items() if value != [] or key == "security"}


def head(get: Operation, name: str) -> Operation:
    """The HEAD that every GET brings: the same, without the bodies."""
    answers = {
        status: {"$ref": f"{answer['$ref']}Head"} if "$ref" in answer else _bodiless(answer)
        for status, answer in get["responses"].items()
    }
    about = {"operationId": name, "summary": f"{get['summary']}: the headers alone"}
    return {**get, **about, "responses": answers}


def describe(route: Route) -> str:
    """The handler's docstring, who may call it, and what counts it."""
    text = inspect.getdoc(route.handler) or ""
    # The faults it raises are told as answers.
    parts = [re.split(r"\n\s*Raises:\n", text)[0].strip(), f"**Access**: {route.access.sentence}"]
    if route.rate is not None:
        parts.append(f"**Rate**: counted by the policy `{route.rate}`.")
    return "\n\n".join(part for part in parts if part)


def security(route: Route) -> list[dict[str, list[str]]]:
    """What a caller may show; with `{}` where nothing has to be."""
    schemes: list[dict[str, list[str]]] = [{name: []} for name in route.access.schemes]
    if not schemes and "who" in route.takes:
        schemes = [{"session": []}, {"bearer": []}, {"apiKey": []}]
    return [*schemes, {}] if route.access.open and schemes else schemes


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    found = []
    if (model := route.models.get("path")) is not None:
        for name, schema, _ in schemas.fields(model):
            found.append(_parameter("path", name, schema, required=True))
    if (model := route.models.get("query")) is not None:
        for name, schema, required in schemas.fields(model):
            found.append(_parameter("query", name, schema, required=required))
    if PRECONDITION in route.errors:
        found.append(_request_header("If-Match"))
    if HTTPStatus.NOT_MODIFIED in route.answers:
        found.append(_request_header("If-None-Match"))
    if HTTPStatus.PARTIAL_CONTENT in route.answers:
        found.append(_request_header("Range"))
    if route.media == EVENT_STREAM:
        found.append(_request_header("Last-Event-ID"))
    found += map(_request_header, route.reads)
    return found


def _parameter(place: str, name: str, schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    schema = _given(schema)
    made: dict[str, Any] = {"name": name, "in": place, "required": required}
    if "description" in schema:
        made["description"] = schema.pop("description")
    made["schema"] = schema
    if schema.get("type") == "array":
        made |= {"style": "form", "explode": True}
    return made


def _given(schema: dict[str, Any]) -> dict[str, Any]:
    """A parameter's schema without `null`: in an address it is left out instead."""
    schema = dict(schema)
    if "default" in schema and schema["default"] is None:
        del schema["default"]
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        del schema["anyOf"]
        return {**kinds[0], **schema}
    if kinds:
        schema["anyOf"] = kinds
    return schema


def _request_header(name: str) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, **headers.REQUEST[name]}


def _answers(route: Route, schemas: Schemas) -> dict[str, Any]:
    counted = headers.LIMITED if limited(route) else ()
    found: dict[str, Any] = {}
    for status, model in route.answers.items():
        made: dict[str, Any] = {
            "description": HTTPStatus(status).phrase,
            "headers": headers.refs("X-Request-Id", *route.headers, *counted),
        }
        if model is not None and status not in BODILESS:
            made["description"] = (inspect.getdoc(model) or "").split("\n\n")[0] or "Done."
            schema = schemas.of(model, "serialization")
            made["content"] = {route.media: {"schema": schema}}
        found[str(status)] = made
    return found


def _errors(route: Route) -> dict[str, Any]:
    suffix = "Counted" if limited(route) else ""
    return {
        str(status): {"$ref": f"#/components/responses/Error{status}{suffix}"}
        for status in errors_of(route)
    }


def error_answers(routes: Iterable[Route], problem: dict[str, Any]) -> dict[str, Any]:
    """The errors that operations refer to; `problem` is the schema of the error form."""
    found: dict[str, Any] = {}
    for route in routes:
        counted, suffix = (headers.LIMITED, "Counted") if limited(route) else ((), "")
        for status, meaning in errors_of(route).items():
            names = ("X-Request-Id", *headers.ON_ERROR.get(status, ()), *counted)
            made = {
                "description": meaning,
                "headers": headers.refs(*names),
                "content": {PROBLEM_JSON: {"schema": problem}},
            }
            found[f"Error{status}{suffix}"] = made
            if route.method == "GET":
                found[f"Error{status}{suffix}Head"] = _bodiless(made)
    return dict(sorted(found.items()))


def _bodiless(answer: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in answer.items() if key != "content"}

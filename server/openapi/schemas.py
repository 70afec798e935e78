"""The models' JSON Schemas: each once, among the components of the document."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, models_json_schema

Schema = dict[str, Any]
Mode = Literal["validation", "serialization"]
Use = tuple[type[BaseModel], Mode]
"""A model, as what is sent to us or as what we answer."""

REF = "#/components/schemas/{model}"


_WORDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}


class _Plain(GenerateJsonSchema):
    """Without titles on every field: they repeat its name."""

    def generate_inner(self, schema: Any) -> Schema:
        """Bounds that stand behind a validator come in pydantic's words, which nobody knows."""
        made = super().generate_inner(schema)
        return {_WORDS.get(name, name): value for name, value in made.items()}

    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


class Schemas:
    """All models that a document names."""

    def __init__(self, uses: Iterable[Use]) -> None:
        unique = list(dict.fromkeys(uses))
        found, definitions = models_json_schema(unique, ref_template=REF, schema_generator=_Plain)
        self._found = found
        self.components: dict[str, Schema] = dict(definitions.get("$defs", {}))
        for schema in self.components.values():
            schema.pop("title", None)

    def of(self, model: type[BaseModel], mode: Mode) -> Schema:
        """Where the model's schema is."""
        return self._found[model, mode]

    def fields(self, model: type[BaseModel]) -> list[tuple[str, Schema, bool]]:
        """The name, schema and necessity of each field of an input."""
        schema = self.of(model, "validation")
        if "$ref" in schema:
            schema = self.components[schema["$ref"].rpartition("/")[2]]
        required = schema.get("required", ())
        return [
            (name, field, name in required) for name, field in schema.get("properties", {}).items()
        ]

    def prune(self, document: Any) -> None:
        """Leave out what nothing in `document` refers to: models whose fields are parameters."""
        wanted: set[str] = set()
        left = [document]
        while left:
            for name in refs(left.pop()) - wanted:
                wanted.add(name)
                left.append(self.components[name])
        self.components = {
            name: schema for name, schema in sorted(self.components.items()) if name in wanted
        }


def refs(value: Any) -> set[str]:
    """The names of all component schemas that a part of a document refers to."""
    if isinstance(value, dict):
        found = set().union(*(refs(item) for item in value.values())) if value else set()
        if isinstance(target := value.get("$ref"), str) and target.startswith("#/components/sch"):
            found.add(target.rpartition("/")[2])
        return found
    if isinstance(value, list):
        return set().union(*(refs(item) for item in value)) if value else set()
    return set()

"""Good input for a declared route, made from its models: every new resource gets it at once.

A field with a pattern that plain letters do not match needs an example (`examples=[…]`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel

Path = tuple[str | int, ...]


def sample(model: type[BaseModel], **known: Any) -> dict[str, Any]:
    """A body with every field, the optional ones too; `known` values by their names."""
    schema = model.model_json_schema(by_alias=True)
    made = _value(schema, schema.get("$defs", {}), known)
    model.model_validate(made)
    assert isinstance(made, dict)
    return made


def _value(schema: dict[str, Any], defs: dict[str, Any], known: dict[str, Any]) -> Any:
    if "$ref" in schema:
        return _value(defs[schema["$ref"].rpartition("/")[2]], defs, known)
    for words in ("examples", "enum"):
        if schema.get(words):
            return schema[words][0]
    if "const" in schema:
        return schema["const"]
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return _value(schema[union][0], defs, known)
    kind = schema.get("type")
    if kind == "object":
        return {
            name: known[name] if name in known else _value(part, defs, known)
            for name, part in schema.get("properties", {}).items()
        }
    if kind == "array":
        count = schema.get("minItems", 1) or 1
        return [_value(schema.get("items", {}), defs, known) for _ in range(count)]
    if kind in {"integer", "number"}:
        return schema.get("minimum", 1)
    return {"boolean": True, "null": None}.get(str(kind), "a" * max(1, schema.get("minLength", 8)))


def strings(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where strings stand in a body."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from strings(part, (*path, name))
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from strings(part, (*path, index))


def replaced(value: Any, path: Path, new: Any) -> Any:
    """A copy with `new` at `path`."""
    if not path:
        return new
    first, *rest = path
    copy: Any = value.copy()
    copy[first] = replaced(value[first], tuple(rest), new)
    return copy

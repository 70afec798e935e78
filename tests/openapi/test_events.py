from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import PydanticSerializationError

import server
from server.errors import ApiError
from server.log.catalog import WATCHED, Catalog
from server.openapi.document import document

ROOT = Path(server.__file__).parent
MAKERS = {"draft", "body_of"}
"""What makes events of any name: only the catalog and the door for strangers' events may."""
MAY = {"log/catalog.py", "log/outbox.py", "log/ephemeral.py", "stream/events.py"}


class Level(BaseModel):
    """A level."""

    model_config = ConfigDict(alias_generator=str.upper, validate_by_name=True)

    metres: float = Field(ge=0)


@pytest.fixture
def catalog() -> Catalog:
    return Catalog()


def test_an_event_is_made_of_its_type(catalog: Catalog) -> None:
    level = catalog.published("level", "public.river", Level, "A level")
    made = level.draft(Level(metres=2.5), key="river")
    assert (made.channel, made.type, made.key) == ("public.river", "level", "river")
    assert json.loads(made.data) == {"METRES": 2.5}


def test_the_channel_is_one_of_the_type(catalog: Catalog) -> None:
    level = catalog.published("level", "rivers.*.level", Level, "A level")
    assert (
        level.draft(Level(metres=1), channel="rivers.rhine.level").channel == "rivers.rhine.level"
    )
    for channel in (None, "rivers.level", "rivers.a.b.level", "rivers..level", "rivers.*.level"):
        with pytest.raises(ValueError, match="is not a channel of level"):
            level.draft(Level(metres=1), channel=channel)
    rest = catalog.published("any", "rivers.>", Level, "A level")
    assert rest.draft(Level(metres=1), channel="rivers.a.b").channel == "rivers.a.b"
    with pytest.raises(ValueError, match="is not a channel of any"):
        rest.draft(Level(metres=1), channel="rivers")


def test_other_data_is_refused(catalog: Catalog) -> None:
    level = catalog.published("level", "public.river", Level, "A level")
    with pytest.raises(TypeError, match="the data of level is a Level"):
        level.draft(Other())
    with pytest.raises(PydanticSerializationError):
        level.draft(Level.model_construct(metres="high"))
    with pytest.raises(ApiError):
        level.draft(Level(metres=1), key="a\nb")


class Other(BaseModel):
    """Another model."""


def test_what_is_not_kept_does_not_go_into_the_log_nor_the_other_way(catalog: Catalog) -> None:
    level = catalog.ephemeral("level", "public.river", Level, "A level")
    assert json.loads(level.body(Level(metres=1)))["data"] == {"METRES": 1.0}
    with pytest.raises(TypeError, match="is ephemeral, not published"):
        level.draft(Level(metres=1))


def test_a_type_is_declared_once(catalog: Catalog) -> None:
    catalog.published("level", "public.river", Level, "A level")
    catalog.published("level", "public.lake", Level, "A level")
    with pytest.raises(ValueError, match="declared twice"):
        catalog.ephemeral("level", "public.river", Level, "A level")
    with pytest.raises(ValueError, match="not a channel or pattern"):
        catalog.published("level", "public..river", Level, "A level")


def test_a_watched_table_is_told_by_what_may_happen_to_a_row(catalog: Catalog) -> None:
    catalog.watched("rivers", Level, "A river")
    doc = document([], version="1", events=catalog)
    assert [item["name"] for item in doc["x-events"]] == list(WATCHED)
    forms = doc["components"]["schemas"]["LevelChange"]["anyOf"]
    names = {form["$ref"].rpartition("/")[2] for form in forms}
    assert names == {"Change_Level_", "Untold"}
    assert set(doc["components"]["schemas"]["Change_Level_"]["properties"]) == {"new", "old"}


def test_our_own_code_makes_no_event_that_is_not_declared() -> None:
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name in MAY:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = {item.name for item in node.names} & MAKERS
                found += [f"{name}:{node.lineno} imports {item}" for item in sorted(names)]
            elif isinstance(node, ast.Attribute) and node.attr in MAKERS - {"draft"}:
                found.append(f"{name}:{node.lineno} uses {node.attr}")
            elif isinstance(node, ast.Attribute) and ast.unparse(node).endswith("ephemeral.send"):
                found.append(f"{name}:{node.lineno} sends what is not declared")
    assert found == []

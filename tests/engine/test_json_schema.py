"""A schema is looked at whole before a run begins, and then says what is wrong with a value and where."""

import socket

import orjson
import pytest

from arkbatch.core.errors import UsageError
from arkbatch.engine.json_schema import build_schema_check, read_schema

PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "ages": {"type": "array", "items": {"type": "integer"}}},
    "required": ["name"],
}
TREE = {"type": "object", "properties": {"left": {"$ref": "#"}, "right": {"$ref": "#/$defs/end"}}, "$defs": {"end": {}}}


def misfit(schema, value):
    return build_schema_check(orjson.dumps(schema).decode())(value)


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ({"name": "Li", "ages": [1, 2]}, None),
        ({}, "$)"),
        ({"name": 5}, "$.name)"),
        ({"name": "Li", "ages": [1, "2"]}, "$.ages[1])"),
        ([], "$)"),
    ],
)
def test_it_says_what_is_wrong_and_where(value, where):
    said = misfit(PERSON, value)
    assert said is None if where is None else said.endswith(where)


def test_a_reason_stays_short_however_large_the_value_is():
    assert len(misfit({"type": "integer"}, "x" * 10_000)) < 300


@pytest.mark.parametrize(
    "schema",
    [
        True,
        {},
        TREE,
        {"$id": "https://example.com/a", "$ref": "#/$defs/b", "$defs": {"b": {"$id": "b", "items": {"$ref": "a"}}}},
        {"$anchor": "here", "items": {"$ref": "#here"}},
        {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {}}, "$ref": "#/definitions/a"},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"s": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}},
        {"enum": [{}, {"$ref": "https://example.com/is-a-value-here"}]},
    ],
)  # fmt: skip
def test_good_schemas_of_several_drafts(schema):
    assert misfit(schema, {}) is None


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "is no JSON:"),
        ("5", "is no JSON Schema: it is an object"),
        ('{"type": "strin"}', "is no JSON Schema: 'strin' is not valid"),
        ('{"properties": {"a": {"minimum": "x"}}}', "(at $.properties.a.minimum)"),
        ('{"$schema": "https://json-schema.org/draft/2099-01/schema"}', "unknown draft"),
        ('{"$schema": 5}', "unknown draft"),
        ('{"items": {"$ref": "https://example.com/x.json"}}', "nothing is fetched"),
        ('{"items": {"$ref": "other.json"}}', "other.json, which is not in it"),
        ('{"items": {"$ref": "file:///etc/passwd"}}', "nothing is fetched"),
        ('{"$ref": "#/$defs/gone"}', "#/$defs/gone, which is not in it"),
        ('{"$ref": "#/odd/place", "odd": {"place": {"$ref": "http://example.com"}}}', "http://example.com"),
    ],
)
def test_a_wrong_schema_is_refused_in_one_line(tmp_path, monkeypatch, schema, said):
    monkeypatch.setattr(socket.socket, "connect", None)
    (tmp_path / "s.json").write_text(schema)
    with pytest.raises(UsageError) as refused:
        read_schema(tmp_path / "s.json", "--schema s.json")
    assert said in str(refused.value)
    assert str(refused.value).startswith("--schema s.json")
    assert "\n" not in str(refused.value)


def test_a_missing_file_and_one_in_another_encoding(tmp_path):
    (tmp_path / "s.json").write_bytes('{"title": "é"}'.encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8 at byte 11"):
        read_schema(tmp_path / "s.json", "s")
    with pytest.raises(UsageError, match="No such file"):
        read_schema(tmp_path / "none.json", "s")


def test_an_answer_that_is_nested_too_deeply_or_a_schema_without_end_is_a_reason_and_no_crash():
    deep = {}
    for _ in range(900):
        deep = {"left": deep}
    assert "nested too deeply" in misfit(TREE, deep)
    assert "nested too deeply" in misfit({"$ref": "#"}, 1)


def test_without_the_library_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jsonschema", None)
    with pytest.raises(UsageError, match=r"arkbatch\[schema\]"):
        build_schema_check("{}")

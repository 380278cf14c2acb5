"""Turns what a caller gives as a schema into a JSON schema."""

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec
import orjson

from arkbatch.core.errors import UsageError


def json_schema_of(schema: Any) -> dict[str, Any]:
    """Return the JSON schema. UsageError: this is none, or its file cannot be read."""
    if isinstance(schema, Mapping):
        return dict(schema)
    if isinstance(schema, str | PathLike):
        return _read_schema(Path(schema))
    if hasattr(schema, "model_json_schema"):  # pydantic
        return dict(schema.model_json_schema())
    try:
        (found,), parts = msgspec.json.schema_components([schema])
    except TypeError as error:
        raise UsageError(f"schema {schema!r} is no schema: give a class with typed fields, a dict or a file") from error
    return _inline_top_class(found, parts)


def _read_schema(path: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError) as error:
        raise UsageError(f"schema {path} cannot be read as JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError(f"schema {path} holds no object")
    return value


def _inline_top_class(found: dict[str, Any], parts: dict[str, Any]) -> dict[str, Any]:
    """The class itself at the top, where services look for its properties; classes that it uses stay in `$defs`."""
    name = str(found.get("$ref", "")).rpartition("/")[2]
    top = dict(parts.pop(name)) if name in parts else dict(found)
    return top | ({"$defs": parts} if parts else {})

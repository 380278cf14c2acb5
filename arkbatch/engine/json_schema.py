"""A JSON Schema from a file, as a function that explains a mismatch.

`jsonschema` does the work, installed as the extra `arkbatch[schema]`. A schema is looked at whole before a run begins:
whether it is one, in a draft that is known, and whether each of its references leads somewhere. Nothing is ever
fetched: references lead into the file itself or to the drafts. As the drafts say, `format` is a note and no demand.
"""

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson

from arkbatch.core.errors import UsageError

_SHOWN = 200  # characters of the library's own sentence, which quotes the value
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def read_schema(path: Path, name: str) -> str:
    """The text of a schema that holds. UsageError: it cannot be used, in one line that begins with `name`."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"{name} cannot be read: {error.strerror} (looked at {path})") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 at byte {error.start}") from error
    build_schema_check(text, name)
    return text


def build_schema_check(text: str, name: str = "the schema") -> Callable[[object], str | None]:
    """What says why a value does not satisfy this schema."""
    try:
        jsonschema: Any = importlib.import_module("jsonschema")
        specifications: Any = importlib.import_module("jsonschema_specifications")
    except ImportError as error:
        raise UsageError("--schema needs one more library; install it with: pip install 'arkbatch[schema]'") from error
    schema = _parse_json(text, name)
    kind = _newest_draft(jsonschema, schema, name)
    _check_schema(jsonschema, kind, schema, name)
    registry = specifications.REGISTRY  # knows the drafts and fetches nothing, unlike the one taken by default
    _check_references(schema, registry, name)
    validator = kind(schema, registry=registry)

    def misfit(value: object) -> str | None:
        try:
            error = jsonschema.exceptions.best_match(validator.iter_errors(value))
        except RecursionError:
            return "it is nested too deeply to be looked at"
        return None if error is None else f"{_shorten_text(error.message)} (at {error.json_path})"

    return misfit


def _parse_json(text: str, name: str) -> Any:
    try:
        schema = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UsageError(f"{name} is no JSON: {error}") from error
    if not isinstance(schema, dict | bool):
        raise UsageError(f"{name} is no JSON Schema: it is an object in braces, as in an OpenAPI file")
    return schema


def _newest_draft(jsonschema: Any, schema: Any, name: str) -> Any:
    """The newest draft, unless the schema names another."""
    named = schema.get("$schema") if isinstance(schema, dict) else None
    if named is None:
        return jsonschema.Draft202012Validator
    kind = jsonschema.validators.validator_for(schema, default=None) if isinstance(named, str) else None
    if kind is None:
        raise UsageError(
            f"{name} names an unknown draft, $schema = {orjson.dumps(named).decode()}: "
            "known are 3, 4, 6, 7, 2019-09 and 2020-12, such as https://json-schema.org/draft/2020-12/schema"
        )
    return kind


def _check_schema(jsonschema: Any, kind: Any, schema: Any, name: str) -> None:
    try:
        kind.check_schema(schema)
    except jsonschema.exceptions.SchemaError as error:
        raise UsageError(f"{name} is no JSON Schema: {_shorten_text(error.message)} (at {error.json_path})") from error
    except RecursionError as error:
        raise UsageError(f"{name} is nested too deeply") from error


def _check_references(schema: Any, registry: Any, name: str) -> None:
    """Each must lead somewhere without a network: else it would be found out by the first answer that meets it."""
    if not isinstance(schema, dict):
        return
    referencing: Any = importlib.import_module("referencing")
    known: Any = importlib.import_module("referencing.jsonschema")

    def as_resource(contents: Any) -> Any:
        return referencing.Resource.from_contents(contents, default_specification=known.DRAFT202012)

    root = as_resource(schema)
    resolver = registry.with_resource(root.id() or "", root).resolver(root.id() or "")
    seen: set[int] = set()
    waiting = [(root, resolver)]
    while waiting:
        resource, resolver = waiting.pop()
        if id(resource.contents) in seen:
            continue
        seen.add(id(resource.contents))
        for reference in _find_references(resource.contents):
            try:
                found = resolver.lookup(reference)
            except (referencing.exceptions.Unresolvable, ValueError) as error:
                raise UsageError(
                    f"{name} refers to {reference}, which is not in it; nothing is fetched from a network: "
                    "put what it means under $defs"
                ) from error
            waiting.append((as_resource(found.contents), found.resolver))
        waiting += [(inner, resolver.in_subresource(inner)) for inner in resource.subresources()]


def _find_references(contents: Any) -> Iterator[str]:
    if isinstance(contents, dict):
        yield from (said for key in _REFERENCES if isinstance(said := contents.get(key), str))


def _shorten_text(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."

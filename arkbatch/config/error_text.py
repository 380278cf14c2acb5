"""Explains a mistake in a job file in one sentence.

The sentence names the key with its path, the value, what is allowed, and the nearest known key. msgspec finds the
mistake and its place; everything else is read from the same types. No section or key is known here by name, so a new
section gets good messages without a change.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import inspect

from arkbatch.core.text import suggest_name

Path = tuple[str, ...]

UNKNOWN = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
WHERE = re.compile(r"(.*?)(?: - at `\$(.*)`)?", re.DOTALL)
OWN_VALUE = re.compile(r"(\w+)( = .*)", re.DOTALL)
OWN_WORDS = re.compile(r"(?!Expected |Invalid enum |Object )")
LONGEST = 60


def explain_mistake(
    error: msgspec.ValidationError, raw: Mapping[str, Any], form: type, labels: Mapping[Path, str]
) -> str:
    """Return the sentence for an error of `msgspec.convert(raw, form)`.

    labels: how to call the values that did not come from the file, by path (`("limits", "rpm"): "--rpm"`)
    """
    said = WHERE.fullmatch(str(error))
    what, where = (said[1], said[2] or "") if said else (str(error), "")
    path = tuple(part for part in re.sub(r"\[.*", "", where).split(".") if part)
    if unknown := UNKNOWN.fullmatch(what):
        return _explain_unknown_key((*path, unknown[1]), raw, form)
    name = labels.get(path) or ".".join(path)
    if OWN_WORDS.match(what):
        return _explain_table_mistake(what, path, name, labels)
    value = _value_at(raw, path)
    kind = _type_at(inspect.type_info(form), path)
    choices = kind.values if isinstance(kind, inspect.LiteralType) else ()
    hint = suggest_name(str(value), map(str, choices), '; did you mean "{}"?')
    return f"{name} = {value_text(value)} is not allowed: it must be {allowed_values(kind)}{hint}"


def _explain_table_mistake(what: str, path: Path, name: str, labels: Mapping[Path, str]) -> str:
    """Explain an error that a table's own check raised.

    If its text begins with a key of the table and its value, it is worded like all other mistakes.
    """
    if (told := OWN_VALUE.fullmatch(what)) is None:
        return f"[{name}] {what}"
    key = (*path, told[1])
    return (labels.get(key) or ".".join(key)) + told[2]


def value_text(value: object) -> str:
    """Return a value as it stands in a job file, shortened."""
    try:
        text = msgspec.json.encode(value).decode()
    except (TypeError, msgspec.MsgspecError):
        text = str(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def known_keys(form: type) -> dict[Path, bool]:
    """Return the path of each known key, and whether it is a table."""
    return dict(_keys_below(inspect.type_info(form), ()))


def _keys_below(kind: inspect.Type, path: Path) -> Iterator[tuple[Path, bool]]:
    kind = _without_none(kind)
    if path:
        yield path, isinstance(kind, inspect.StructType | inspect.DictType)
    if isinstance(kind, inspect.StructType):
        for item in kind.fields:
            yield from _keys_below(item.type, (*path, item.encode_name))


def _explain_unknown_key(path: Path, raw: Mapping[str, Any], form: type) -> str:
    value = _value_at(raw, path)
    hint = _key_hint(path, isinstance(value, dict), known_keys(form))
    return f"{'.'.join(path)} = {value_text(value)} is not a known key: {hint}"


def _key_hint(path: Path, table: bool, keys: Mapping[Path, bool]) -> str:
    """Suggest the same name elsewhere, a similar one here, or all known keys."""
    for key in keys:
        if key[-1] == path[-1]:
            where = f"under [{'.'.join(key[:-1])}]" if key[:-1] else "at the top of the file"
            return f"{key[-1]} belongs {where}"
    beside = [key[-1] for key, is_table in keys.items() if key[:-1] == path[:-1] and is_table == table]
    if near := suggest_name(path[-1], beside):
        return f"did you mean {'.'.join((*path[:-1], near))}?"
    known = f"known here are {', '.join(beside)}" if beside else "no table is known here"
    return known if table or path[:-1] else f"{known}; request parameters such as temperature go under [defaults]"


def _value_at(raw: Mapping[str, Any], path: Path) -> Any:
    value: Any = raw
    for part in path:
        value = value[part]
    return value


def _without_none(kind: inspect.Type) -> inspect.Type:
    """Return a type without metadata, and without the `None` of an optional key."""
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            kind = kind.type
        else:
            kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    return kind


def _type_at(kind: inspect.Type, path: Path) -> inspect.Type:
    """Return the type at this path, or that of the nearest known key above it."""
    if not path and (several := _type_choice(kind)):
        return several
    kind = _without_none(kind)
    if not path or not isinstance(kind, inspect.StructType):
        return kind
    return _type_at(next(item.type for item in kind.fields if item.encode_name == path[0]), path[1:])


def _type_choice(kind: inspect.Type) -> inspect.UnionType | None:
    """Return a union of several types without `None`; None for any other type."""
    while isinstance(kind, inspect.Metadata):
        kind = kind.type
    if not isinstance(kind, inspect.UnionType):
        return None
    kinds = tuple(one for one in kind.types if not isinstance(one, inspect.NoneType))
    return inspect.UnionType(kinds) if len(kinds) > 1 else None


def allowed_values(kind: inspect.Type) -> str:
    """Describe what a value may be."""
    match kind:
        case inspect.UnionType(types=kinds):
            return ", or ".join(allowed_values(one) for one in kinds)
        case inspect.IntType():
            return f"a whole number{_allowed_range(kind)}"
        case inspect.FloatType():
            return f"a number{_allowed_range(kind)}"
        case inspect.LiteralType(values=values):
            return " or ".join(f'"{value}"' for value in values)
        case inspect.StrType():
            return f"text in quotes{f' that matches {kind.pattern}' if kind.pattern else ''}"
        case inspect.BoolType():
            return "true or false"
        case inspect.ListType(item_type=inspect.LiteralType(values=values)):
            return "a list of " + ", ".join(f'"{value}"' for value in values)
        case inspect.SetType() | inspect.FrozenSetType() | inspect.ListType():
            return 'a list of texts, such as ["length"]'
        case inspect.DictType(value_type=inspect.StrType()):
            return "a table of texts in quotes"
        case _:
            return "a table"


def _allowed_range(kind: inspect.IntType | inspect.FloatType) -> str:
    above, at_least = ("above", kind.gt), ("from", kind.ge)
    bounds = (above, at_least, ("below", kind.lt), ("to" if kind.ge is not None else "up to", kind.le))
    return "".join(f" {word} {bound:.12g}" for word, bound in bounds if bound is not None)

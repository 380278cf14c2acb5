"""Lists what differs between the settings of two sessions, for a person."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import takewhile
from typing import Any

import orjson

_SHOWN = 80  # characters of a value
_LEAD = 20  # characters before the first that differs


def asked_digest(asked: Mapping[str, Any]) -> str:
    """Return a stable digest of what was asked."""
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def job_differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return lines such as `defaults.temperature: 0.2 -> 0.7`, one for each value that differs."""
    return list(_differences_below("", before, now))


def merge_changes(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body with changes applied; tables are merged, everything else is replaced."""
    result = dict(body)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merge_changes(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _differences_below(prefix: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict | None) and isinstance(new, dict | None):
            yield from _differences_below(f"{prefix}{key}.", old or {}, new or {})
        elif old != new:
            yield f"{prefix}{key}: {' -> '.join(_shorten_both(old, new))}"


def _shorten_both(old: Any, new: Any) -> tuple[str, str]:
    """Return both values, shortened without hiding where they differ."""
    texts = _value_text(old), _value_text(new)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
    skip = max(0, same - _LEAD) if max(map(len, texts)) > _SHOWN else 0
    return _shorten_text(texts[0], skip), _shorten_text(texts[1], skip)


def _value_text(value: Any) -> str:
    return "not set" if value is None else orjson.dumps(value).decode()


def _shorten_text(text: str, skip: int) -> str:
    rest = text[skip:]
    return ("..." if skip else "") + (rest if len(rest) <= _SHOWN else rest[: _SHOWN - 3] + "...")

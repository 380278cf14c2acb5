"""What differs between two askings of the same run, in lines that a person can act on."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import orjson


def asked_digest(asked: Mapping[str, Any]) -> str:
    """A stable digest of what was asked."""
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`defaults.temperature: 0.2 -> 0.7`, one line for each value that differs."""
    return list(_differences("", before, now))


def _differences(prefix: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict) or isinstance(new, dict):
            yield from _differences(f"{prefix}{key}.", old or {}, new or {})
        elif old != new:
            yield f"{prefix}{key}: {_shown(old)} -> {_shown(new)}"


def _shown(value: Any) -> str:
    if value is None:
        return "not set"
    text = orjson.dumps(value).decode()
    return text if len(text) <= 80 else text[:77] + "..."


def merged(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the changes laid over it; tables are merged, everything else is replaced."""
    result = dict(body)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result

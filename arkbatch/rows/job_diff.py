"""What differs between two askings of the same run, in lines that a person can act on."""

from collections.abc import Iterator, Mapping
from hashlib import sha256
from itertools import takewhile
from typing import Any

import orjson

_SHOWN = 80  # characters of a value
_LEAD = 20  # characters before the first that differs


def asked_digest(asked: Mapping[str, Any]) -> str:
    """A stable digest of what was asked."""
    return sha256(orjson.dumps(asked, option=orjson.OPT_SORT_KEYS)).hexdigest()[:16]


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """`defaults.temperature: 0.2 -> 0.7`, one line for each value that differs."""
    return list(_differences("", before, now))


def merged(body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The body with the changes laid over it; tables are merged, everything else is replaced."""
    result = dict(body)
    for key, value in changes.items():
        old = result.get(key)
        result[key] = merged(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return result


def _differences(prefix: str, before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for key in sorted({*before, *now}):
        old, new = before.get(key), now.get(key)
        if isinstance(old, dict | None) and isinstance(new, dict | None):
            yield from _differences(f"{prefix}{key}.", old or {}, new or {})
        elif old != new:
            yield f"{prefix}{key}: {' -> '.join(_shown(old, new))}"


def _shown(old: Any, new: Any) -> tuple[str, str]:
    """Both values; what long ones begin with in common is left out, or they would look the same."""
    texts = _text(old), _text(new)
    same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(*texts, strict=False)))
    skip = max(0, same - _LEAD) if max(map(len, texts)) > _SHOWN else 0
    return _cut(texts[0], skip), _cut(texts[1], skip)


def _text(value: Any) -> str:
    return "not set" if value is None else orjson.dumps(value).decode()


def _cut(text: str, skip: int) -> str:
    rest = text[skip:]
    return ("..." if skip else "") + (rest if len(rest) <= _SHOWN else rest[: _SHOWN - 3] + "...")

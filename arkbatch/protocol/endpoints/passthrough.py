"""Any other path, such as `/rerank`: body and reply stay as they are.

The name of such an endpoint is its path. A reply with a 2xx status and JSON without an error is an answer. Tokens are
counted where the reply counts them, in any form that is known; where it does not, the usage is unknown, not zero.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from arkbatch.core.row import Body, Size
from arkbatch.core.usage import NO_USAGE, Usage
from arkbatch.protocol.endpoints.base import (
    Answer,
    Endpoint,
    Problem,
    narrow_and_wide,
    problem_without_answer,
    text_or_empty,
)
from arkbatch.protocol.endpoints.usage import meters_of_usage

_CEILINGS = ("max_completion_tokens", "max_output_tokens", "max_tokens")
_VERSION = re.compile(r"(?:/[\w.-]+)*?/v\d+(?=/)")  # of `/v1/rerank`, `/api/v3/bots/chat/completions`
_PATH = re.compile(r"(?:/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)+")
PATH = "a path below the base URL, such as /rerank"


def is_path(name: str) -> bool:
    """Whether the name of an endpoint is a path and no name that arkbatch knows."""
    return name.startswith("/")


def problem_of_path(path: str) -> str | None:
    """Return why a path cannot be called, or None. Paths outside of the base URL are refused."""
    if not _PATH.fullmatch(path):
        return f"{path!r} is not {PATH}: no scheme, host, query or empty part is allowed"
    if any(part.replace("%2e", ".").replace("%2E", ".") in {".", ".."} for part in path.split("/")):
        return f"{path!r} is not {PATH}: it leads out of the base URL"
    return None


def path_of_url(url: str) -> str | None:
    """Return the path in the `url` of a batch line, if it begins with a version of an API; else None."""
    version = _VERSION.match(url)
    path = url[version.end() :].rstrip("/") if version else ""
    return path if path and problem_of_path(path) is None else None


def at_path(path: str) -> Endpoint:
    """Return the endpoint of a path that arkbatch does not know."""
    return Endpoint(path, path, "", _problem, _problem, _size, _read)


def _problem(body: Body) -> str | None:
    if body.get("stream"):
        return "stream is true, and only chat and responses are streamed; leave it out"
    return None


def all_texts(value: object) -> Iterator[str]:
    """Yield all texts of a body, at any depth."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from all_texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from all_texts(inner)


def _size(body: Body) -> Size:
    narrow, wide = narrow_and_wide("".join(all_texts(body)))
    ceiling = next((body[name] for name in _CEILINGS if type(body.get(name)) is int), None)
    return Size(narrow, wide, 0, ceiling)


def _read(parsed: object, body: Body | None = None) -> Answer | Problem:  # noqa: ARG001 - the same for all endpoints
    if isinstance(parsed, list):
        return Answer(NO_USAGE)
    if not isinstance(parsed, dict) or parsed.get("error"):
        return problem_without_answer(parsed)
    return Answer(
        _usage_of(parsed),
        text_or_empty(parsed.get("model")),
        text_or_empty(parsed.get("service_tier")),
        _finish_reason(parsed),
    )


def _finish_reason(parsed: Mapping[str, Any]) -> str:
    """Return the finish reason of `/completions` and similar paths, "" if there is none."""
    choices = parsed.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return text_or_empty(first.get("finish_reason")) if isinstance(first, dict) else ""


def _usage_of(parsed: Mapping[str, Any]) -> Usage:
    """Return the counts in `usage`, or in `meta` as in APIs for reranking; `NO_USAGE` if there are none."""
    meta = parsed.get("meta")
    within = meta if isinstance(meta, dict) else {}
    for counts in (parsed.get("usage"), within.get("tokens"), within.get("billed_units")):
        if isinstance(counts, dict) and any(counts.get(name) for name in ("input_tokens", "prompt_tokens")):
            return meters_of_usage(counts)
        if isinstance(counts, dict) and type(total := counts.get("total_tokens")) is int and total > 0:
            return {"input": total, "output": 0}
    units = within.get("billed_units")
    searches = units.get("search_units") if isinstance(units, dict) else None
    return {"search_units": searches} if type(searches) is int and searches > 0 else NO_USAGE


class KnownAndPaths(dict[str, Endpoint]):
    """Endpoints by name; a name that is a path needs no entry."""

    def __init__(self, known: Mapping[str, Endpoint], make: Callable[[str], Endpoint] = at_path) -> None:
        super().__init__(known)
        self._make = make

    def __missing__(self, name: str) -> Endpoint:
        if not is_path(name):
            raise KeyError(name)
        found = self[name] = self._make(name)
        return found

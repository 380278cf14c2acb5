"""`/embeddings/multimodal`: texts, images and videos in, and one vector for all of them together.

Unlike that of `/embeddings`, the `data` of its reply is no list but the one vector, which may have a sparse one
beside it. What images and videos take is counted apart in the usage, because it has a price of its own.
"""

from typing import Any

from arkbatch.core.row import Body, Size
from arkbatch.protocol.endpoints.base import (
    Answer,
    Endpoint,
    Problem,
    lacks_field,
    narrow_and_wide,
    problem_without_answer,
    text_or_empty,
)
from arkbatch.protocol.endpoints.embeddings import is_vector
from arkbatch.protocol.endpoints.parameter_checks import (
    MISTAKEN,
    Check,
    first_problem,
    mapping,
    non_empty_text,
    text,
    whole_number,
    wrong_value,
)
from arkbatch.protocol.endpoints.usage import usage_in

NAME = "multimodal_embeddings"
PARTS = 'a list of parts, such as {"type": "text", "text": ...} or {"type": "image_url", "image_url": {"url": ...}}'


def in_parts(text: str) -> list[dict[str, Any]]:
    """The input that is one text."""
    return [{"type": "text", "text": text}]


def has_parts(body: Body) -> bool:
    """Whether the input of a bare body is of this API's form and not of the other one's."""
    parts = body.get("input")
    return type(parts) is list and bool(parts) and type(parts[0]) is dict


def _check_input(name: str, value: object) -> str | None:
    if type(value) is not list or not value:
        return wrong_value(name, value, PARTS)
    for place, part in enumerate(value):
        reason = _check_part(f"{name}[{place}]", part)
        if reason is not None:
            return reason
    return None


def _check_part(name: str, part: object) -> str | None:
    match part:
        case {"type": "text", "text": str(said)} if said:
            return None
        case {"type": "image_url", "image_url": {"url": str(url)}} if url:
            return None
        case {"type": "video_url", "video_url": {"url": str(url)}} if url:
            return None
        case {"type": "text"}:
            return wrong_value(name, part, "a text that is not empty")
        case {"type": "image_url" | "video_url" as kind}:
            return wrong_value(name, part, f"a part with {kind}, an object with a url")
        case {"type": str()}:
            return None  # one that came later
    return wrong_value(name, part, "a part with a type: text, image_url or video_url")


CHECKS: dict[str, Check] = {
    **MISTAKEN,
    "input": _check_input,
    "model": non_empty_text,
    "encoding_format": text,
    "dimensions": whole_number(1),
    "instructions": text,
    "sparse_embedding": mapping,
}


def problem(body: Body) -> str | None:
    reason = first_problem(body, CHECKS, "input", "model")
    sparse = body.get("sparse_embedding")
    if reason is None and sparse and sparse.get("type") == "enabled" and any(_is_shown(part) for part in body["input"]):
        return "sparse_embedding is enabled; allowed is that for texts alone, and the input shows something"
    return reason


def _is_shown(part: dict[str, Any]) -> bool:
    return bool(part["type"] != "text")


def size(body: Body) -> Size:
    """For a body without a `problem`. An embedding puts out no tokens."""
    parts = body["input"]
    texts = [part["text"] for part in parts if not _is_shown(part)]
    narrow, wide = narrow_and_wide("".join([*texts, body.get("instructions") or ""]))
    return Size(narrow, wide, len(parts) - len(texts), 0)


def read(parsed: object, body: Body | None = None) -> Answer | Problem:  # noqa: ARG001 - the same for all endpoints
    if type(parsed) is not dict or parsed.get("error") is not None:
        return problem_without_answer(parsed)
    usage = usage_in(parsed)
    model, tier = text_or_empty(parsed.get("model")), text_or_empty(parsed.get("service_tier"))
    data = parsed.get("data")
    if type(data) is not dict or not is_vector(data.get("embedding")):
        return Problem("no_data", lacks_field(parsed, "data"), usage, model, tier)
    return Answer(usage, model, tier)


ENDPOINT = Endpoint(NAME, "/embeddings/multimodal", "input", problem, problem, size, read)

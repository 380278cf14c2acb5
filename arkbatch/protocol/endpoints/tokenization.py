"""`/tokenization`: counts the tokens of texts.

Ark alone has it, on the online lane only. It generates nothing, its reply counts no usage, and no price list has a row
for it, so that its rows bill nothing. Only texts can be counted, no images and no messages: what the service puts
around each request is not in the count.
"""

from collections.abc import Sequence

from arkbatch.core.row import Body, Size
from arkbatch.core.usage import NO_USAGE
from arkbatch.protocol.endpoints.base import (
    Answer,
    Endpoint,
    Problem,
    lacks_field,
    narrow_and_wide,
    problem_without_answer,
    text_or_empty,
)
from arkbatch.protocol.endpoints.parameter_checks import (
    MISTAKEN,
    Check,
    first_problem,
    non_empty_text,
    text,
    wrong_value,
)

NAME = "tokenization"
TEXT = "a text or a list of texts, none of them empty"


def _check_texts(name: str, value: object) -> str | None:
    if type(value) is str:
        return None if value else wrong_value(name, value, TEXT)
    if type(value) is list and value and all(type(item) is str and item for item in value):
        return None
    return wrong_value(name, value, TEXT)


CHECKS: dict[str, Check] = {**MISTAKEN, "text": _check_texts, "model": non_empty_text, "user": text}


def problem(body: Body) -> str | None:
    return first_problem(body, CHECKS, "text", "model")


def size(body: Body) -> Size:
    """For a body without a `problem`."""
    narrow, wide = narrow_and_wide("".join(_asked_texts(body)))
    return Size(narrow, wide, 0, 0)


def read(parsed: object, body: Body | None = None) -> Answer | Problem:
    if type(parsed) is not dict or parsed.get("error") is not None:
        return problem_without_answer(parsed)
    found = total_tokens_in(parsed.get("data"))
    if not found:
        return Problem("no_data", lacks_field(parsed, "data"))
    if body is not None and len(found) != len(_asked_texts(body)):
        return Problem("wrong_data", f"{len(found)} of {len(_asked_texts(body))} texts were counted")
    return Answer(NO_USAGE, text_or_empty(parsed.get("model")))


def total_tokens_in(data: object) -> list[int]:
    """The tokens of each text, in the order of the texts; empty when one is missing or there twice."""
    if type(data) is not list or not all(type(item) is dict for item in data):
        return []
    counts = {item.get("index"): item.get("total_tokens") for item in data}
    ordered = [counts.get(index) for index in range(len(data))]
    known = [count for count in ordered if type(count) is int and count >= 0]
    return known if len(known) == len(data) else []


def _asked_texts(body: Body) -> Sequence[str]:
    return [body["text"]] if type(body["text"]) is str else body["text"]


ENDPOINT = Endpoint(NAME, "/tokenization", "text", problem, problem, size, read)

"""The form of an entry of `ENDPOINTS`, and the values that its functions return.

An endpoint is a value with functions in it and no base class: `problem` and `misshapen` look at a request before it is
sent, `size` says how large it is, `read` says what a 200 body means. This module knows no endpoint.
"""

from collections.abc import Callable
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.core.row import Body, Size
from arkbatch.core.usage import NO_USAGE, Usage


class Answer(Struct, frozen=True, gc=False):
    """A 200 body with the shape of an answer. `empty`: nothing in it that a reader could use."""

    usage: Usage
    model: str = ""
    service_tier: str = ""
    finish_reason: str = ""
    empty: bool = False


class Problem(Struct, frozen=True, gc=False):
    """A 200 body that is no answer.

    code: a word of arkbatch; usage: what was billed all the same
    """

    code: str
    message: str
    usage: Usage = NO_USAGE
    model: str = ""
    service_tier: str = ""


class Endpoint(Struct, frozen=True):
    """One API of the service.

    path: below the base URL
    key: the key by which a bare request body is recognised
    problem: why a body cannot be sent to Ark, in one line, or None
    misshapen: why it cannot be sent to any server
    size: how large a request is, for the token estimate
    read: the meaning of a parsed 200 body; with the request body, also whether it answers all of it
    parse: a 200 body for `read`; `orjson.JSONDecodeError` when it is no JSON
    """

    name: str
    path: str
    key: str
    problem: Callable[[Body], str | None]
    misshapen: Callable[[Body], str | None]
    size: Callable[[Body], Size]
    read: Callable[[object, Body | None], Answer | Problem]
    parse: Callable[[bytes], object] = orjson.loads

    def objection_to(self, body: Body, *, at_ark: bool) -> str | None:
        """Return why a body cannot be sent to the server. The ranges that Ark documents hold at Ark alone."""
        return self.problem(body) if at_ark else self.misshapen(body)


def text_or_empty(value: object) -> str:
    """Return a text of the reply, "" for null, absence and other types."""
    return value if type(value) is str else ""


def problem_without_answer(parsed: object) -> Problem:
    """Return the problem of a 200 body that is no object, or one with an error in it."""
    if isinstance(parsed, dict):
        return Problem("error_in_200", "the reply has status 200 and holds an error")
    return Problem("not_object", f"the reply is JSON, but no object: {type(parsed).__name__}")


def lacks_field(parsed: dict[str, Any], name: str) -> str:
    return f"the reply has no usable `{name}`; its keys: {', '.join(parsed) or 'none'}"


def narrow_and_wide(text: str) -> tuple[int, int]:
    """Return how many narrow and wide characters a text has, without a look at each character.

    CPython knows a string's length and whether it is ASCII; encoding it gives the length in UTF-8. A wide character
    (three bytes, as Chinese) adds two bytes to its one, so half of the surplus is the number of wide characters. A
    character of two bytes (Cyrillic, accents) counts as half a wide one, which suits what tokenizers make of it; an
    emoji counts as one and a half.
    """
    characters = len(text)
    if text.isascii():
        return characters, 0
    surplus = len(text.encode("utf-8", "surrogatepass")) - characters
    wide = min(characters, (surplus + 1) // 2)
    return characters - wide, wide

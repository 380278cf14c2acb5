"""Reads JSON that is not quite valid, so that paid answers are kept.

A strict reader goes first and reads nearly all replies. What it refuses is read here: a byte order mark, another
charset, NaN and Infinity (Python servers write them into logprobs), half a surrogate pair (an answer that was cut
inside an emoji), something around the JSON (a gateway's comment), and nesting that is deeper than strict readers read.
What comes out can be written as strict JSON: what no JSON can hold becomes null or U+FFFD, and what is nested too
deeply becomes a marker. If the body cannot be read at all, its usage may still be found.
"""

import json
import re
from itertools import accumulate
from typing import Any

import orjson
from msgspec import Struct

MAX_DEPTH = 240  # of what is kept; strict readers read some 250 levels, and a record wraps the reply in a few
TOO_DEEP = "(nested too deeply to be kept)"
DEEP_NESTING = "deep_nesting"

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SURROGATE = re.compile("[\ud800-\udfff]")
_OPENING = re.compile(r"[\[{]")
_BRACKET_OR_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_TEXT = re.compile(rb'"[^"]*"')
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_USAGE = re.compile(r'"usage"\s*:\s*(?=\{)')
_REPLY_NAMES = {"choices", "data", "error", "output", "usage"}
_MAX_STARTS = 5  # places at which a JSON value may begin behind other text


class Reread(Struct, frozen=True, gc=False):
    """What a body says, and what was odd about it in a word for the log."""

    value: Any
    oddity: str


def read_leniently(body: bytes, content_type: str = "") -> Reread | None:
    """Return an object or a list that the body holds, None when there is none."""
    text, oddity = _decode_text(body, content_type)
    text, was_deep = cut_nesting(text)
    oddity = DEEP_NESTING if was_deep else oddity
    for start in _possible_starts(text):
        try:
            value, end = _DECODER.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        has_text_before = bool(text[:start].strip())
        if has_text_before and not (isinstance(value, dict) and value.keys() & _REPLY_NAMES):
            continue  # the script of a web page, for instance
        if has_text_before or text[end:].strip():
            oddity = oddity or "text_around_json"
        return Reread(storable_value(value), oddity or "odd_json")
    return None


def loads_leniently(data: bytes) -> Any:
    """Read strict JSON, or else the same with NaN, Infinity and halves of surrogate pairs in it.

    Halves of pairs stay in the texts, so that whoever puts pieces together can join them. What is nested too deeply
    becomes a marker. ValueError: it is no JSON.
    """
    if len(data) > 2 * MAX_DEPTH and count_openings(data) > MAX_DEPTH:
        data = cut_nesting(data.decode("utf-8", "replace"))[0].encode()
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        try:
            return json.loads(data.decode("utf-8", "replace"), parse_int=_whole_number)
        except RecursionError as error:
            raise ValueError("it is nested too deeply") from error


def json_lines(body: bytes) -> list[Any] | None:
    """Return the values of a body with one JSON value a line, None when it is something else."""
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) < 2 or not all(line.startswith(b"{") for line in lines):
        return None
    try:
        return [loads_leniently(line) for line in lines]
    except ValueError:
        return None


def usage_in_unreadable(body: bytes) -> dict[str, Any] | None:
    """Return the last usage object in a body that is no JSON, None when there is none."""
    text = body.decode("utf-8", "replace")
    for found in reversed(list(_USAGE.finditer(text))):
        try:
            usage, _ = _DECODER.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(usage, dict):
            return usage
    return None


def join_surrogates(text: str) -> str:
    """Return a text with halves of surrogate pairs joined; a half that is alone becomes U+FFFD."""
    if text.isascii() or _SURROGATE.search(text) is None:
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _decode_text(body: bytes, content_type: str) -> tuple[str, str]:
    """Return the text of a body, and what is odd about its bytes."""
    if body.startswith(b"\xef\xbb\xbf"):
        return body.decode("utf-8-sig", "replace"), "byte_order_mark"
    if body.startswith(_UTF_16):
        return body.decode("utf-16", "replace"), "utf-16"
    named = _CHARSET.search(content_type)
    charset = named.group(1).lower() if named else ""
    try:
        return body.decode("utf-8"), ""
    except UnicodeDecodeError:
        pass
    if charset not in ("", "utf-8", "utf8"):
        try:
            return body.decode(charset, "replace"), "charset"
        except (LookupError, UnicodeError):
            pass
    return body.decode("utf-8", "replace"), "bad_bytes"


def _possible_starts(text: str) -> list[int]:
    starts = []
    for found in _OPENING.finditer(text):
        starts.append(found.start())
        if len(starts) == _MAX_STARTS:
            break
    return starts


def count_openings(text: bytes) -> int:
    """Return how many brackets and braces open. A replacement finds them nine times as fast as `count` does."""
    return 2 * len(text) - len(text.replace(b"[", b"")) - len(text.replace(b"{", b""))


def nesting_depth(body: bytes) -> int:
    """Return how many levels a body of strict JSON is nested, without building its values."""
    without_escapes = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    brackets = _TEXT.sub(b"", without_escapes.translate(None, _NEITHER_BRACKET_NOR_QUOTE))
    return max(accumulate(1 if sign in b"[{" else -1 for sign in brackets), default=0)


def cut_nesting(text: str) -> tuple[str, bool]:
    """Return the text with a marker in the place of each value that is nested too deeply."""
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return text, False
    parts: list[str] = []
    depth, kept_to = 0, 0
    for token in _BRACKET_OR_TEXT.finditer(text):
        sign = token.group()
        if sign in "[{":
            depth += 1
            if depth == MAX_DEPTH + 1:
                parts.append(text[kept_to : token.start()])
                parts.append(f'"{TOO_DEEP}"')
        elif sign in "]}":
            if depth == MAX_DEPTH + 1:
                kept_to = token.end()
            depth = max(0, depth - 1)
    if not parts:
        return text, False
    return "".join(parts) + (text[kept_to:] if depth <= MAX_DEPTH else ""), True


def dumps_strictly(value: Any) -> bytes:
    """Write strict JSON, also of a value with halves of surrogate pairs in it."""
    try:
        return orjson.dumps(value)
    except TypeError:
        return orjson.dumps(storable_value(value))


def storable_value(value: Any) -> Any:
    """Return a value that strict JSON can hold."""
    if type(value) is str:
        return join_surrogates(value)
    if type(value) is dict:
        return {join_surrogates(name): storable_value(each) for name, each in value.items()}
    if type(value) is list:
        return [storable_value(each) for each in value]
    if type(value) is float and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124 - NaN
        return None
    return value


def _whole_number(digits: str) -> int | float:
    """Return a number; one beyond 64 bits becomes a float, as the strict reader makes it."""
    if len(digits) < 19:
        return int(digits)
    number = float(digits)
    if abs(number) < 2.0**63:
        return int(digits)
    return number


_DECODER = json.JSONDecoder(parse_int=_whole_number, strict=False)

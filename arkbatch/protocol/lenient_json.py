"""Reads JSON that is not quite valid, so that paid answers are kept.

A strict reader goes first and reads nearly all replies. What it refuses is read here: a byte order mark, another
charset, NaN and Infinity (Python servers write them into logprobs), half a surrogate pair (an answer that was cut
inside an emoji), something around the JSON (a gateway's comment), commas and backslashes where none may stand, JSON as
a text in JSON, and nesting that is deeper than strict readers read. A body that was cut off behind its choices or data
has all that was asked for. What comes out can be written as strict JSON: what no JSON can hold becomes null or U+FFFD,
and what is nested too deeply becomes a marker. If the body cannot be read at all, its usage may still be found.
"""

import json
import re
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.core.json_numbers import NOT_STRICT, dumps_as_written, finite_float, finite_int, loads_finite

MAX_DEPTH = 240  # of what is kept; strict readers read some 250 levels, and a record wraps the reply in a few
TOO_DEEP = "(nested too deeply to be kept)"
DEEP_NESTING = "deep_nesting"
CUT_OFF = "cut_off"

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]+)", re.IGNORECASE)
_SURROGATE = re.compile("[\ud800-\udfff]")
_OPENING = re.compile(r"[\[{]")
_BRACKET_OR_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_TEXT = re.compile(rb'"[^"]*"')
_NEITHER_BRACKET_NOR_QUOTE = bytes(set(range(256)) - set(b'[]{}"'))
_USAGE = re.compile(r'"usage"\s*:\s*(?=\{)')
_REPLY_NAMES = {"choices", "data", "error", "output", "usage"}
_MAX_STARTS = 5  # places at which a JSON value may begin behind other text
_CLOSING_COMMA = re.compile(r",\s*[\]}]")
_BAD_ESCAPE = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|(?=.))', re.DOTALL)
_TEXT_OR_COMMA = re.compile(r'"(?:[^"\\]|\\.)*"|,\s*(?=[\]}])', re.DOTALL)
_MAX_GAP = 100  # characters between a value and what follows it
_MEMBER_NAME = re.compile(r'\s*,?\s*"([^"\\]{1,80})"\s*:\s*')


class Reread(Struct, frozen=True, gc=False):
    """What a body says, what was odd about it in a word for the log, and the same as strict JSON."""

    value: Any
    oddity: str
    body: bytes


def read_leniently(body: bytes, content_type: str = "") -> Reread | None:
    """Return an object or a list that the body holds, None when there is none."""
    text, oddity = _decode_text(body, content_type)
    text, was_deep = cut_nesting(text)
    oddity = DEEP_NESTING if was_deep else oddity
    found = _read_text(text)
    if found is None and (repaired := _repair(text)) != text:
        found = _read_text(repaired)
    if found is None and (members := _members_before_cut(text)) is not None:
        found = members, CUT_OFF
    return None if found is None else reread_value(found[0], oddity or found[1])


def reread_value(value: Any, oddity: str) -> Reread:
    """Return a value as it is read from the strict JSON that it makes."""
    body = dumps_strictly(value)
    return Reread(orjson.loads(body), oddity, body)


def _read_text(text: str) -> tuple[Any, str] | None:
    """Return the first value that looks like a reply, or else one that nothing stands before, and its oddity."""
    first: tuple[Any, str] | None = None
    for start, value, end in _values_in(text):
        has_text_before, has_text_behind = bool(text[:start].strip()), bool(text[end:].strip())
        found = value, "text_around_json" if has_text_before or has_text_behind else "odd_json"
        if isinstance(value, dict) and value.keys() & _REPLY_NAMES:
            return found
        if not has_text_before:
            first = found  # a line of a log, if a reply follows; what follows other text is the script of a web page
    return first


def _values_in(text: str) -> Iterator[tuple[int, Any, int]]:
    """Yield the first values in a text, none inside another, with the places of their beginning and end."""
    at = 0
    for _ in range(_MAX_STARTS):
        opening = _OPENING.search(text, at)
        if opening is None:
            return
        try:
            value, at = _DECODER.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            at = opening.end()
        else:
            yield opening.start(), value, at


def _repair(text: str) -> str:
    """Return the text without commas before a closing bracket and without backslashes that escape nothing."""
    if not _CLOSING_COMMA.search(text) and not _BAD_ESCAPE.search(text):
        return text
    return _TEXT_OR_COMMA.sub(_repair_token, text)


def _repair_token(token: re.Match[str]) -> str:
    said = token.group()
    if said[0] != '"':
        return said[1:]
    return _BAD_ESCAPE.sub(lambda found: found.group() if found.group(1) else "\\" + found.group(), said)


def _members_before_cut(text: str) -> dict[str, Any] | None:
    """Return the members of an object that was cut off, None unless its choices or data are whole among them."""
    start = text.find("{")
    if start < 0 or text[:start].strip():
        return None
    members = _whole_members(text, start + 1)
    return members if isinstance(members.get("choices") or members.get("data"), list) else None


def _whole_members(text: str, at: int) -> dict[str, Any]:
    """Return the members from a place on whose ends are there; of a usage also those of its own."""
    members: dict[str, Any] = {}
    while (name := _MEMBER_NAME.match(text, at)) is not None:
        try:
            value, at = _DECODER.raw_decode(text, name.end())
        except (ValueError, RecursionError):
            if name[1] == "usage" and text[name.end() : name.end() + 1] == "{":
                usage = _whole_members(text, name.end() + 1)
                # One count alone would be a bill that leaves out the rest; of input, output and total two tell all.
                if sum(type(count) is int for count in usage.values()) >= 2:
                    members["usage"] = usage
            break
        if not isinstance(value, dict | list | str) and text[at : at + _MAX_GAP].lstrip()[:1] not in (",", "}"):
            break  # the rest of a number may be missing
        members[name[1]] = value
    return members


def is_cut_behind_answer(body: bytes) -> bool:
    """Whether a body that was cut off has its choices or data whole."""
    return _members_before_cut(body.decode("utf-8", "replace")) is not None


def text_holding_json(parsed: object) -> Any:
    """Return what a JSON text holds, if that is JSON again; else None."""
    if not isinstance(parsed, str) or parsed.lstrip()[:1] not in ("{", "["):
        return None
    try:
        return orjson.loads(parsed)
    except ValueError:
        return None


def loads_leniently(data: bytes) -> Any:
    """Read strict JSON, or else the same with NaN, Infinity and halves of surrogate pairs in it.

    Halves of pairs stay in the texts, so that whoever puts pieces together can join them. What is nested too deeply
    becomes a marker. ValueError: it is no JSON.
    """
    if len(data) > 2 * MAX_DEPTH and count_openings(data) > MAX_DEPTH:
        data = cut_nesting(data.decode("utf-8", "replace"))[0].encode()
    try:
        return loads_finite(data)
    except NOT_STRICT:
        try:
            return _DECODER.decode(data.decode("utf-8", "replace"))
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
    wide = json.detect_encoding(body)  # by the zeros among its first bytes
    if wide != "utf-8":
        return body.decode(wide, "replace"), wide
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
        return dumps_as_written(value)
    except TypeError:
        return dumps_as_written(storable_value(value))


def storable_value(value: Any) -> Any:
    """Return a value that strict JSON can hold."""
    if type(value) is str:
        return join_surrogates(value)
    if type(value) is dict:
        return {join_surrogates(name): storable_value(each) for name, each in value.items()}
    if type(value) is list:
        return [storable_value(each) for each in value]
    return value  # NaN and infinity are written as null


_DECODER = json.JSONDecoder(parse_int=finite_int, parse_float=finite_float, strict=False)

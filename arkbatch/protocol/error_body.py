"""Reads what went wrong from an error body, in whatever shape the service writes it.

Known shapes: Ark's and OpenAI's `{"error": {"code", "message", "type"}}`, the same without the envelope or in a list
(Gemini), MiniMax's `base_resp`, Tencent Cloud's `Response.Error`, Baidu's `error_code` and `error_msg`, Ark's control
plane (`ResponseMetadata.Error`), FastAPI's `detail`, texts, and the HTML of a gateway. `error_rules` decides what the
words mean. A message is one line, shortened, and without anything that looks like a key.
"""

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.protocol.lenient_json import read_leniently

MAX_MESSAGE_CHARACTERS = 500
READ_BYTES = 4096  # of a body that is no JSON
_MAX_DEPTH = 4  # of errors that quote errors

_MARKUP = re.compile(r"<(script|style|title)\b.*?(?:</\1\s*>|$)|<[^>]*>?", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
# Ark's keys are UUIDs, OpenAI's begin with sk-, access keys of Volcengine with AKLT or AKTP, signed tokens with eyJ.
_KEY = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\bsk-[\w*.-]{8,}|\bAK(?:LT|TP)[\w=+/-]{8,}|\beyJ[\w.=-]{16,}|(?<=Bearer )\S+",
    re.IGNORECASE,
)
_MESSAGE_NAMES = ("message", "Message", "msg", "err", "error_msg", "status_msg", "detail", "errorMessage")
_CODE_NAMES = ("code", "Code", "error_code", "status_code")
_ENVELOPES_IN_ENVELOPES = (("ResponseMetadata", "Error"), ("Response", "Error"), ("response", "error"))
_CAMEL_CASE = re.compile(r"(?<=[a-z])(?=[A-Z])")
_RAW = ("raw", "provider_error")  # where OpenRouter quotes the provider
_PROVIDER_SAYS = "the provider says"


class Complaint(Struct, frozen=True, gc=False):
    """An error in the service's own words.

    code, type: "" when it gave none; a number that is no HTTP status is a code as well
    status: an HTTP status that it gave as code
    words: further words that classify the error, such as OpenRouter's `error_type` or Gemini's `reason`
    is_page: it came as HTML, so it is rather of a proxy or a firewall than of the service
    is_moderation: it names what was flagged
    is_bad_sample: it quotes what the model made wrongly
    wait: how long to wait, in the words of a field for that
    """

    message: str
    code: str = ""
    type: str = ""
    status: int | None = None
    words: str = ""
    is_page: bool = False
    is_moderation: bool = False
    is_bad_sample: bool = False
    wait: str = ""


def read_complaint(body: bytes) -> Complaint:
    """Return the error of the body of a reply that is no success."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        beginning = body[:READ_BYTES].lower()
        is_page = b"<html" in beginning or b"<!doctype" in beginning
        reread = None if is_page else read_leniently(body)
        if reread is None:
            return Complaint(one_line(plain_text(body)), is_page=is_page)
        parsed = reread.value
    return complaint_in(parsed) or Complaint(one_line(plain_text(body)))


def complaint_in(parsed: object) -> Complaint | None:
    """Return the error that a JSON value tells of, None when there is none in it."""
    if isinstance(parsed, list) and parsed:  # Gemini
        return complaint_in(parsed[0])
    if isinstance(parsed, str) and parsed:
        return Complaint(one_line(parsed))
    if not isinstance(parsed, dict):
        return None
    for envelope in _possible_envelopes(parsed):
        if isinstance(envelope, str) and envelope:
            return _of_error({**parsed, "message": _text_in(parsed) or envelope})
        if isinstance(envelope, dict) and envelope and (said := _of_error(envelope, parsed)) is not None:
            return said
    return _of_error(parsed)


def _possible_envelopes(parsed: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what may hold the error."""
    for name in ("error", "errors"):
        value = parsed.get(name)
        yield value[0] if isinstance(value, list) and value else value
    for outer, inner in _ENVELOPES_IN_ENVELOPES:
        if isinstance(holder := parsed.get(outer), dict):
            yield holder.get(inner)
    yield from (parsed.get(name) for name in ("base_resp", "header"))


def error_in_success(parsed: dict[str, Any]) -> Complaint | None:
    """Return the error in a body that came with a status of success; None: there is none.

    `"error": null`, a `base_resp` with status 0 and `"code": 200` stand beside good answers.
    """
    if parsed.get("error") or parsed.get("errors"):
        return complaint_in(parsed) or Complaint("")
    if "base_resp" in parsed and _is_failing(parsed["base_resp"]):
        return complaint_in(parsed)
    if isinstance(response := parsed.get("Response"), dict) and response.get("Error"):
        return complaint_in(parsed)
    choices = parsed.get("choices")
    if not choices and not parsed.get("data") and not parsed.get("output"):
        code = parsed.get("error_code", parsed.get("code"))
        if code not in (None, 0, 200, "0", "200", "") or parsed.get("object") == "error":
            return complaint_in(parsed)
    if type(choices) is list:
        for choice in choices:
            if type(choice) is dict and (error := choice.get("error")):
                return complaint_in({"error": error})
    return None


def _is_failing(base_resp: object) -> bool:
    return isinstance(base_resp, dict) and base_resp.get("status_code") not in (None, 0, "0")


def _of_error(error: Mapping[str, Any], around: Mapping[str, Any] | None = None) -> Complaint | None:
    code = next((error[name] for name in _CODE_NAMES if error.get(name)), None)
    message = _text_in(error)
    if not code and not message:
        return None
    message = message or _text_in(around or {})
    metadata = error.get("metadata")
    details = metadata if isinstance(metadata, dict) else {}
    status, word = _status_and_word(code)
    return Complaint(
        one_line(_with_providers_words(message or str(code), error, details)),
        word,
        _word_or_empty(error.get("type")),
        status,
        words=" ".join(_further_words(error, details, around or {})),
        is_moderation=bool(details.get("reasons") or details.get("flagged_input") or details.get("patterns")),
        is_bad_sample=error.get("failed_generation") is not None,
        wait=_wait_text(error, details, around or {}),
    )


def _text_in(error: Mapping[str, Any]) -> str:
    for name in _MESSAGE_NAMES:
        value = error.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict | list) and value:
            return orjson.dumps(value, default=str).decode()
    return ""


def _with_providers_words(message: str, error: Mapping[str, Any], metadata: Mapping[str, Any]) -> str:
    """Append what the provider behind a gateway said: the gateway's own words often say nothing."""
    raw = next((value for name in _RAW if (value := metadata.get(name) or error.get(name))), None)
    if raw is None and isinstance(inner := error.get("innererror"), dict):
        raw = _text_in(inner) or _word_or_empty(inner.get("code"))
    said = _quoted_message(raw)
    return f"{message} ({_PROVIDER_SAYS}: {said})" if said and said not in message else message


def _quoted_message(raw: object, depth: int = 0) -> str:
    """Return the message in what a gateway quotes: a text, JSON as text, or an object."""
    if isinstance(raw, str):
        try:
            parsed = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return raw
        return _quoted_message(parsed, depth + 1) if isinstance(parsed, dict | list) and depth < _MAX_DEPTH else raw
    said = complaint_in(raw)
    return said.message if said is not None else ""


def _further_words(error: Mapping[str, Any], metadata: Mapping[str, Any], around: Mapping[str, Any]) -> list[str]:
    """Return the words beside message, code and type by which providers classify an error."""
    places = (error, metadata, around)
    words = [
        _word_or_empty(place.get(name)) for place in places for name in ("error_type", "limit_source", "provider_code")
    ]
    words.append(_word_or_empty(error.get("status")))
    inner = error.get("innererror")
    if isinstance(inner, dict):
        words.append(_word_or_empty(inner.get("code")))
    if around.get("contentFilter") or error.get("contentFilter"):
        words.append("contentFilter")
    words += [_word_or_empty(detail.get("reason")) for detail in _details_in(error)]
    words += [
        _CAMEL_CASE.sub(" ", _word_or_empty(each.get("quotaId")))
        for detail in _details_in(error)
        if isinstance(violations := detail.get("violations"), list)
        for each in violations
        if isinstance(each, dict)
    ]
    return [word for word in words if word]


def _wait_text(error: Mapping[str, Any], metadata: Mapping[str, Any], around: Mapping[str, Any]) -> str:
    """Return what a field says of the time to wait: Gemini's `retryDelay`, OpenRouter's `resets_at`."""
    delays = [detail.get("retryDelay") for detail in _details_in(error)]
    headers = metadata.get("headers")
    if isinstance(headers, dict):
        delays += [value for name, value in headers.items() if name.lower() in ("retry-after", "x-ratelimit-reset")]
    delays += [place.get(name) for place in (error, metadata, around) for name in ("retry_after", "resets_at")]
    return next((str(delay) for delay in delays if isinstance(delay, str | int | float) and delay), "")


def _details_in(error: Mapping[str, Any]) -> list[dict[str, Any]]:
    details = error.get("details")
    return [each for each in details if isinstance(each, dict)] if isinstance(details, list) else []


def _word_or_empty(value: object) -> str:
    return value[:MAX_MESSAGE_CHARACTERS] if isinstance(value, str) else ""


def _status_and_word(code: object) -> tuple[int | None, str]:
    """Return a code as HTTP status or as a word: some services put the status where the code belongs."""
    if isinstance(code, float) and code.is_integer() and abs(code) < 1e9:
        code = int(code)
    if isinstance(code, str) and code.isascii() and code.isdecimal() and len(code) < 10:
        code = int(code)
    if isinstance(code, int) and not isinstance(code, bool):
        return (code, "") if 300 <= code < 600 else (None, str(code)[:MAX_MESSAGE_CHARACTERS])
    return None, _word_or_empty(code)


def plain_text(body: bytes) -> str:
    """Return a page's title, or else its text."""
    text = body[:READ_BYTES].decode("utf-8", "replace").strip()
    title = _TITLE.search(text)
    stripped = title.group(1) if title else _MARKUP.sub(" ", text)
    return html.unescape(stripped).strip()


def one_line(text: str) -> str:
    """Return a text on one line, shortened, without keys and without what no file can hold."""
    text = _KEY.sub("***", " ".join(text[: 4 * READ_BYTES].split()))
    if not text.isascii():
        text = text.encode("utf-8", "replace").decode("utf-8", "replace")  # half a surrogate pair
    return text if len(text) <= MAX_MESSAGE_CHARACTERS else text[: MAX_MESSAGE_CHARACTERS - 1] + "…"

"""What a service says went wrong, out of whatever shape it says it in.

Known shapes: Ark's and OpenAI's `{"error": {"code", "message", "type"}}`, the same without the envelope, Ark's
control plane (`ResponseMetadata.Error`), FastAPI's `detail`, and the HTML or plain text of a gateway. What the
words mean is for `rules`. A message is one line, shortened, and without anything that looks like a key.
"""

import html
import re

import orjson
from msgspec import Struct

LONGEST = 500  # characters of a message that are kept
READ = 4096  # bytes of a body that is no JSON which are looked at

_MARKUP = re.compile(r"<(script|style|title)\b.*?(?:</\1\s*>|$)|<[^>]*>?", re.IGNORECASE | re.DOTALL)
_TITLE = re.compile(r"<title[^>]*>(.*?)</title", re.IGNORECASE | re.DOTALL)
# Ark's keys are UUIDs, OpenAI's begin with sk-, access keys of Volcengine with AKLT or AKTP, signed tokens with eyJ.
_KEY = re.compile(
    r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"
    r"|\bsk-[\w*.-]{8,}|\bAK(?:LT|TP)[\w=+/-]{8,}|\beyJ[\w.=-]{16,}|(?<=Bearer )\S+",
    re.IGNORECASE,
)


class Complaint(Struct, frozen=True, gc=False):
    """`code` and `type` are the service's own words, empty when it gave none; `status` a number it gave as code."""

    message: str
    code: str = ""
    type: str = ""
    status: int | None = None


def complaint(body: bytes) -> Complaint:
    """Of the body of an answer that is no success."""
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Complaint(one_line(plain_text(body)))
    return of_json(parsed) or Complaint(one_line(plain_text(body)))


def of_json(parsed: object) -> Complaint | None:
    """None when there is no error in it."""
    if not isinstance(parsed, dict):
        return None
    error = parsed.get("error")
    if isinstance(error, str) and error:
        return _of_error({**parsed, "message": parsed.get("message") or error})
    metadata = parsed.get("ResponseMetadata")
    if isinstance(metadata, dict):
        error = metadata.get("Error")
    return _of_error(error if isinstance(error, dict) else parsed)


def _of_error(error: dict[str, object]) -> Complaint | None:
    code = error.get("code") or error.get("Code")
    message = error.get("message") or error.get("Message") or error.get("detail")
    if not code and not message:
        return None
    text = message if isinstance(message, str) else orjson.dumps(message).decode() if message else str(code)
    status = _status(code)
    word = code if isinstance(code, str) and status is None else ""
    kind = error.get("type")
    return Complaint(one_line(text), word, kind if isinstance(kind, str) else "", status)


def _status(code: object) -> int | None:
    """Some services put the HTTP status where the code belongs, as a number or as a text."""
    if isinstance(code, str) and code.isdecimal():
        code = int(code)
    return code if isinstance(code, int) and 300 <= code < 600 else None


def plain_text(body: bytes) -> str:
    """A page's title, or else its text."""
    text = body[:READ].decode("utf-8", "replace").strip()
    title = _TITLE.search(text)
    stripped = title.group(1) if title else _MARKUP.sub(" ", text)
    return html.unescape(stripped).strip()


def one_line(text: str) -> str:
    text = _KEY.sub("***", " ".join(text.split()))
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"

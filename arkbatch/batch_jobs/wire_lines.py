"""A row as a line of a batch file, and the lines that come back.

A line has an id of arkbatch's own (`ROW-DIGEST-PARCEL`), made of letters, digits and dashes that every provider takes.
The user's `custom_id` stays at home: it may be doubled, empty or too long. The digest tells whether the row is still
the one that was sent.
"""

import re
from typing import Any

import msgspec
import orjson
from msgspec import Raw, Struct

from arkbatch.batch_jobs.provider_forms import Form
from arkbatch.core.json_numbers import NOT_STRICT, dumps_as_written, loads_strict
from arkbatch.core.row import Row
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.lenient_json import read_leniently

_DIGEST = 8
_WIRE_ID = re.compile(r"(\d+)-([0-9a-f]{8})-(\d+)")

_ANSWER_KEYS = {"choices", "output", "data", "results", "usage"}  # of a reply that stands where its wrapping should
EXPIRED, CANCELLED = "batch_expired", "batch_cancelled"


class WireId(Struct, frozen=True, gc=False):
    """The row, the beginning of its digest, and the parcel that a line belongs to."""

    row: int
    digest: str
    parcel: int

    def __str__(self) -> str:
        return f"{self.row}-{self.digest}-{self.parcel}"


def wire_id(row: Row, parcel: int) -> WireId:
    return WireId(row.number, row.digest[:_DIGEST], parcel)


def read_wire_id(text: object) -> WireId | None:
    """None: the id is none of arkbatch's."""
    found = _WIRE_ID.fullmatch(text) if isinstance(text, str) else None
    return WireId(int(found[1]), found[2], int(found[3])) if found else None


def url_of(endpoint: str, form: Form) -> str:
    """The `url` of a line: the path with the version in front, as the form spells it."""
    return form.url + ENDPOINTS[endpoint].path


def encode_line(row: Row, parcel: int, form: Form) -> bytes:
    """One line of a batch file, with its newline."""
    body = {name: value for name, value in row.body.items() if not (form.no_model and name == "model")}
    line: dict[str, Any] = {"custom_id": str(wire_id(row, parcel))}
    if not form.bare_lines:
        line |= {"method": "POST", "url": url_of(row.endpoint, form)}
    return dumps_as_written({**line, "body": body}) + b"\n"


def with_parcel(line: bytes, row: Row, parcel: int) -> bytes:
    """The line with the number of the parcel that it goes into now. Nothing else in it changes."""
    beginning, separator, rest = line.partition(b'",')
    assert beginning.startswith(b'{"custom_id":"')
    return b'{"custom_id":"' + str(wire_id(row, parcel)).encode() + separator + rest


def objection_to(row: Row, form: Form) -> str | None:
    """Why a row cannot travel in a batch file of this form, or None."""
    if row.body.get("stream"):
        return "stream is true, and batch files are not streamed: leave it out"
    if form.endpoints and row.endpoint not in form.endpoints:
        return f"{row.endpoint} is not offered in batch files of {form.name}"
    if not form.data_urls and b'"data:' in orjson.dumps(row.body):
        return f"images and videos stand in the row itself, and {form.name} takes them only as addresses of TOS"
    return None


def is_request_line(line: bytes) -> bool:
    """Whether a line is one of a file that was sent, and not one of what came back."""
    parsed = _parsed_line(line)
    has_body = isinstance(parsed, dict) and isinstance(parsed.get("body"), dict)
    return has_body and not {"response", "error"} & parsed.keys()


class OutputLine(Struct, frozen=True, gc=False):
    """What one line of an output or error file says.

    status: of the reply, 0 when there was none; body: of the reply, as JSON; code, message: of an error without a reply
    """

    custom_id: str
    id: str
    status: int
    body: bytes
    request_id: str = ""
    code: str = ""
    message: str = ""

    @property
    def is_unsent(self) -> bool:
        """The batch ended before the line was worked on, so that nothing was billed for it."""
        return not self.status and self.code in {EXPIRED, CANCELLED}


def read_output_line(line: bytes) -> OutputLine | None:
    """None: it is no line of an output file, such as a last line that was cut off."""
    try:
        found = _decode_line(line)
        if found.response is not None and bytes(found.response.body)[:1] == b'"':
            return _read_odd_line(line)
    except (msgspec.DecodeError, RecursionError):
        return _read_odd_line(line)
    response, given = found.response, found.id
    if response is None or (body := bytes(response.body)) == b"null":
        is_plain = response is None or found.error is not None
        return _line_without_reply(str(found.custom_id), given, found.error) if is_plain else _read_odd_line(line)
    status, request_id = response.status_code, response.request_id
    if type(status) is not int or not 100 <= status < 600:
        return _read_odd_line(line)
    return OutputLine(str(found.custom_id), _text_or_empty(given), status, body, _text_or_empty(request_id))


def read_line_id(line: bytes) -> str | None:
    """The `custom_id` of an output line, for far less than reading it all. None: it is no such line."""
    try:
        return str(_decode_id(line).custom_id)
    except (msgspec.DecodeError, RecursionError):
        found = _read_odd_line(line)
        return found.custom_id if found is not None else None


class _LineId(Struct):
    custom_id: str | int


class _LineReply(Struct):
    status_code: Any = None
    request_id: Any = None
    body: Raw = Raw(b"null")


class _PlainLine(Struct):
    """A line as nearly all are. Its body is not read before it is judged, as the body of an online reply is."""

    custom_id: str | int
    id: Any = None
    response: _LineReply | None = None
    error: Any = None


_decode_line = msgspec.json.Decoder(_PlainLine).decode
_decode_id = msgspec.json.Decoder(_LineId).decode


def _text_or_empty(value: object) -> str:
    return value if isinstance(value, str) else ""


def _line_without_reply(custom_id: str, given: object, error: object) -> OutputLine:
    said = error if isinstance(error, dict) else {"message": error} if isinstance(error, str) else {}
    code, message = said.get("code"), said.get("message")
    return OutputLine(custom_id, _text_or_empty(given), 0, b"", "", str(code or ""), str(message or ""))


def _read_odd_line(line: bytes) -> OutputLine | None:
    """Read a line that is not quite JSON, or whose fields have other types or no status."""
    parsed = _parsed_line(line)
    custom_id = parsed.get("custom_id") if isinstance(parsed, dict) else None
    if type(custom_id) not in {str, int}:
        return None
    custom_id = str(custom_id)
    response = parsed.get("response")
    body = _body_in(response)
    if not isinstance(response, dict) or body is None:
        return _line_without_reply(custom_id, parsed.get("id"), parsed.get("error"))
    status = response.get("status_code")
    if type(status) is not int or not 100 <= status < 600:
        status = _status_of(body)
    return OutputLine(
        custom_id,
        _text_or_empty(parsed.get("id")),
        status,
        dumps_as_written(body),
        _text_or_empty(response.get("request_id")),
    )


def _body_in(response: object) -> object:
    """The body of a reply: under `body`, as JSON or as a text of JSON, or the reply itself. None: there is none."""
    if not isinstance(response, dict):
        return None
    body = response.get("body")
    if isinstance(body, str):
        read = _parsed_line(body.encode("utf-8", "replace"))
        return read if isinstance(read, dict | list) else body
    if body is None and _ANSWER_KEYS & response.keys():
        return response
    return body


def _parsed_line(line: bytes) -> Any:
    """A line as JSON, also one that is not quite JSON, as batch runners in Python write it; None: it is none."""
    try:
        return loads_strict(line)
    except NOT_STRICT:
        reread = read_leniently(line)
        return loads_strict(reread.body) if reread else None


def _status_of(body: object) -> int:
    """Of a reply whose line says no status, or 0, beside a body."""
    is_error = not isinstance(body, dict | list) or (isinstance(body, dict) and body.get("error") is not None)
    return 500 if is_error else 200

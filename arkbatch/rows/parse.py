"""Parses one input record into a `Row`, or a `BadRow` that says why it cannot be sent.

It reads Ark's `{"custom_id", "body"}`, OpenAI's form with `method` and `url`, a bare request body, the short forms
`{"prompt"}` and `{"input"}`, any columns through a template, and arkbatch's own failure lines. What a row leaves out is
filled from the job's defaults. `body` passes unchanged; of a bare row only content and parameters of the API are sent,
and no other columns.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.core.job import Job
from arkbatch.core.json_numbers import dumps_as_written, with_written_numbers
from arkbatch.core.types import BadRow, Body, Row
from arkbatch.protocol.endpoints import ENDPOINTS, by_body, by_url, multimodal, passthrough, responses, tokenization
from arkbatch.protocol.endpoints.batch_lane import LANE, batch_name, online_name, wrong_lane
from arkbatch.protocol.endpoints.parameter_checks import MISTAKEN
from arkbatch.protocol.endpoints.parameter_names import (
    TEXT_PARAMETERS,
    is_parameter,
    known_parameters,
    parameters_among,
)
from arkbatch.protocol.lenient_json import count_openings
from arkbatch.protocol.media import file_names
from arkbatch.rows.cells import digest_of_cells, id_of, is_empty
from arkbatch.rows.input_file import Unreadable
from arkbatch.rows.template_rows import TALKS, TemplateRows, about_text, shown_names

_DEEPEST = 250  # braces within braces; orjson reads 1,024 and writes 254
_NO_MODEL = "no model: give one in the row, in the job file (model), or with --model"
_NO_DIRECTORY = "a file is read only if you name its directory: give --images DIR, or images in the job file"
_TEXT_KEPT = 2_000  # characters of a bad line, for the person who corrects it
_EXCLUSIVE = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_ID = "custom_id"
# Beside `body` these say how and as what the row is sent, and are no columns.
_BESIDE = {_ID, "body", "url", "method", "request_id"}
_MAX_REQUEST_ID = 200
_BY_ROW = "headers beside body cannot be sent with one row: leave them out, or give them for all rows in the job file"


def digest_of(line: bytes) -> str:
    """Return 16 hex digits over the line without the white space around it.

    The digest is over bytes and not over their meaning: an edit that only moves keys looks like a change, which costs
    one call, while normalising would cost time on each row of each run.
    """
    return blake2b(line.strip(), digest_size=8).hexdigest()


def _beginning(text: bytes) -> str:
    return text[: _TEXT_KEPT * 4].decode("utf-8", "replace")[:_TEXT_KEPT]


class _Draft(Struct):
    """A row understood: its body, and the endpoint if the row itself names one."""

    body: Body
    endpoint: str | None = None


class _Route(Struct, frozen=True):
    """Where the requests of one endpoint go in the lane of the job.

    online: its name outside of the batch lane, since the parameters of both are the same
    objection: why a body cannot be sent there; is_path: it is a path that arkbatch does not know
    refusal: why no request can go there
    """

    endpoint: str
    online: str
    objection: Callable[[Body], str | None]
    is_path: bool
    refusal: str | None = None


class RowReader:
    """Reads the rows of one job.

    by_cells: rows are identified by their cells and not by their bytes, as in tables
    """

    def __init__(self, job: Job, *, by_cells: bool = False) -> None:
        self._endpoint = job.endpoint
        self._endpoint_said = job.endpoint_said
        self._key = ENDPOINTS[job.endpoint].key
        self._takes_any_body = passthrough.is_path(job.endpoint)
        self._routes: dict[str, _Route] = {}
        self._model = job.model
        self._defaults = job.defaults
        self._stream = job.stream
        self._lane = job.lane
        self._images = job.images
        self._at_ark = job.at_ark
        self._vectors = job.embeddings.vectors
        self._send_empty = job.reading.empty == "send"
        self._by_cells = by_cells
        self._find_parameters = self._parameters_in_cells if by_cells else parameters_among
        template = job.template
        self._id = template.id if template else None
        self._id_column = _ID if self._id is None else self._id
        self._template = (
            TemplateRows(template, job.endpoint, send_empty=self._send_empty)
            if template and template.makes_requests
            else None
        )
        self._last_names: tuple[str, ...] = ()
        self._last_sent: list[str] = []

    def read(self, number: int, offset: int, line: bytes) -> Row | BadRow:
        text = line.strip()
        value: dict[str, Any] | str = line.reason if isinstance(line, Unreadable) else _parse(text)
        if isinstance(value, str):
            return BadRow(number, offset, digest_of(text), f"row-{number}", value, _beginning(text))
        digest = self._digest(value) if self._by_cells else digest_of(text)
        columns = with_written_numbers(value, text)
        custom_id = self._custom_id(columns, number)
        if custom_id is None:
            problem: str | Row = (
                f"custom_id {shown(columns.get(self._id_column))} is not a text of one character or more"
            )
            custom_id = f"row-{number}"
        else:
            problem = self._row(number, offset, digest, custom_id, columns)
        if isinstance(problem, Row):
            return problem
        return BadRow(number, offset, digest, custom_id, problem, _beginning(text))

    def identity(self, number: int, line: bytes) -> tuple[str, str]:
        """Return the digest and the custom_id of a row, also of a bad one."""
        text = line.strip()
        value = "" if isinstance(line, Unreadable) else _parse(text)
        if isinstance(value, str):
            return digest_of(text), f"row-{number}"
        digest = self._digest(value) if self._by_cells else digest_of(text)
        return digest, self._custom_id(with_written_numbers(value, text), number) or f"row-{number}"

    def lacks(self, line: bytes) -> bool:
        """Whether a value that the row's prompt needs is missing or empty; False if unreadable."""
        value = "" if isinstance(line, Unreadable) else _parse(line.strip())
        if isinstance(value, str):
            return False
        if self._template is not None:
            return self._template.lacks(value)
        return "prompt" in value and is_empty(value["prompt"])

    def kept(self, value: Mapping[str, Any]) -> list[str]:
        """Return the columns of a row that are not sent."""
        used = self._sent_columns(value)
        return [name for name in value if name not in used]

    def _sent_columns(self, value: Mapping[str, Any]) -> set[str]:
        """Return the columns that the request and the id are made of."""
        names = {self._id_column}
        if isinstance(value.get("request"), dict) or (passthrough.is_path(self._endpoint) and self._template is None):
            return set(value)
        if self._is_wrapped(value):
            known = known_parameters(_kind_of_body(value["body"]))
            return names | {name for name in value if name in _BESIDE or name in known}
        if self._template is not None:
            return names.union(self._template.used(value))
        kind, key = self._kind_of(value)
        content = {key} if key in value else {"prompt", "system"}
        return names | content | {name for name, each in value.items() if is_parameter(kind, name, each)}

    def _kind_of(self, value: Mapping[str, Any]) -> tuple[str, str]:
        """Return the endpoint that a bare row is meant for, and the key of its request."""
        own = self._key
        if own in value and (self._endpoint_said or self._endpoint != "embeddings"):
            return self._endpoint, own
        if "messages" in value:
            return "chat", "messages"
        if self._endpoint_said:
            return self._endpoint, own
        if "input" in value:
            if responses.is_meant(dict(value)):
                return responses.NAME, "input"
            return (self._endpoint if own == "input" else "embeddings"), "input"
        return self._endpoint, own

    def _digest(self, value: Mapping[str, Any]) -> str:
        if self._template is None or "body" in value or "request" in value:
            return digest_of_cells(value, self._ordered_sent_columns(value))
        # What a template sends depends on the names of the columns alone, which are the same in every row of a table.
        names = tuple(value)
        if names != self._last_names:
            self._last_names, self._last_sent = names, self._ordered_sent_columns(value)
        return digest_of_cells(value, self._last_sent)

    def _ordered_sent_columns(self, value: Mapping[str, Any]) -> list[str]:
        sent = self._sent_columns(value)
        return sorted(name for name in value if name in sent)

    def _custom_id(self, value: Mapping[str, Any], number: int) -> str | None:
        """Return the row's id, by default from its number; None for a value that cannot be one."""
        given = value.get(self._id_column)
        if type(given) is str and given:
            return given
        if given is None or (given == "" and (self._by_cells or self._id is not None)):
            return f"row-{number}"
        return id_of(given)

    def _row(self, number: int, offset: int, digest: str, custom_id: str, value: dict[str, Any]) -> Row | str:
        draft = self._draft(value)
        if isinstance(draft, str):
            return draft
        named = draft.endpoint or self._endpoint_of(draft.body)
        route = self._routes.get(named) or self._find_route(named)
        body = self._filled(draft.body, route)
        problem = route.refusal or self._objection(body, route)
        request_id = self._own_request_id(value) if "body" in value or "request" in value else None
        if problem is None and request_id is not None and not _is_request_id(request_id):
            problem = f"request_id {shown(request_id)} is not a text of 1 to {_MAX_REQUEST_ID} letters of ASCII"
        if problem is not None:
            return problem
        return Row(number, offset, digest, custom_id, route.endpoint, body, request_id=request_id or "")

    def _endpoint_of(self, body: Body) -> str:
        """Return the endpoint; a named one takes precedence over the form of the body."""
        if self._key in body and (self._endpoint_said or "input" not in body):
            return self._endpoint
        return by_body(body, self._endpoint) or self._endpoint

    def _find_route(self, named: str) -> _Route:
        endpoint = batch_name(named) if self._lane == LANE else named
        online, refusal = online_name(named), None
        if endpoint not in ENDPOINTS and not passthrough.is_path(endpoint):
            endpoint, refusal = named, f"{online} has no batch lane: leave lane (--lane) out"
        elif self._lane != LANE and named != online:
            refusal = 'the url is one of the batch lane: give lane = "batch" (--lane batch)'
        entry = ENDPOINTS[endpoint]
        objection = entry.problem if self._at_ark else entry.misshapen
        route = self._routes[named] = _Route(endpoint, online, objection, passthrough.is_path(endpoint), refusal)
        return route

    def _objection(self, body: Body, route: _Route) -> str | None:
        """Return why the body cannot be sent."""
        problem = route.objection(body)
        if not route.is_path:
            model = body.get("model")
            if not model:
                return _NO_MODEL
            if problem is None and model.startswith("ep-"):
                problem = wrong_lane(model, self._lane)
        return problem or self._unreadable(body)

    def _own_request_id(self, value: Mapping[str, Any]) -> Any:
        """Return the request id beside the body of a row or of a failure line."""
        request = value["request"] if isinstance(value.get("request"), dict) else value
        return request.get("request_id") if self._is_wrapped(request) else None

    def _unreadable(self, body: Body) -> str | None:
        """Return why a file that the body names can never be read.

        Whether it exists is checked when it is sent.
        """
        for name in file_names(body):
            reason = name.problem if self._images else _NO_DIRECTORY
            if reason is not None:
                return name.why_unfit(reason)
        return None

    def _is_wrapped(self, value: Mapping[str, Any]) -> bool:
        return "body" in value and (self._template is None or isinstance(value["body"], dict))

    def _draft(self, value: dict[str, Any]) -> _Draft | str:
        if isinstance(value.get("request"), dict):
            value = value["request"]  # one of our own failure lines
        if "body" in value and self._is_wrapped(value):
            return _wrapped(value, by_cells=self._by_cells)
        if self._template is not None:
            filled = self._template.fill(value)
            return filled if isinstance(filled, str) else _Draft(filled, self._endpoint)
        if self._takes_any_body:
            return _Draft({name: each for name, each in value.items() if name != _ID}, self._endpoint)
        if "messages" in value or "input" in value or ("text" in value and self._endpoint == tokenization.NAME):
            return self._bare(value)
        if "prompt" in value:
            return self._prompt(value)
        return _needs_template(value)

    def _bare(self, value: dict[str, Any]) -> _Draft | str:
        """Return a request body unchanged, except that a single text gets the endpoint's form."""
        kind, key = self._kind_of(value)
        if key not in value or (key == "input" and "instruction" in value and not self._endpoint_said):
            return self._prompt(value) if "prompt" in value else _needs_template(value)
        content = self._cell_content(key, value[key]) if self._by_cells else value[key]
        if key == "input" and type(content) is str and kind != responses.NAME:
            content = about_text(content, self._endpoint).get("input", content)
        parameters = self._find_parameters(kind, value)
        return _Draft(parameters | {key: content}, kind if kind == responses.NAME else None)

    def _prompt(self, value: dict[str, Any]) -> _Draft | str:
        """Return the body of `{"prompt": text, "system": text}`, with parameters beside them."""
        prompt, system = value["prompt"], value.get("system")
        if not isinstance(prompt, str) or (system is not None and not isinstance(system, str)):
            return f"prompt and system must be text, not {_kind(prompt if not isinstance(prompt, str) else system)}"
        if self._by_cells and not prompt.strip() and not self._send_empty:
            return "the prompt is empty (say --empty skip or --empty send if that is meant)"
        parameters = self._find_parameters(self._endpoint, value)
        if self._endpoint not in TALKS:
            return _Draft(parameters | about_text(prompt, self._endpoint))
        has_system = system is not None and not (self._by_cells and not system)
        first = [{"role": "system", "content": system}] if has_system else []
        said = [*first, {"role": "user", "content": prompt}]
        return _Draft({TALKS[self._endpoint]: said, **parameters}, self._endpoint)

    @staticmethod
    def _parameters_in_cells(endpoint: str, value: Mapping[str, Any]) -> Body:
        """Return the parameters among the cells of a bare row, and what would be one by mistake."""
        found = parameters_among(endpoint, value)
        return {name: _typed(name, each) for name, each in found.items() if not is_empty(each)}

    @staticmethod
    def _cell_content(name: str, value: Any) -> Any:
        """Parse messages in a cell of a table, which are JSON."""
        if isinstance(value, str) and (name == "messages" or value[:1] == "["):
            return _json_or_text(value)
        return value

    def _filled(self, body: Body, route: _Route) -> Body:
        """Add the defaults of the job's own endpoint, below the row's values."""
        endpoint = route.online
        if endpoint == self._endpoint and self._defaults:
            given = {name for name, value in body.items() if value is not None}
            for name, default in self._defaults.items():
                if name not in body and _EXCLUSIVE.get(name) not in given:
                    body[name] = default
        # The body for a path that arkbatch does not know is not touched, unless the job itself is about this path.
        if not body.get("model") and self._model and (not route.is_path or endpoint == self._endpoint):
            body["model"] = self._model
        if self._vectors == "base64" and endpoint.endswith("embeddings") and body.get("encoding_format") is None:
            body["encoding_format"] = "base64"
        if endpoint == "chat" and body.get("stream", self._stream) is True:
            _ask_for_stream(body)
        elif endpoint == responses.NAME and self._stream:
            body.setdefault("stream", True)
        return body


def _ask_for_stream(body: Body) -> None:
    """Ask for a stream with usage, which a stream leaves out by default."""
    options = body.get("stream_options")
    body["stream"] = True
    if options is None or isinstance(options, dict):
        body["stream_options"] = {"include_usage": True, **(options or {})}


def problem_of_defaults(job: Job) -> str | None:
    """Return why no row of the job could be sent; None: no reason."""
    model = job.model or "any"
    if passthrough.is_path(job.endpoint):
        return ENDPOINTS[job.endpoint].objection_to(job.defaults, at_ark=job.at_ark)
    sample: dict[str, Body] = {
        "chat": {"messages": [{"role": "user", "content": "any"}]},
        "embeddings": {"input": "any"},
        multimodal.NAME: {"input": multimodal.in_parts("any")},
        tokenization.NAME: {"text": "any"},
        responses.NAME: {"input": "any"},
    }
    body = {"model": model, **sample[job.endpoint], **job.defaults}
    return ENDPOINTS[job.endpoint].objection_to(body, at_ark=job.at_ark)


def columns_of(line: bytes) -> dict[str, Any]:
    """Return the columns of a record; none of an unreadable one."""
    value = "" if isinstance(line, Unreadable) else _parse(line.strip())
    return {} if isinstance(value, str) else value


def _parse(text: bytes) -> dict[str, Any] | str:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _parse_slowly(text, error)
    if not isinstance(value, dict):
        return f"the line holds {_kind(value)}, not an object in braces"
    # Each level has two braces; to count them in each short line would cost more than to parse it.
    if len(text) > 2 * _DEEPEST and count_openings(text) > _DEEPEST and _too_deep(value):
        return f"the line is nested more than {_DEEPEST} levels deep"
    return value


def _parse_slowly(text: bytes, error: orjson.JSONDecodeError) -> dict[str, Any] | str:
    """Parse JSON with NaN, which Python writes and which is a missing value."""
    if b"NaN" in text or b"Infinity" in text:
        try:
            value = json.loads(text, parse_constant=lambda _: None)
        except (ValueError, RecursionError):
            return _why_no_json(text, error)
        if isinstance(value, dict):
            return value
    return _why_no_json(text, error)


def _too_deep(value: object) -> bool:
    """Whether a value is nested too deeply to be written again.

    It goes level by level, since recursion would end at 1,000.
    """
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _inside(outer) if isinstance(inner, dict | list)]
        if not level:
            return False
    return True


def _inside(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _why_no_json(text: bytes, error: orjson.JSONDecodeError) -> str:
    try:
        words = text.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not valid UTF-8 at byte {broken.start + 1} of the line; save the file as UTF-8"
    try:
        _, end = json.JSONDecoder().raw_decode(words)
    except (ValueError, RecursionError):
        end = 0
    if words[end:].lstrip()[:1] == "{" and end:
        return "several objects stand on one line; write each on a line of its own"
    if words[:2] in {"{'", "['"}:
        return "not JSON but Python: names and texts stand in single quotes; write the lines with json.dumps"
    return f"not JSON: {error.msg} at column {error.colno}"


def _wrapped(value: dict[str, Any], *, by_cells: bool) -> _Draft | str:
    """Read Ark's and OpenAI's form; settings beside `body` count, or are refused."""
    body, url, method = value["body"], value.get("url"), value.get("method", "POST")
    if by_cells and isinstance(body, str):
        body = _json_or_text(body)
    if not isinstance(body, dict):
        return f"body holds {_kind(body)}, not an object in braces"
    if method not in {"POST", None}:
        return f"method {shown(method)} cannot be sent; only POST is"
    for name, each in value.items():
        if name not in _BESIDE and (problem := _take_in(body, name, each)) is not None:
            return problem
    if url is None or (by_cells and not url):
        return _Draft(body)
    endpoint = by_url(url) if isinstance(url, str) else None
    if endpoint is None:
        known = ", ".join(entry.path for entry in ENDPOINTS.values() if not passthrough.is_path(entry.name))
        return (
            f"url {shown(url)} is no endpoint that arkbatch knows ({known}), and no other path below a version, such "
            "as /v1/rerank"
        )
    return _Draft(body, endpoint)


def _is_request_id(value: Any) -> bool:
    """Whether a header can hold a request id; none at all is fine."""
    if value is None or value == "":
        return True
    return isinstance(value, str) and len(value) <= _MAX_REQUEST_ID and value.isascii() and value.isprintable()


def _take_in(body: Body, name: str, value: Any) -> str | None:
    """Put a parameter beside the body into it; return why that cannot be done, or None."""
    if value is None or value is False or value == "":
        return None
    if name in MISTAKEN:
        return MISTAKEN[name](name, value)
    if name == "headers":
        return _BY_ROW
    if name not in known_parameters(_kind_of_body(body)):
        return None
    if body.get(name) not in (None, value):
        return f"{name} stands beside body as {shown(value)} and in it as {shown(body[name])}: leave one of them out"
    body[name] = value
    return None


def _kind_of_body(body: Any) -> str:
    if not isinstance(body, dict) or "messages" in body:
        return "chat"
    return responses.NAME if responses.is_meant(body) else "embeddings"


def _needs_template(value: Mapping[str, Any]) -> str:
    """Return what to do about columns that make no request, with the flag for it."""
    if "conversations" in value:
        return (
            "the columns are ShareGPT's: give a template that takes the first turn, "
            "--prompt '{conversations.0.value}', or write the turns as messages"
        )
    if "instruction" in value:
        more = r"\n\n{input?}" if "input" in value else ""
        return (
            "the columns are Alpaca's (instruction, input, output): they need a template, "
            f"--prompt $'{{instruction}}{more}'"
        )
    return (
        'the line has none of "messages", "input", "prompt" and "body"; '
        f"its columns ({shown_names(value)}) need a template: --prompt '{{{_longest(value)}}}'"
    )


def _longest(value: Mapping[str, Any]) -> str:
    """Return the column with the longest text, which is most often the one to ask about."""
    texts = {name: len(each) for name, each in value.items() if isinstance(each, str)}
    return max(texts, key=lambda name: texts[name], default=next(iter(value), "column"))


def _typed(name: str, cell: Any) -> Any:
    """Return a parameter from a cell of a table with its type, since all cells are text."""
    return cell if name in TEXT_PARAMETERS or not isinstance(cell, str) else _json_or_text(cell)


def _json_or_text(text: str) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if isinstance(value, float) and not math.isfinite(value) else value


def _kind(value: object) -> str:
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", dict: "an object"}
    return names.get(type(value), "null")


def shown(value: object) -> str:
    """Return a value for a message: JSON, shortened."""
    text = dumps_as_written(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."

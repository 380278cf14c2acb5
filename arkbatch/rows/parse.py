"""Parses one input record into a `Row`, or a `BadRow` with the reason.

It reads Ark's `{"custom_id", "body"}`, OpenAI's form with `method` and `url`, a bare request body, the short forms
`{"prompt"}` and `{"input"}`, any columns through a template, and arkbatch's own failure lines. What a row leaves out is
filled from the job's defaults. `body` passes unchanged; of a bare row only content and parameters of the API are sent,
and no other columns.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Any

from msgspec import Struct

from arkbatch.core.job import Job
from arkbatch.core.row import BadRow, Body, Row
from arkbatch.protocol.endpoints import ENDPOINTS, by_body, multimodal, passthrough, responses, tokenization
from arkbatch.protocol.endpoints.batch_lane import LANE, batch_name, online_name, wrong_lane
from arkbatch.protocol.endpoints.parameter_names import (
    TEXT_PARAMETERS,
    is_parameter,
    known_parameters,
    parameters_among,
)
from arkbatch.protocol.media import file_names
from arkbatch.rows.cells import digest_of_cells, id_of, is_empty
from arkbatch.rows.input_file import TextCells, Unreadable
from arkbatch.rows.record_json import json_or_text, parse_record, shown_value, type_in_words
from arkbatch.rows.template_rows import TALKS, TemplateRows, about_text, needs_template
from arkbatch.rows.wrapped_rows import (
    BESIDE_BODY,
    MAX_REQUEST_ID_LETTERS,
    Draft,
    endpoint_of_body,
    is_request_id,
    is_setting,
    read_wrapped_row,
)

_NO_MODEL = "no model: give one in the row, in the job file (model), or with --model"
_NO_DIRECTORY = "a file is read only if you name its directory: give --images DIR, or images in the job file"
_TEXT_KEPT = 2_000  # characters of a bad line, for the person who corrects it
_EXCLUSIVE = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}
_ID = "custom_id"


def digest_of(line: bytes) -> str:
    """Return 16 hex digits over the line without the white space around it.

    The digest is over bytes and not over their meaning: an edit that only moves keys looks like a change, which costs
    one call, while normalising would cost time on each row of each run.
    """
    return blake2b(line.strip(), digest_size=8).hexdigest()


def _beginning_of(text: bytes) -> str:
    return text[: _TEXT_KEPT * 4].decode("utf-8", "replace")[:_TEXT_KEPT]


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
        self._is_encrypted = job.encrypt
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

    def read_row(self, number: int, offset: int, line: bytes) -> Row | BadRow:
        if type(line) is TextCells:
            text: bytes = line
            columns: dict[str, Any] = line.columns
            digest = self._digest_of(columns)
        else:
            text = line.strip()
            value = line.reason if isinstance(line, Unreadable) else parse_record(text)
            if isinstance(value, str):
                return BadRow(number, offset, digest_of(text), f"row-{number}", value, _beginning_of(text))
            digest = self._digest_of(value) if self._by_cells else digest_of(text)
            columns = value
        custom_id = self._custom_id(columns, number)
        if custom_id is None:
            problem: str | Row = (
                f"custom_id {shown_value(columns.get(self._id_column))} is not a text of one character or more"
            )
            custom_id = f"row-{number}"
        else:
            problem = self._make_row(number, offset, digest, custom_id, columns)
        if isinstance(problem, Row):
            return problem
        return BadRow(number, offset, digest, custom_id, problem, _beginning_of(text))

    def identity_of(self, number: int, line: bytes) -> tuple[str, str]:
        """Return the digest and the custom_id of a row, also of a bad one."""
        if type(line) is TextCells:
            return self._digest_of(line.columns), self._custom_id(line.columns, number) or f"row-{number}"
        text = line.strip()
        value = "" if isinstance(line, Unreadable) else parse_record(text)
        if isinstance(value, str):
            return digest_of(text), f"row-{number}"
        digest = self._digest_of(value) if self._by_cells else digest_of(text)
        return digest, self._custom_id(value, number) or f"row-{number}"

    def lacks_value(self, line: bytes) -> bool:
        """Whether a value that the row's prompt needs is missing or empty; False if unreadable."""
        value = line.columns if type(line) is TextCells else parse_record(line.strip())
        if isinstance(line, Unreadable) or isinstance(value, str):
            return False
        if self._template is not None:
            return self._template.lacks_value(value)
        return "prompt" in value and is_empty(value["prompt"])

    def columns_kept_back(self, value: Mapping[str, Any]) -> list[str]:
        """Return the columns of a row that are not sent."""
        used = self._sent_columns(value)
        is_refused = is_setting if self._is_wrapped(value) else lambda *_: False
        return [name for name, each in value.items() if name not in used and not is_refused(name, each)]

    def _sent_columns(self, value: Mapping[str, Any]) -> set[str]:
        """Return the columns that the request and the id are made of."""
        names = {self._id_column}
        if isinstance(value.get("request"), dict) or (passthrough.is_path(self._endpoint) and self._template is None):
            return set(value)
        if self._is_wrapped(value):
            known = known_parameters(endpoint_of_body(value["body"]))
            return names | {name for name in value if name in BESIDE_BODY or name in known}
        if self._template is not None:
            return names.union(self._template.used_columns(value))
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

    def _digest_of(self, value: Mapping[str, Any]) -> str:
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

    def _make_row(self, number: int, offset: int, digest: str, custom_id: str, value: dict[str, Any]) -> Row | str:
        draft = self._draft_of(value)
        if isinstance(draft, str):
            return draft
        named = draft.endpoint or self._endpoint_of(draft.body)
        route = self._routes.get(named) or self._find_route(named)
        body = self._fill_defaults(draft.body, route)
        problem = route.refusal or self._why_unsendable(body, route)
        request_id = self._own_request_id(value) if "body" in value or "request" in value else None
        if problem is None and request_id is not None and not is_request_id(request_id):
            said = shown_value(request_id)
            problem = f"request_id {said} is not a text of 1 to {MAX_REQUEST_ID_LETTERS} letters of ASCII"
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

    def _why_unsendable(self, body: Body, route: _Route) -> str | None:
        """Return why the body cannot be sent."""
        problem = route.objection(body)
        if not route.is_path:
            model = body.get("model")
            if not model:
                return _NO_MODEL
            if problem is None and model.startswith("ep-"):
                problem = wrong_lane(model, self._lane)
        return problem or self._why_unreadable(body)

    def _own_request_id(self, value: Mapping[str, Any]) -> Any:
        """Return the request id beside the body of a row or of a failure line."""
        request = value["request"] if isinstance(value.get("request"), dict) else value
        return request.get("request_id") if self._is_wrapped(request) else None

    def _why_unreadable(self, body: Body) -> str | None:
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

    def _draft_of(self, value: dict[str, Any]) -> Draft | str:
        if isinstance(value.get("request"), dict):
            value = value["request"]  # one of our own failure lines
        if "body" in value and self._is_wrapped(value):
            return read_wrapped_row(value, by_cells=self._by_cells, is_encrypted=self._is_encrypted)
        if self._template is not None:
            filled = self._template.fill_template(value)
            return filled if isinstance(filled, str) else Draft(filled, self._endpoint)
        if self._takes_any_body:
            return Draft({name: each for name, each in value.items() if name != _ID}, self._endpoint)
        if "messages" in value or "input" in value or ("text" in value and self._endpoint == tokenization.NAME):
            return self._bare_body(value)
        if "prompt" in value:
            return self._prompt_body(value)
        return needs_template(value)

    def _bare_body(self, value: dict[str, Any]) -> Draft | str:
        """Return a request body unchanged, except that a single text gets the endpoint's form."""
        kind, key = self._kind_of(value)
        if key not in value or (key == "input" and "instruction" in value and not self._endpoint_said):
            return self._prompt_body(value) if "prompt" in value else needs_template(value)
        content = self._cell_content(key, value[key]) if self._by_cells else value[key]
        if key == "input" and type(content) is str and kind != responses.NAME:
            content = about_text(content, self._endpoint).get("input", content)
        parameters = self._find_parameters(kind, value)
        return Draft(parameters | {key: content}, kind if kind == responses.NAME else None)

    def _prompt_body(self, value: dict[str, Any]) -> Draft | str:
        """Return the body of `{"prompt": text, "system": text}`, with parameters beside them."""
        prompt, system = value["prompt"], value.get("system")
        if not isinstance(prompt, str) or (system is not None and not isinstance(system, str)):
            wrong = prompt if not isinstance(prompt, str) else system
            return f"prompt and system must be text, not {type_in_words(wrong)}"
        if self._by_cells and not prompt.strip() and not self._send_empty:
            return "the prompt is empty (say --empty skip or --empty send if that is meant)"
        parameters = self._find_parameters(self._endpoint, value)
        if self._endpoint not in TALKS:
            return Draft(parameters | about_text(prompt, self._endpoint))
        has_system = system is not None and not (self._by_cells and not system)
        first = [{"role": "system", "content": system}] if has_system else []
        said = [*first, {"role": "user", "content": prompt}]
        return Draft({TALKS[self._endpoint]: said, **parameters}, self._endpoint)

    @staticmethod
    def _parameters_in_cells(endpoint: str, value: Mapping[str, Any]) -> Body:
        """Return the parameters among the cells of a bare row, and what would be one by mistake."""
        found = parameters_among(endpoint, value)
        return {name: _typed_parameter(name, each) for name, each in found.items() if not is_empty(each)}

    @staticmethod
    def _cell_content(name: str, value: Any) -> Any:
        """Parse messages in a cell of a table, which are JSON."""
        if isinstance(value, str) and (name == "messages" or value[:1] == "["):
            return json_or_text(value)
        return value

    def _fill_defaults(self, body: Body, route: _Route) -> Body:
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


def _typed_parameter(name: str, cell: Any) -> Any:
    """Return a parameter from a cell of a table with its type, since all cells are text."""
    return cell if name in TEXT_PARAMETERS or not isinstance(cell, str) else json_or_text(cell)

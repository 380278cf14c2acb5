"""One input line becomes a `Row`, or a `BadRow` that says why it cannot be sent.

Read are: Ark's `{"custom_id", "body"}`, OpenAI's with `method` and `url`, a bare request body, the short forms
`{"prompt"}` and `{"input"}`, any columns through a template, and our own failure lines. What a row leaves out is
filled from the job's defaults; everything else passes through untouched. Files and offsets are known to
`adapters.source`, what a request may hold to `endpoints`.
"""

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from arkbatch.core.job import Job, Template, pieces
from arkbatch.core.types import BadRow, Body, Row
from arkbatch.protocol.endpoints import ENDPOINTS, by_body, by_url, multimodal, passthrough, responses, tokenization
from arkbatch.protocol.endpoints.batch_lane import LANE, batch_name, misplaced, online_name
from arkbatch.protocol.parts import file_names

_DEEPEST = 250  # braces within braces; orjson reads 1,024 and writes 254
_NO_MODEL = "no model: give one in the row, in the job file (model), or with --model"
_NO_DIRECTORY = "a file is read only if you name its directory: give --images DIR, or images in the job file"
_TEXT_KEPT = 2_000  # characters of a bad line, for the person who mends it
# The endpoints that take messages, and the key under which they take them.
_TALKS = {"chat": "messages", responses.NAME: "input"}
_EXCLUSIVE = {"max_tokens": "max_completion_tokens", "max_completion_tokens": "max_tokens"}


def digest_of(line: bytes) -> str:
    """16 hex digits over the line without the white space around it.

    The bytes are taken and not their meaning: an edit that only moves keys about looks like a change, which costs
    one call, while every way of normalising would cost time on each row of each run.
    """
    return blake2b(line.strip(), digest_size=8).hexdigest()


def custom_id_of(number: int, line: bytes) -> str:
    """The id that a row of this line has, also when the line is otherwise bad."""
    value = _parse(line.strip())
    given = value.get("custom_id") if isinstance(value, dict) else None
    return given if isinstance(given, str) and given else f"row-{number}"


class _Draft(Struct):
    """A line understood: its body, and the endpoint if the line itself names one."""

    body: Body
    endpoint: str | None = None


class RowReader:
    """Reads the lines of one job."""

    def __init__(self, job: Job) -> None:
        self._endpoint = job.endpoint
        self._model = job.model
        self._defaults = job.defaults
        self._stream = job.stream
        self._lane = job.lane
        self._images = job.images
        self._at_ark = job.at_ark
        self._vectors = job.embeddings.vectors
        self._columns = Columns(job.template, job.endpoint) if job.template else None

    def read(self, number: int, offset: int, line: bytes) -> Row | BadRow:
        text = line.strip()
        digest = digest_of(text)
        custom_id = f"row-{number}"
        value = _parse(text)
        if isinstance(value, dict):
            given = value.get("custom_id")
            if given is not None and (not isinstance(given, str) or not given):
                problem: str | Row = f"custom_id {shown(given)} is not a text of one character or more"
            else:
                custom_id = given or custom_id
                problem = self._row(number, offset, digest, custom_id, value)
            if isinstance(problem, Row):
                return problem
        else:
            problem = value
        excerpt = text[: _TEXT_KEPT * 4].decode("utf-8", "replace")[:_TEXT_KEPT]
        return BadRow(number, offset, digest, custom_id, problem, excerpt)

    def _row(self, number: int, offset: int, digest: str, custom_id: str, value: dict[str, Any]) -> Row | str:
        draft = self._draft(value)
        if isinstance(draft, str):
            return draft
        endpoint = draft.endpoint or by_body(draft.body, self._endpoint) or self._endpoint
        online = online_name(endpoint)
        body = self._filled(draft.body, online)
        if self._lane == LANE:
            endpoint = batch_name(endpoint)
            if endpoint not in ENDPOINTS:
                return f"{online} has no batch lane: leave lane (--lane) out"
        elif endpoint != online:
            return 'the url is one of the batch lane: give lane = "batch" (--lane batch)'
        needs_model = not passthrough.is_path(endpoint)
        problem = ENDPOINTS[endpoint].objection(body, at_ark=self._at_ark)
        if needs_model and not body.get("model"):
            problem = _NO_MODEL
        if problem is None and needs_model and body["model"].startswith("ep-"):
            problem = misplaced(body["model"], self._lane)
        if problem is None:
            problem = self._unreadable(body)
        if problem is not None:
            return problem
        return Row(number, offset, digest, custom_id, endpoint, body)

    def _unreadable(self, body: Body) -> str | None:
        """Why a file that the body names can never be read. Whether it is there is seen when it is sent."""
        for name in file_names(body):
            reason = name.problem if self._images else _NO_DIRECTORY
            if reason is not None:
                return name.unfit(reason)
        return None

    def _draft(self, value: dict[str, Any]) -> _Draft | str:
        if isinstance(value.get("request"), dict):
            value = value["request"]  # one of our own failure lines
        if "body" in value and (self._columns is None or isinstance(value["body"], dict)):
            return _wrapped(value)
        if self._columns is not None:
            return self._columns.fill(value)
        if passthrough.is_path(self._endpoint):
            return _Draft(_without_id(value), self._endpoint)
        if "messages" in value or "input" in value or ("text" in value and self._endpoint == tokenization.NAME):
            return self._bare(_without_id(value))
        if "prompt" in value:
            return _prompt(_without_id(value), self._endpoint)
        return (
            'the line has none of "messages", "input", "prompt" and "body"; '
            f"its columns ({_names(value)}) need a [template] in the job file"
        )

    def _bare(self, body: Body) -> _Draft:
        """A request body as it is; only a text as the whole input gets the form that the job's endpoint takes."""
        if type(body.get("input")) is str:
            body["input"] = _as_input(body["input"], self._endpoint)
        return _Draft(body)

    def _filled(self, body: Body, endpoint: str) -> Body:
        """The row wins over the defaults, which are meant for the job's own endpoint only."""
        if endpoint == self._endpoint and self._defaults:
            given = {name for name, value in body.items() if value is not None}
            for name, default in self._defaults.items():
                if name not in body and _EXCLUSIVE.get(name) not in given:
                    body[name] = default
        # The body for a path that arkbatch does not know is not touched, unless the job itself is about this path.
        is_known = not passthrough.is_path(endpoint) or endpoint == self._endpoint
        if not body.get("model") and self._model and is_known:
            body["model"] = self._model
        if self._vectors == "base64" and endpoint.endswith("embeddings") and body.get("encoding_format") is None:
            body["encoding_format"] = "base64"
        if endpoint == "chat" and body.get("stream", self._stream) is True:
            _ask_for_stream(body)
        elif endpoint == responses.NAME and self._stream:
            body.setdefault("stream", True)
        return body


def _ask_for_stream(body: Body) -> None:
    """With the usage, which a stream leaves out unless it is asked for."""
    options = body.get("stream_options")
    body["stream"] = True
    if options is None or isinstance(options, dict):
        body["stream_options"] = {"include_usage": True, **(options or {})}


def problem_of_defaults(job: Job) -> str | None:
    """Why no row of the job could be sent, whatever the row holds; None when nothing speaks against it."""
    model = job.model or "any"
    if passthrough.is_path(job.endpoint):
        return ENDPOINTS[job.endpoint].objection(job.defaults, at_ark=job.at_ark)
    sample: dict[str, Body] = {
        "chat": {"messages": [{"role": "user", "content": "any"}]},
        "embeddings": {"input": "any"},
        multimodal.NAME: {"input": multimodal.in_parts("any")},
        tokenization.NAME: {"text": "any"},
        responses.NAME: {"input": "any"},
    }
    body = {"model": model, **sample[job.endpoint], **job.defaults}
    return ENDPOINTS[job.endpoint].objection(body, at_ark=job.at_ark)


class Columns:
    """A template, taken apart once. Missing columns and columns that are null make a bad row."""

    def __init__(self, template: Template, endpoint: str) -> None:
        self._endpoint = endpoint
        self._parts = {name: pieces(text) for name, text in msgspec.structs.asdict(template).items() if text}

    def fill(self, columns: Mapping[str, Any]) -> _Draft | str:
        filled: dict[str, str] = {}
        for name, parts in self._parts.items():
            text, missing = _fill(parts, columns)
            if missing is not None:
                lack = "is null" if missing in columns else f"the line lacks (it has {_names(columns)})"
                return f"the template's {name} needs the column {missing}, which {lack}"
            filled[name] = text
        if self._endpoint not in _TALKS:
            return _Draft(_of_text(filled["input"], self._endpoint), self._endpoint)
        said = [{"role": role, "content": filled[role]} for role in ("system", "user") if role in filled]
        return _Draft({_TALKS[self._endpoint]: said}, self._endpoint)


def _fill(parts: list[tuple[str, str | None]], columns: Mapping[str, Any]) -> tuple[str, str | None]:
    """The text, and the column that it lacks if it lacks one."""
    texts = []
    for literal, name in parts:
        texts.append(literal)
        if name is not None:
            value = columns.get(name)
            if value is None:
                return "", name
            texts.append(value if isinstance(value, str) else orjson.dumps(value).decode())
    return "".join(texts), None


def _parse(text: bytes) -> dict[str, Any] | str:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return _why_no_json(text, error)
    if not isinstance(value, dict):
        return f"the line holds {_kind(value)}, not an object in braces"
    # Each level has two braces; to count them in each short line would cost more than to parse it.
    if len(text) > 2 * _DEEPEST and text.count(b"[") + text.count(b"{") > _DEEPEST and _too_deep(value):
        return f"the line is nested more than {_DEEPEST} levels deep"
    return value


def _too_deep(value: object) -> bool:
    """Whether it could be read and not be written again. Level by level, as recursion would end at 1,000."""
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
        text.decode("utf-8")
    except UnicodeDecodeError as broken:
        return f"not valid UTF-8 at byte {broken.start + 1} of the line; save the file as UTF-8"
    return f"not JSON: {error.msg} at column {error.colno}"


def _wrapped(value: dict[str, Any]) -> _Draft | str:
    """Ark's and OpenAI's form, the request under `body`."""
    body, url, method = value["body"], value.get("url"), value.get("method", "POST")
    if not isinstance(body, dict):
        return f"body holds {_kind(body)}, not an object in braces"
    if method != "POST":
        return f"method {shown(method)} cannot be sent; only POST is"
    if url is None:
        return _Draft(body)
    endpoint = by_url(url) if isinstance(url, str) else None
    if endpoint is None:
        known = ", ".join(entry.path for entry in ENDPOINTS.values() if not passthrough.is_path(entry.name))
        return (
            f"url {shown(url)} is no endpoint that arkbatch knows ({known}), and no other path below a version, such "
            "as /v1/rerank"
        )
    return _Draft(body, endpoint)


def _prompt(value: dict[str, Any], endpoint: str) -> _Draft | str:
    """`{"prompt": text, "system": text}`; what stands beside them is taken for request parameters."""
    prompt, system = value.pop("prompt"), value.pop("system", None)
    if not isinstance(prompt, str) or not isinstance(system, str | None):
        return f"prompt and system must be text, not {_kind(prompt if not isinstance(prompt, str) else system)}"
    if endpoint not in _TALKS:
        return _Draft(value | _of_text(prompt, endpoint))
    first = [{"role": "system", "content": system}] if system is not None else []
    return _Draft({_TALKS[endpoint]: [*first, {"role": "user", "content": prompt}], **value}, endpoint)


def _of_text(text: str, endpoint: str) -> Body:
    """What asks an endpoint without messages about one text."""
    return {"text": text} if endpoint == tokenization.NAME else {"input": _as_input(text, endpoint)}


def _as_input(text: str, endpoint: str) -> Any:
    return multimodal.in_parts(text) if endpoint == multimodal.NAME else text


def _without_id(value: dict[str, Any]) -> dict[str, Any]:
    value.pop("custom_id", None)
    return value


def _names(columns: Mapping[str, Any]) -> str:
    return ", ".join(list(columns)[:8]) or "no columns"


def _kind(value: object) -> str:
    names = {list: "a list", str: "text", int: "a number", float: "a number", bool: "true or false", dict: "an object"}
    return names.get(type(value), "null")


def shown(value: object) -> str:
    """A value as a message shows it: JSON, shortened."""
    text = orjson.dumps(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."

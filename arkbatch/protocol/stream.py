"""The chunks of a streamed chat answer, folded into the object that the same call returns without streaming.

A chunk says what is new: texts are appended, the rest replaces what stood before, and tool calls are put together by
their index. Fields that nobody told us of follow the same rule, so they survive. It knows when a stream has ended
well (each choice has its finish reason; `[DONE]` proves nothing by itself and is not needed) and recognises an error
event, which comes after a status of 200. Whether any of that is worth another try is for `verdict`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from arkbatch.core.types import Body
from arkbatch.protocol.error_body import complaint_in
from arkbatch.protocol.lenient_json import dumps_strictly, loads_leniently
from arkbatch.protocol.sse import Event

_OF_RESPONSES = "response."
_LAST_EVENTS = {"response.completed", "response.incomplete", "response.failed"}
# Names of events, and texts as their data, that only say that the server is alive, or that it has ended.
_SIGNS_OF_LIFE = {"ping", "pong", "heartbeat", "keepalive", "keep-alive", "keep_alive", "done"}
_NO_WORDS = {"", "null", *_SIGNS_OF_LIFE}
# Texts in a delta that are names and not parts of a text: the last one stands.
_NAMES = {"role", "id", "type", "name", "object", "format", "signature"}


_INPUT_COUNTS = ("prompt_tokens", "input_tokens", "prompt_tokens_details", "input_tokens_details")
_ABSENT = object()


class Whole(Struct, frozen=True, gc=False):
    """The answer, as it would have come without streaming."""

    body: Body


class Truncated(Struct, frozen=True, gc=False):
    """The stream ended before the answer did; `body` is what came of it."""

    body: Body


class ErrorEvent(Struct, frozen=True, gc=False):
    """The service gave up in the middle. `body` is the error as it stands in any other error reply.

    If the chunks before it said what was billed so far, that stands beside it.
    """

    body: Body


class Garbled(Struct, frozen=True, gc=False):
    """An event was no chunk at all; `body` is what came before it."""

    detail: str
    body: Body


Ending = Whole | Truncated | ErrorEvent | Garbled


class _Text(list[str]):
    """A growing text as its pieces: appending to a `str` in a dict copies it each time."""


class _ToolCalls(dict[int, dict[str, Any]]):
    """The calls of tools of one message by their places. `places`: which of them each index stands for now."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, int] = {}

    def place_of(self, delta: Mapping[str, Any]) -> int:
        """By index; but another id at the same index is another call, since some servers say 0 of each.

        Some older models leave the index out and send each call whole: then they stand in the order they came.
        """
        index, name = delta.get("index"), delta.get("id")
        if type(index) is not int:
            return max(self, default=-1) + 1
        place = self.places.get(index, index)
        known = self.get(place, {}).get("id")
        if name and known and name != known:
            place = next((each for each, call in self.items() if call.get("id") == name), max(self) + 1)
        self.places[index] = place
        return place


class _Choice:
    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.rest: dict[str, Any] = {"finish_reason": None}
        self._last: Mapping[str, Any] = {}

    def grow(self, choice: dict[str, Any]) -> None:
        if delta := choice.pop("delta", None):
            _grow(self.message, delta)
        elif type(text := choice.get("text")) is str:  # a chunk of the older completions API
            _grow(self.message, {"content": choice.pop("text")} if text else {})
        if choice == self._last and "logprobs" not in choice:  # most chunks differ in their delta alone
            return
        self._last = choice
        for key, value in choice.items():
            if key == "logprobs" and isinstance(value, dict):
                self.rest[key] = self.rest.get(key) or {}
                _grow(self.rest[key], value)
            elif self.rest.get(key, _ABSENT) != value:
                _replace_value(self.rest, key, value)

    def folded(self, index: int) -> Body:
        rest = _settled_value(self.rest)
        whole = rest.pop("message", None)  # MiniMax repeats the message in its last chunk, others write a null there
        message = _settled_value(self.message)
        if not _says_something(message) and isinstance(whole, dict):
            message = whole
        return {"index": index, "message": message, **rest}


class Folding:
    """One answer while it streams. `started`: the first part of the answer is here, for the time to first token."""

    def __init__(self) -> None:
        self.started = False
        self._top: dict[str, Any] = {}
        self._last: Mapping[str, Any] = {}  # the chunk before, without its choices
        self._choices: dict[int, _Choice] = {}
        self._bad: ErrorEvent | Garbled | None = None
        self._loose: Body = {}  # the last chunk without choices: an error may come so, as `{"detail": ...}`
        self._words = ""  # of an event that is no chunk and may be none of the answer
        self._response: Body | None = None  # of the Responses API: the last whole response that an event held
        self._has_response_ended = False
        self._has_reason = False  # some choice has its finish reason

    def add(self, event: Event) -> bool:
        """Add what an event says; return whether it was data, and not a sign of life.

        Nothing is added after an error event: what follows one is not part of an answer.
        """
        if self._bad is not None:
            return False
        if event.data[:1] != b"{" and event.data.lstrip()[:1] != b"{":
            return self._add_list(event) if event.data.lstrip()[:1] == b"[" else self._add_text(event)
        try:
            chunk = loads_leniently(event.data)
            if "choices" in chunk and not event.name and not chunk.get("error"):  # as in nearly all events
                self._grow(chunk)
                return True
            kind = chunk.get("type")
            if chunk.get("error"):
                self._bad = ErrorEvent(chunk)
            elif "error" in (event.name, kind, chunk.get("object")):  # vLLM names the event or the object so
                self._bad = ErrorEvent({"error": chunk})
            elif type(kind) is str and kind.startswith(_OF_RESPONSES):
                self._add_response_event(chunk)
            else:
                if "choices" not in chunk:
                    self._loose = chunk
                self._grow(chunk)
        except (ValueError, TypeError, AttributeError, KeyError):
            if self.is_finished:  # the answer is whole, and this is none of it
                return False
            self._bad = Garbled(_no_chunk(event), {})
        return event.name not in _SIGNS_OF_LIFE

    def _add_list(self, event: Event) -> bool:
        """Add the chunks of an event that holds a list of them."""
        try:
            chunks = loads_leniently(event.data)
        except ValueError:
            chunks = None
        if not chunks or not isinstance(chunks, list) or not all(isinstance(chunk, dict) for chunk in chunks):
            return self._add_text(event)
        added = [self.add(Event(dumps_strictly(chunk), event.name)) for chunk in chunks]
        return any(added)

    def _add_text(self, event: Event) -> bool:
        """An event that is no JSON object is no part of an answer: a sign of life, or words to tell if none comes."""
        said = event.data.strip().strip(b"\"'").lower()
        if event.name == "error":
            self._bad = ErrorEvent({"error": {"message": event.data.decode(errors="replace")}})
        elif event.name not in _SIGNS_OF_LIFE and said.decode(errors="replace") not in _NO_WORDS:
            self._words = self._words or _no_chunk(event)
        return False

    def end(self, *, has_done: bool = False) -> Ending:
        """What has become of the answer, now that nothing more comes.

        has_done: the stream ended with `[DONE]`. That alone proves nothing, since gateways write it after a break, too;
        after text and a count of the output the answer is whole, although no finish reason came.
        """
        match self._bad:
            case ErrorEvent(body):
                return ErrorEvent({**self._billed(), **body})
            case Garbled(detail):
                return Garbled(detail, self._body())
        if self._response is not None:
            return Whole(self._response) if self._has_response_ended else Truncated(self._response)
        if self.is_finished or (has_done and self.started and _counts_output(self._top)):
            return Whole(self._body())
        if self._loose and (said := complaint_in(self._loose)) is not None and said.message:
            return ErrorEvent({**self._billed(), "error": self._loose})
        return Garbled(self._words, self._body()) if self._words else Truncated(self._body())

    @property
    def is_over(self) -> bool:
        """Whether what comes from now on can only be what the answer cost."""
        return self._bad is not None or self.is_finished

    @property
    def is_counted(self) -> bool:
        """Whether what it cost has been said, or will not be."""
        return self._bad is not None or self._has_response_ended or _counts(self._top)

    def _add_response_event(self, event: dict[str, Any]) -> None:
        """An event of the Responses API: the last one holds the whole response, and deltas say no more than it."""
        kind = event["type"]
        if isinstance(event.get("response"), dict):
            self._response = event["response"]
        else:
            self._response = self._response or {}
        self._has_response_ended = self._has_response_ended or kind in _LAST_EVENTS
        self.started = self.started or (kind.endswith(".delta") and bool(event.get("delta")))

    @property
    def is_finished(self) -> bool:
        if self._response is not None:
            return self._has_response_ended
        if not self._has_reason:
            return False
        reasons = [choice.rest["finish_reason"] for choice in self._choices.values()]
        return bool(reasons) and all(reasons)

    def _grow(self, chunk: dict[str, Any]) -> None:
        top, choices = self._top, chunk.pop("choices", None)
        if chunk != self._last:  # most chunks differ in their choices alone
            self._last = chunk
            for key, value in chunk.items():
                if top.get(key, _ABSENT) != value:
                    _replace_value(top, key, value)
        for choice in choices or ():
            index = choice.get("index")
            if type(index) is not int:
                index = 0
            known = self._choices.get(index)
            if known is None:
                known = self._choices[index] = _Choice()
            if not self.started:
                self.started = _says_something(choice.get("delta")) or bool(choice.get("text"))
            known.grow(choice)
            if choice.get("finish_reason"):
                self._has_reason = True

    def _billed(self) -> Body:
        """What chunks with a count of their own (`chunk_include_usage`) have said, and what it is priced by."""
        top = self._top
        return {name: top[name] for name in ("model", "service_tier", "usage") if name in top} if _counts(top) else {}

    def _body(self) -> Body:
        choices = [choice.folded(index) for index, choice in sorted(self._choices.items())]
        body = {**self._top, "choices": choices}
        if "object" in body:
            body["object"] = "chat.completion"
        return body


def _counts(body: Body) -> bool:
    return bool(body.get("usage"))


def _counts_output(body: Body) -> bool:
    usage = body.get("usage")
    return isinstance(usage, dict) and bool(usage.get("completion_tokens"))


def _no_chunk(event: Event) -> str:
    return f"an event that is no chunk: {event.data[:200].decode(errors='replace')}"


def _says_something(delta: Mapping[str, Any] | None) -> bool:
    return any(value for key, value in (delta or {}).items() if key not in _NAMES)


def _replace_value(target: dict[str, Any], key: str, value: Any) -> None:
    """Nothing that says nothing wipes out what was said: neither a null, nor an empty text, nor a usage of zeros.

    A usage of the output alone, as gateways of Anthropic's API end with, keeps the input that was told before.
    """
    if key == "usage" and isinstance(value, dict) and isinstance(old := target.get(key), dict):
        kept = {name: count for name, count in old.items() if name in _INPUT_COUNTS and not value.get(name)}
        if kept and not _is_zero(value):
            value = {**value, **kept}
    if key not in target or not (value is None or value == "" or (key == "usage" and _is_zero(value))):
        target[key] = value


def _is_zero(usage: Any) -> bool:
    if isinstance(usage, dict):
        return all(map(_is_zero, usage.values()))
    return not usage


def _grow(target: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        old = target.get(key)
        if type(old) is _Text and type(value) is str:  # as in nearly all chunks
            old.append(value)
        elif key == "tool_calls":
            _grow_tool_calls(target, value or ())
        elif isinstance(value, str):
            _grow_text(target, key, value)
        elif isinstance(value, dict) and isinstance(old, dict):
            _grow(old, value)
        elif isinstance(value, dict):
            target[key] = {}
            _grow(target[key], value)
        elif isinstance(value, list) and type(old) is list:
            old.extend(value)
        elif isinstance(value, list) and isinstance(old, _Text) and any(old):
            target[key] = [{"type": "text", "text": old}, *value]
        else:
            _replace_value(target, key, value)


def _grow_text(target: dict[str, Any], key: str, value: str) -> None:
    old = target.get(key)
    if key in _NAMES:
        target[key] = value or old or ""
    elif isinstance(old, _Text):
        old.append(value)
    elif type(old) is list and old:
        _grow_parts(old, value)
    else:
        target[key] = _Text([value])


def _grow_parts(parts: list[Any], text: str) -> None:
    """A text behind a list of parts, such as the thinking of a model, is one more part."""
    last = parts[-1]
    if isinstance(last, dict) and isinstance(last.get("text"), _Text):
        last["text"].append(text)
    elif text:
        parts.append({"type": "text", "text": _Text([text])})


def _grow_tool_calls(message: dict[str, Any], deltas: Sequence[dict[str, Any]]) -> None:
    for delta in deltas:
        calls = message.setdefault("tool_calls", _ToolCalls())
        call = calls.setdefault(calls.place_of(delta), {})
        _grow(call, {key: value for key, value in delta.items() if key != "index"})


def _settled_value(value: Any) -> Any:
    if isinstance(value, _Text):
        return "".join(value)
    if isinstance(value, dict):
        return {
            key: [_settled_value(call) for _, call in sorted(item.items())]
            if isinstance(item, _ToolCalls)
            else _settled_value(item)
            for key, item in value.items()
        }
    if type(value) is list:
        return [_settled_value(each) for each in value]
    return value

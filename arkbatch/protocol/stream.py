"""Joins the chunks of a streamed chat answer into one reply.

A chunk says what is new: texts are appended, the rest replaces what stood before, and tool calls are put together by
their index. Fields that nobody told us of follow the same rule, so they survive. It knows when a stream has ended
well (each choice has its finish reason; `[DONE]` proves nothing by itself and is not needed) and recognises an error
event, which comes after a status of 200. Whether any of that is worth another try is for `verdict`.
"""

from typing import Any

from msgspec import Struct

from arkbatch.core.row import Body
from arkbatch.protocol.delta_merging import merge_delta, replace_value, says_something, settled_value
from arkbatch.protocol.error_body import complaint_in, error_in_success
from arkbatch.protocol.foreign_events import ForeignEvents
from arkbatch.protocol.lenient_json import dumps_strictly, loads_leniently
from arkbatch.protocol.repeated_chunks import RepeatedChunks
from arkbatch.protocol.sse import Event

ENVELOPE = "response"  # around an answer that was streamed in the shape of another API
_OF_RESPONSES = "response."
_LAST_EVENTS = {"response.completed", "response.incomplete", "response.failed"}
# Names of events, and texts as their data, that only say that the server is alive, or that it has ended.
_SIGNS_OF_LIFE = {"ping", "pong", "heartbeat", "keepalive", "keep-alive", "keep_alive", "done"}
_NO_WORDS = {"", "null", *_SIGNS_OF_LIFE}
_NO_REASONS = ("null", "None", "none")  # DashScope's own API says so until the end
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


class _Choice:
    def __init__(self) -> None:
        self.message: dict[str, Any] = {}
        self.rest: dict[str, Any] = {"finish_reason": None}
        self._last: dict[str, Any] = {}

    def grow(self, choice: dict[str, Any]) -> bool:
        """Add what a chunk says of this choice; return whether only its delta differs from the one before."""
        if delta := choice.pop("delta", None):
            merge_delta(self.message, delta)
        elif type(text := choice.get("text")) is str:  # a chunk of the older completions API
            merge_delta(self.message, {"content": choice.pop("text")} if text else {})
        if choice == self._last and "logprobs" not in choice:
            return True
        self._last = choice
        for key, value in choice.items():
            if key == "logprobs" and isinstance(value, dict):
                self.rest[key] = self.rest.get(key) or {}
                merge_delta(self.rest[key], value)
            elif self.rest.get(key, _ABSENT) != value:
                replace_value(self.rest, key, value)
        return False

    def folded(self, index: int) -> Body:
        rest = settled_value(self.rest)
        whole = rest.pop("message", None)  # MiniMax repeats the message in its last chunk, others write a null there
        message = settled_value(self.message)
        if not says_something(message) and isinstance(whole, dict):
            message = whole
        return {"index": index, "message": message, **rest}


class Folding:
    """One answer while it streams. `started`: the first part of the answer is here, for the time to first token."""

    def __init__(self) -> None:
        self.started = False
        self._top: dict[str, Any] = {}
        self._last: dict[str, Any] = {}  # the chunk before, without its choices
        self._choices: dict[int, _Choice] = {}
        self._repeated = RepeatedChunks()
        self._bad: ErrorEvent | Garbled | None = None
        self._loose: Body = {}  # the last chunk without choices: an error may come so, as `{"detail": ...}`
        self._words = ""  # of an event that is no chunk and may be none of the answer
        self._response: Body | None = None  # of the Responses API: the last whole response that an event held
        self._has_response_ended = False
        self._foreign: ForeignEvents | None = None  # of events in the shape of another API
        self._is_foreign = False  # some of the answer came in them
        self._has_reason = False  # some choice has its finish reason

    def add(self, event: Event) -> bool:
        """Add what an event says; return whether it was data, and not a sign of life.

        Nothing is added after an error event: what follows one is not part of an answer.
        """
        if self._bad is not None:
            return False
        if not event.name and self._repeated.add_text(event.data):
            return True
        if event.data[:1] == b"{" or (start := event.data.lstrip()[:1]) == b"{":
            return self._add_object(event)
        return self._add_list(event) if start == b"[" else self._add_text(event)

    def _add_object(self, event: Event) -> bool:
        try:
            chunk = loads_leniently(event.data)
            if chunk.get("choices") and not event.name and not chunk.get("error"):  # as in nearly all events
                if (repeated := self._add_chunk(chunk)) is not None:
                    self._repeated.learn(event.data, *repeated)
                return True
            self._add_other(event, chunk)
        except (ValueError, TypeError, AttributeError, KeyError):
            if self.is_finished:  # the answer is whole, and this is none of it
                return False
            self._bad = Garbled(_no_chunk(event), {})
        return event.name not in _SIGNS_OF_LIFE

    def _add_other(self, event: Event, chunk: dict[str, Any]) -> None:
        kind = chunk.get("type")
        if chunk.get("error"):
            self._bad = ErrorEvent(chunk)
        elif "error" in (event.name, kind, chunk.get("object")):  # vLLM names the event or the object so
            self._bad = ErrorEvent({"error": chunk})
        elif type(kind) is str and kind.startswith(_OF_RESPONSES):
            self._add_response_event(chunk)
        elif "choices" not in chunk and (foreign := self._read_foreign(chunk)) is not None:
            self._add_chunk(foreign)
        else:
            if "choices" not in chunk or error_in_success(chunk) is not None:
                self._loose = dict(chunk)
            self._add_chunk(chunk)

    def _read_foreign(self, chunk: dict[str, Any]) -> dict[str, Any] | None:
        """Return the chunk of an event of another API, None where it is none."""
        if error_in_success(chunk) is not None:
            return None
        self._foreign = self._foreign or ForeignEvents()
        found = self._foreign.chunk_of(chunk)
        self._is_foreign = self._is_foreign or bool(found and found["choices"])
        return found

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
            # In an envelope, as gateways send it: the verdict takes it out, and marks the record.
            return Whole(self._body() if not self._is_foreign else {ENVELOPE: self._body()})
        if self._loose and (said := complaint_in(self._loose)) is not None and said.message:
            own = self._loose if error_in_success(self._loose) is not None else {"error": self._loose}
            return ErrorEvent({**self._billed(), **own})
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

    def _add_chunk(self, chunk: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
        """Add a chunk; return its delta and the message it belongs to, if all else was said by the one before it."""
        top, choices, repeated = self._top, chunk.pop("choices", None), None
        is_same = chunk == self._last
        if not is_same:
            self._last = chunk
            for key, value in chunk.items():
                if top.get(key, _ABSENT) != value:
                    replace_value(top, key, value)
        for choice in choices or ():
            index = choice.get("index")
            if type(index) is not int:
                index = 0
            known = self._choices.get(index)
            if known is None:
                known = self._choices[index] = _Choice()
            delta = choice.get("delta")
            if not self.started:
                self.started = says_something(delta) or bool(choice.get("text"))
            if choice.get("finish_reason"):
                self._note_reason(choice)
            if known.grow(choice) and is_same and delta and len(choices) == 1:
                repeated = (delta, known.message)
        return repeated

    def _note_reason(self, choice: dict[str, Any]) -> None:
        if choice["finish_reason"] in _NO_REASONS:
            choice["finish_reason"] = None
        else:
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

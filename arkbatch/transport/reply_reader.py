"""Reads a whole or streamed reply off its connection.

What comes decides how it is read, and not what was asked for or what its Content-Type says: events are folded into one
answer, anything else is a whole body. So whoever wraps or judges a reply never sees a stream.

An end is worth what came before it. An answer whose finish reason came, or a JSON body that is whole, was paid for
and is kept, whatever became of the connection; an answer without its finish reason was cut off, also when its stream
ended in good order. An answer that was cut off may have been billed: what its chunks have counted goes along with the
news of the break. A stream counts in its last chunk alone unless it is asked to do so in each
(`chunk_include_usage`), and what was never said cannot be known.

A reply is waited for as long as data comes. Comments, blank lines and pings are no data. Compression is taken off here
and not by aiohttp, which goes by the headers alone and throws away what they describe wrongly.
"""

import asyncio
import contextlib
from collections.abc import Callable

import aiohttp

from arkbatch.core.calls import Break, Broken, Call, Reply, Response
from arkbatch.core.row import Body
from arkbatch.protocol.lenient_json import dumps_strictly, is_cut_behind_answer, loads_leniently
from arkbatch.protocol.sse import Event, Parser
from arkbatch.protocol.stream import Ending, ErrorEvent, Folding, Garbled, Truncated, Whole
from arkbatch.transport.content_decoding import ContentDecoder, may_be_compressed
from arkbatch.transport.session_posts import Incoming
from arkbatch.transport.transport_errors import UnreadableEncodingError, break_of_error, error_detail

_LINGER_SECONDS = 1.0  # for the end of a reply whose connection is to be used again
_GRACE_SECONDS = 10.0  # for the usage behind a finish reason, and for the end of a body that seems whole
_EVENT_STARTS = (b"data:", b"event:", b"id:", b"retry:", b":")
_LONGEST_START = 12
_BLANK = b" \t\r\n\xef\xbb\xbf"  # also the bytes of a byte order mark


class _Body:
    """A body that is no stream of events."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def feed(self, part: bytes) -> bool:
        """Add a part; return whether it was data."""
        self._parts.append(part)
        return bool(part.strip(_BLANK))

    def whole(self) -> bytes:
        self._parts = [b"".join(self._parts)]
        return self._parts[0]

    def is_complete(self) -> bool:
        """Whether it is one whole JSON text. Only asked where its end does not come."""
        body = self.whole().strip(_BLANK)
        if not body.endswith((b"}", b"]")):
            return False
        try:
            loads_leniently(body)
        except ValueError:
            return False
        return True


class _Stream:
    """A body of events, of which the answer is put together."""

    def __init__(self) -> None:
        self.parser = Parser()
        self.folding = Folding()

    def feed(self, part: bytes) -> bool:
        """Add a part; return whether there was data in it."""
        return self._add_events(self.parser.feed(part))

    def close(self) -> None:
        self._add_events(self.parser.close())
        if self.parser.stray and not self.folding.is_finished:  # the answer broke off, and this may say why
            self.folding.add(Event(self.parser.stray))

    def is_complete(self) -> bool:
        return self.folding.is_over

    def _add_events(self, events: list[Event]) -> bool:
        has_data = False
        for event in events:
            has_data = self.folding.add(event) or has_data
        return has_data


def _kind_of(beginning: bytes) -> _Body | _Stream | None:
    """What a body is by its first bytes; None where they do not tell yet."""
    start = beginning.lstrip(_BLANK)[:_LONGEST_START].lower().replace(b" ", b"")
    if start.startswith(_EVENT_STARTS):
        return _Stream()
    if any(each.startswith(start) for each in _EVENT_STARTS):
        return None
    return _Body()


class _Deadline:
    """When a reply is no longer waited for. One timer looks at it, and hardly ever has something to do."""

    def __init__(self, timeout: asyncio.Timeout, read_seconds: float, is_complete: Callable[[], bool]) -> None:
        self._is_complete = is_complete
        self._timeout = timeout
        self._read_seconds = read_seconds
        self._first_look = min(read_seconds, _GRACE_SECONDS)
        self._loop = asyncio.get_running_loop()
        self._last_data = self._loop.time()
        self._grace_seconds = 0.0  # that were granted, 0 for none so far
        self._handle = self._loop.call_later(self._first_look, self._check_silence)

    def data_came(self, now: float) -> None:
        self._last_data = now

    def end_in(self, seconds: float) -> None:
        """Wait no longer than that, whatever comes."""
        if seconds != self._grace_seconds:
            self._grace_seconds = seconds
            self._timeout.reschedule(self._loop.time() + min(seconds, self._read_seconds))

    def cancel(self) -> None:
        self._handle.cancel()

    def _check_silence(self) -> None:
        if self._timeout.expired():  # in the same round of the loop, which is no longer to be changed
            return
        now = self._loop.time()
        silence = now - self._last_data
        if silence >= self._read_seconds or (silence >= self._first_look and self._is_complete()):
            self._timeout.reschedule(now)
            return
        next_look = self._first_look if silence < self._first_look else self._read_seconds
        self._handle = self._loop.call_later(next_look - silence, self._check_silence)


async def read_reply(call: Call, began: float, max_bytes: int, read_seconds: float, incoming: Incoming) -> Response:
    """Read one reply, whole or streamed. began: the loop time at which its call was sent."""
    if not incoming.is_whole:
        return await _ReplyReader(incoming, call, began, max_bytes, read_seconds).read()
    # Most replies come whole with their head, and need no reader.
    body = incoming.content.read_nowait()
    if body[:1] == b"{" and len(body) <= max_bytes:
        return Reply(incoming.status, body, incoming.headers, asyncio.get_running_loop().time() - began)
    return _ReplyReader(incoming, call, began, max_bytes, read_seconds).read_whole(body)


class _ReplyReader:
    """Reads one reply that is not simply there."""

    def __init__(self, incoming: Incoming, call: Call, began: float, max_bytes: int, read_seconds: float) -> None:
        self._incoming = incoming
        self._call = call
        self._began = began
        self._max_bytes = max_bytes
        self._read_seconds = read_seconds
        self._time = asyncio.get_running_loop().time
        self._kind: _Body | _Stream | None = None
        self._decoder: ContentDecoder | None = None  # nearly no reply needs one
        self._has_begun = False
        self._undecided = b""
        self._size = 0
        self._first_token: float | None = None
        # Of events that nobody asked for, or that come with an error, the body itself may be all there is.
        self._raw: _Body | None = None if call.stream and incoming.status == 200 else _Body()

    def read_whole(self, body: bytes) -> Response:
        """The response of a body that has come to its end."""
        self._take_part(body)
        return self._too_large() if self._size > self._max_bytes else self._end_reply(None)

    async def read(self) -> Response:
        """The response of a body that is still coming."""
        length = self._incoming.headers.get("Content-Length", "")
        if length.isdecimal() and len(length) < 20 and int(length) > self._max_bytes:
            return self._too_large()
        return await self._read_parts()

    async def _read_parts(self) -> Response:
        broken: Exception | None = None
        try:
            async with asyncio.timeout(None) as timeout:
                deadline = _Deadline(timeout, self._read_seconds, self._is_complete)
                try:
                    await self._read_all(deadline)
                finally:
                    deadline.cancel()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            broken = error
        if self._size > self._max_bytes:
            return self._too_large()
        response = self._end_reply(broken)
        if broken is None:
            await _use_up(self._incoming)
        return response

    async def _read_all(self, deadline: _Deadline) -> None:
        """Read until the end, or until nothing more is wanted."""
        async for part in self._incoming.content.iter_any():
            has_data = self._take_part(part)
            if self._size > self._max_bytes or (self._decoder is not None and self._decoder.trouble):
                return
            if has_data:
                now = self._time()
                deadline.data_came(now)
                if self._call.moved is not None:
                    self._call.moved(now)
            if isinstance(stream := self._kind, _Stream):
                if stream.parser.done:
                    return
                if stream.folding.is_over:
                    deadline.end_in(_LINGER_SECONDS if stream.folding.is_counted else _GRACE_SECONDS)

    def _take_part(self, part: bytes) -> bool:
        """Add a part as it came; return whether it was data. Nothing is kept of what is over the limit."""
        if not self._has_begun:
            self._has_begun = bool(part)
            said = self._incoming.headers.get("Content-Encoding", "")
            if may_be_compressed(part, said):
                self._decoder = ContentDecoder(said)
        if self._decoder is None:
            self._size += len(part)
            return self._size <= self._max_bytes and self._feed_part(part)
        has_data = False
        for piece in self._decoder.feed(part):
            self._size += len(piece)
            if self._size > self._max_bytes:
                break
            has_data = self._feed_part(piece) or has_data
        return has_data

    def _feed_part(self, part: bytes) -> bool:
        """Add a part; return whether it was data."""
        if self._raw is not None:
            self._raw.feed(part)
        if self._kind is None:
            # Blanks tell nothing; to keep them would have each part look at all that came before it.
            part = self._undecided = (self._undecided + part).lstrip(_BLANK)
            self._kind = _kind_of(part) if part else None
            if self._kind is None:
                return bool(part)
        has_data = self._kind.feed(part)
        if self._first_token is None and isinstance(self._kind, _Stream) and self._kind.folding.started:
            self._first_token = self._time() - self._began
        return has_data

    def _is_complete(self) -> bool:
        return self._kind is not None and self._kind.is_complete()

    def _end_reply(self, broken: Exception | None) -> Response:
        """What the reply is, now that nothing more comes."""
        broken = self._end_decoding() or broken
        kind = self._kind
        if isinstance(kind, _Stream):
            if broken is None:
                kind.close()
            return self._answer_of_stream(kind.folding.end(has_done=kind.parser.done), broken)
        body = self._undecided if kind is None else kind.whole()
        if broken is not None and not self._is_complete() and not is_cut_behind_answer(body):
            return self._make_broken(broken)
        return self._make_reply(body)

    def _end_decoding(self) -> Exception | None:
        """Why a compressed body could not be read to its end; None: it could, or was none."""
        if self._decoder is None:
            return None
        if rest := self._decoder.close():
            self._feed_part(rest)
        return UnreadableEncodingError(self._decoder.trouble) if self._decoder.trouble else None

    def _answer_of_stream(self, ending: Ending, broken: Exception | None) -> Response:
        match ending:
            case Whole(body):
                return self._make_reply(dumps_strictly(body))
            case ErrorEvent(body):
                return self._make_reply(dumps_strictly(body), has_answer=False)
            case _ if broken is not None:
                return self._make_broken(broken, ending.body)
            case _ if self._raw is not None:
                return self._make_reply(self._raw.whole(), has_answer=False)
            case Truncated(body):
                said = "the stream ended before the answer did, without a finish reason"
                return Broken(Break.DROPPED, said, self._time() - self._began, _billed_body(body))
            case Garbled(said, body):
                return Broken(Break.GARBLED, said, self._time() - self._began, _billed_body(body))

    def _make_reply(self, body: bytes, *, has_answer: bool = True) -> Reply:
        first = self._first_token if has_answer and self._call.stream else None
        return Reply(self._incoming.status, body, self._incoming.headers, self._time() - self._began, first)

    def _make_broken(self, error: Exception, body: Body | None = None) -> Broken:
        said = error_detail(error)
        if isinstance(error, TimeoutError):
            said = f"no data for {self._read_seconds:g} s"
        return Broken(break_of_error(error), said, self._time() - self._began, _billed_body(body or {}))

    def _too_large(self) -> Broken:
        said = f"the reply is over {self._max_bytes >> 20} MB"
        return Broken(Break.TOO_LARGE, said, self._time() - self._began)


def _billed_body(body: Body) -> bytes:
    """What came of an answer, where it says what it cost: only then is it of use to anyone."""
    return dumps_strictly(body) if body.get("usage") else b""


async def _use_up(incoming: Incoming) -> None:
    """Read to the end of the body, or give the connection up: nothing more is wanted of it."""
    if incoming.content.at_eof():
        return
    with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with asyncio.timeout(_LINGER_SECONDS):
            async for _ in incoming.content.iter_any():
                pass

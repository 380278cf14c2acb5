"""Reads replies whose HTTP is invalid, from bytes that aiohttp refused.

A strict parser goes first and reads nearly all replies. It refuses a head with `Content-Length` beside `chunked` or
twice, a line that is no header, a name that is not ASCII, and it loses a whole reply with what stands behind its end. A
client that sends one request at a time on a connection, and uses it no more after such a reply, can take no harm from
them: framing is by `chunked` (if the body begins so), else by the length, else by the end of the connection.
"""

import re
from collections.abc import Callable
from typing import Any

import aiohttp
from multidict import CIMultiDict, CIMultiDictProxy

MAX_HEAD_BYTES = 1 << 18
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")
_STATUS = re.compile(rb"HTTP/(\d)(?:\.(\d))?[ \t]+(\d{3})(?:[ \t]+([^\r\n]*))?")
_CHUNK_SIZE = re.compile(rb"[ \t]*([0-9a-fA-F]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")
_START_OF_CHUNK_SIZE = re.compile(rb"[ \t]*[0-9a-fA-F]{0,15}[ \t]*(?:;[^\n]*)?\r?")
_MAX_SIZE_LINE = 4096
_WITHOUT_BODY = (204, 304)
_Parsed = tuple[list[tuple[Any, Any]], bool, bytes]


class TolerantParser:
    """One reply by the strict parser, or else by `LooseReader` from its first byte.

    Once the strict parser has given a head, what follows is its own, and its errors are raised.
    """

    def __init__(self, strict: Any, make_loose: Callable[[], "LooseReader"]) -> None:
        self._strict = strict
        self._make_loose = make_loose
        self._loose: LooseReader | None = None
        self._seen: list[bytes] = []  # parts of a head that has not ended
        self._has_head = False

    def feed_data(self, data: bytes) -> _Parsed:
        if self._loose is not None:
            return self._loose.feed_data(data)
        try:
            parsed: _Parsed = self._strict.feed_data(data)
        except Exception:
            if self._has_head:
                raise
            self._loose = self._make_loose()
            try:
                return self._loose.feed_data(b"".join((*self._seen, data)))
            except NotHttpError:
                self._loose = None
            raise
        if parsed[0]:
            self._has_head = parsed[0][-1][0].code >= 200
            self._seen = []
        elif not self._has_head:
            self._seen.append(data)
        return parsed

    def feed_eof(self) -> Any:
        return self._strict.feed_eof() if self._loose is None else self._loose.feed_eof()

    def pause_reading(self) -> None:
        """What is read loosely is not held up: it ends at the limit for replies."""
        if self._loose is None:
            self._strict.pause_reading()


class NotHttpError(ValueError):
    """The bytes are no reply by any reading, or no whole one."""


class LooseReader:
    """One reply from its first byte. `make_message` and `make_content` give the values that aiohttp's parser gives."""

    def __init__(self, make_message: Callable[..., Any], make_content: Callable[[], aiohttp.StreamReader]) -> None:
        self._make_message = make_message
        self._make_content = make_content
        self._waiting = b""
        self._content: aiohttp.StreamReader | None = None
        self._body: _Chunked | _Counted | _UntilEnd | None = None
        self._is_chunked = False
        self._length: int | None = None
        self._has_ended = False

    def feed_data(self, data: bytes) -> _Parsed:
        """Return the head when it is there, and nothing later; the body goes into its content."""
        if self._content is not None:
            self._feed_body(data)
            return [], False, b""
        self._waiting += data
        while (head := self._take_head()) is not None:
            code = head.code
            if code >= 200 or code == 101:
                self._content = self._make_content()
                waiting, self._waiting = self._waiting, b""
                if code in _WITHOUT_BODY:
                    self._end()
                self._feed_body(waiting)
                return [(head, self._content)], False, b""
        return [], False, b""

    def feed_eof(self) -> None:
        """Raises `NotHttpError` where the body lacks something."""
        if self._content is None or self._has_ended:
            return
        if self._body is None:
            self._begin_body(self._waiting)
        if not self._has_ended and not isinstance(self._body, _UntilEnd):
            raise NotHttpError("the body is shorter than its head says")
        self._end()

    def _take_head(self) -> Any:
        text = self._waiting.lstrip(b"\r\n")
        found = _END_OF_HEAD.search(text)
        if found is None:
            if len(text) > MAX_HEAD_BYTES or (len(text) > 8 and not text.startswith(b"HTTP/")):
                raise NotHttpError
            return None
        lines = text[: found.start()].split(b"\n")
        status = _STATUS.match(lines[0])
        if status is None:
            raise NotHttpError
        self._waiting = text[found.end() :]
        headers = _headers_in(lines[1:])
        self._is_chunked = "chunked" in ",".join(headers.getall("Transfer-Encoding", ())).lower()
        self._length = _length_in(headers)
        version = (int(status[1]), int(status[2] or 0))
        reason = (status[4] or b"").strip().decode("utf-8", "replace")
        return self._make_message(version, int(status[3]), reason, CIMultiDictProxy(headers))

    def _feed_body(self, data: bytes) -> None:
        if self._has_ended or self._content is None or not data:
            return
        if self._body is None:
            data = self._waiting + data
            if self._is_chunked and len(data) < _MAX_SIZE_LINE and _START_OF_CHUNK_SIZE.fullmatch(data):
                self._waiting = data
                return
            self._waiting = b""
            self._begin_body(data)
        elif self._body.feed(data, self._content):
            self._end()

    def _begin_body(self, beginning: bytes) -> None:
        assert self._content is not None
        if self._is_chunked and _CHUNK_SIZE.match(beginning):
            self._body = _Chunked()
        else:
            self._body = _UntilEnd() if self._length is None else _Counted(self._length)
        if beginning and self._body.feed(beginning, self._content):
            self._end()

    def _end(self) -> None:
        if self._content is not None and not self._has_ended:
            self._content.feed_eof()
        self._has_ended = True


class _Chunked:
    """A body in chunks; lines may end without a CR."""

    def __init__(self) -> None:
        self._waiting = b""
        self._left = 0  # of the present chunk
        self._is_in_trailers = False

    def feed(self, data: bytes, content: aiohttp.StreamReader) -> bool:
        """Add a part; return whether it was the last."""
        data, self._waiting = self._waiting + data, b""
        while data and not self._is_in_trailers:
            if self._left:
                content.feed_data(data[: self._left])
                data, self._left = data[self._left :], max(0, self._left - len(data))
                continue
            data = data.lstrip(b"\r\n")
            size = _CHUNK_SIZE.match(data)
            if size is None:
                if len(data) > _MAX_SIZE_LINE or b"\n" in data:
                    raise NotHttpError("a chunk without its size")
                self._waiting = data
                return False
            data, self._left = data[size.end() :], int(size[1], 16)
            self._is_in_trailers = not self._left
        return self._is_in_trailers


class _Counted:
    def __init__(self, length: int) -> None:
        self._left = length

    def feed(self, data: bytes, content: aiohttp.StreamReader) -> bool:
        content.feed_data(data[: self._left])
        self._left -= min(self._left, len(data))
        return not self._left


class _UntilEnd:
    """A body that ends with its connection."""

    def feed(self, data: bytes, content: aiohttp.StreamReader) -> bool:
        content.feed_data(data)
        return False


def _headers_in(lines: list[bytes]) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict()
    for line in lines:
        name, colon, value = line.rstrip(b"\r").partition(b":")
        if colon and name.strip() and not name[:1].isspace():
            headers.add(_text(name), _text(value))
    return headers


def _text(raw: bytes) -> str:
    """Return a name or value of a header; bytes that are no UTF-8 are kept as aiohttp keeps them."""
    return raw.replace(b"\0", b"").strip().decode("utf-8", "surrogateescape")


def _length_in(headers: CIMultiDict[str]) -> int | None:
    """Return the length that a head names, None when it names none or two."""
    said = {int(each) for value in headers.getall("Content-Length", ()) for each in re.findall(r"\d{1,18}", value)}
    return said.pop() if len(said) == 1 else None

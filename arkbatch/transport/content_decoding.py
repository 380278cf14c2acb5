"""Decompresses a body by what its bytes are, whatever the headers say.

Proxies name a compression that they have taken off, leave out the name of one that they have put on, or put on two. A
body that says `gzip` and is JSON is JSON; one that says nothing and begins as gzip does is inflated. Checksums are not
looked at, and neither is what stands behind the end: the connection protects what it carries, and an answer that can
be read was paid for. What is inflated comes in pieces, so that a small body that holds gigabytes ends at the limit for
replies.
"""

import zlib
from collections.abc import Iterator

GZIP, ZLIB, DEFLATE = "gzip", "zlib", "deflate"
_PIECE_BYTES = 1 << 20
_MOST_LAYERS = 3
_GZIP_START = b"\x1f\x8b"
_GZIP_TRAILER_BYTES = 8
_GZIP_HEADER_BYTES = 10
_MAX_GZIP_HEADER_BYTES = 1 << 17
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16  # RFC 1952, 2.3.1
_OF_TEXT = bytes(range(9, 14)) + bytes(range(32, 256))
_STARTS_OF_TEXT = b'{[<":dei \t\r\n\xef'  # of JSON, pages, events


def may_be_compressed(beginning: bytes, content_encoding: str) -> bool:
    """Whether a body with these first bytes needs a decoder. Nearly none does."""
    return bool(content_encoding) or beginning[:1] in (b"\x1f", b"\x78")


class ContentDecoder:
    """Inflates one body while it comes. `trouble`: why the rest of it cannot be read, "" while it can."""

    def __init__(self, content_encoding: str, layer: int = 1) -> None:
        self.trouble = ""
        self._said = content_encoding.strip().lower()
        self._layer = layer
        self._beginning = b""
        self._is_plain = False
        self._inflater: _Inflater | None = None
        self._inner: ContentDecoder | None = None

    def feed(self, part: bytes) -> Iterator[bytes]:
        """Yield what a part holds, in pieces of a bounded size."""
        if self._is_plain:
            yield part
            return
        if self._inflater is None:
            part = self._beginning + part
            if len(part) < 2:
                self._beginning = part
                return
            kind = self._kind_of(part)
            if kind is None:
                self._be_plain(part)
                yield part
                return
            self._inflater, self._inner = _Inflater(kind), ContentDecoder("", self._layer + 1)
        yield from self._inflate(part)

    def close(self) -> bytes:
        """Return what was too short to be anything compressed. A body that ended within its compression is torn."""
        if self._inner is not None:
            return self._inner.close()
        return b"" if self._is_plain else self._beginning

    def _inflate(self, part: bytes) -> Iterator[bytes]:
        assert self._inflater is not None
        assert self._inner is not None
        try:
            for piece in self._inflater.feed(part):
                yield from self._inner.feed(piece)
        except zlib.error as error:
            self.trouble = f"its compression is broken ({error})".removesuffix(" ()")
        self.trouble = self.trouble or self._inner.trouble

    def _kind_of(self, beginning: bytes) -> str | None:
        if self._layer > _MOST_LAYERS:
            return None
        if beginning.startswith(_GZIP_START):
            return GZIP
        if beginning[0] == 0x78 and int.from_bytes(beginning[:2], "big") % 31 == 0:  # RFC 1950, 2.2
            return ZLIB
        is_raw = "deflate" in self._said and beginning[:1] not in _STARTS_OF_TEXT
        return DEFLATE if is_raw else None

    def _be_plain(self, beginning: bytes) -> None:
        self._is_plain = True
        if self._said not in ("", "identity") and beginning[:64].translate(None, _OF_TEXT):
            self.trouble = f"it cannot be read as {self._said[:40]!r}, which is how it says that it is compressed"


class _Inflater:
    """One compression, which may consist of several members one after the other."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._waiting = b""  # a header or trailer that is not all there
        self._inflating: zlib._Decompress | None = None
        self._has_ended = False

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Raises `zlib.error` where what came before is all that can be read."""
        data, self._waiting = self._waiting + data, b""
        while data and not self._has_ended:
            if self._inflating is None:
                data = self._begin_member(data)
            elif self._inflating.eof:
                data = self._behind_member(data)
            else:
                yield from self._inflate(data)
                data = self._inflating.unused_data

    def _begin_member(self, data: bytes) -> bytes:
        """Return what stands behind the header; while it is not all there, it waits."""
        start = self._length_of_header(data)
        if start is None:
            self._waiting = data
            return b""
        self._inflating = zlib.decompressobj(-zlib.MAX_WBITS)
        return data[start:]

    def _behind_member(self, behind: bytes) -> bytes:
        """Return the next member, if there is one; without its beginning nobody knows yet."""
        start = behind[_GZIP_TRAILER_BYTES : _GZIP_TRAILER_BYTES + len(_GZIP_START)]
        if self._kind == GZIP and start == _GZIP_START:
            self._inflating = None
            return behind[_GZIP_TRAILER_BYTES:]
        if self._kind == GZIP and len(start) < len(_GZIP_START):
            self._waiting = behind
        else:
            self._has_ended = True
        return b""

    def _inflate(self, data: bytes) -> Iterator[bytes]:
        assert self._inflating is not None
        while data and not self._inflating.eof:
            if piece := self._inflating.decompress(data, _PIECE_BYTES):
                yield piece
            data = self._inflating.unconsumed_tail

    def _length_of_header(self, data: bytes) -> int | None:
        if self._kind == DEFLATE:
            return 0
        return 2 if self._kind == ZLIB else _length_of_gzip_header(data)


def _length_of_gzip_header(data: bytes) -> int | None:
    """Return how many bytes stand before what is compressed, None when they are not all there.

    Raises `zlib.error` where they are too many to be a header.
    """
    if len(data) < _GZIP_HEADER_BYTES:
        return None
    flags, at = data[3], _GZIP_HEADER_BYTES
    if flags & _FEXTRA:
        at += 2 + int.from_bytes(data[at : at + 2], "little")
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag and at <= len(data):
            end = data.find(b"\0", at)
            at = end + 1 if end >= 0 else len(data) + 1
    if flags & _FHCRC:
        at += 2
    if at > len(data) > _MAX_GZIP_HEADER_BYTES:
        raise zlib.error
    return at if at <= len(data) else None

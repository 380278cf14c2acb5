"""Server-sent events, parsed while they arrive: bytes in, whole events out.

It works on bytes and never decodes, so a character cut in two by a packet needs no care, and each byte is looked at
once however long its line is. It knows the framing and the two habits of chat services that go beyond it: `[DONE]`
ends the stream, and some servers forget the blank line between events. What stands inside an event is for `stream`.
"""

import re

from msgspec import Struct

_BOM = b"\xef\xbb\xbf"
_DATA = b"data:"
_MAX_STRAY_BYTES = 4096
_ODD_DATA = re.compile(rb"[ \t]*data[ \t]*:", re.IGNORECASE)
_DATA_AGAIN = re.compile(rb"\s*(?:data:\s*)+")  # a gateway that wraps lines which are wrapped already
# `[DONE]` ends a stream. Servers also quote it, write it small, or leave a bracket out.
_DONE = re.compile(rb"""\s*["']?(?:\[\s*done\b|done\s*\]?["']?\s*$)""", re.IGNORECASE)


class Event(Struct, frozen=True, gc=False):
    """One event that carries data. `name` is empty unless the server gave one."""

    data: bytes
    name: str = ""


class Parser:
    """Feed it what comes, close it when the stream has ended in good order.

    A stream that broke off should not be closed: its last line may be half a line.
    """

    def __init__(self) -> None:
        self.done = False  # `[DONE]` was seen; what follows is ignored
        self._tail: list[bytes] = []  # the parts of a line that has not ended
        self._data: list[bytes] = []  # the data lines of an event that has not ended
        self._name = ""
        self._at_start = True
        self.stray = b""  # the first line that is none of an event, such as the error of a proxy
        self._after_return = False  # the last byte was a CR, so a LF that follows belongs to it

    def feed(self, packet: bytes) -> list[Event]:
        """The events that this packet completes."""
        if self.done or not packet:
            return []
        if self._after_return:
            packet = packet.removeprefix(b"\n")
            self._after_return = False
        return self._parse(self._whole_lines(packet))

    def close(self) -> list[Event]:
        """What a last line or event without its line end still holds."""
        last, self._tail = b"".join(self._tail), []
        return [] if self.done else self._parse([last, b""])

    def _whole_lines(self, packet: bytes) -> list[bytes]:
        """The lines that have ended; the rest is kept as it is, for joining it each time would be quadratic."""
        if packet.endswith(b"\n") and not self._tail:  # as nearly all do
            return packet.splitlines()
        end = max(packet.rfind(b"\n"), packet.rfind(b"\r")) + 1
        if end == 0:
            self._tail.append(packet)
            return []
        self._after_return = packet.endswith(b"\r")
        self._tail.append(packet[:end])
        lines = b"".join(self._tail).splitlines()
        self._tail = [packet[end:]] if end < len(packet) else []
        return lines

    def _parse(self, lines: list[bytes]) -> list[Event]:
        if self._at_start and lines:
            lines[0] = lines[0].removeprefix(_BOM)
            self._at_start = False
        events: list[Event] = []
        for came in lines:
            if not came:
                self._finish(events)
                continue
            line = came if came.startswith(_DATA) else _usual_spelling(came)
            if line.startswith(_DATA):
                value = line[6:] if line[5:6] == b" " else line[5:]
                if value[:1] != b"{":
                    value = _DATA_AGAIN.sub(b"", value, count=1) if _DATA_AGAIN.match(value) else value
                    if _DONE.match(value):
                        self._finish(events)
                        self.done = True
                        break
                if self._data:
                    self._finish_unless_continued(value, events)
                self._data.append(value)
            else:
                self._name = _event_name(line, self._name)
                if not self.stray and line.lstrip()[:1] in (b"{", b"<"):
                    self.stray = line[:_MAX_STRAY_BYTES]
        return events

    def _finish_unless_continued(self, value: bytes, events: list[Event]) -> None:
        """End the event before this data line, if the server forgot the blank line between them.

        It takes no guessing: inside one JSON text no line that ends with a brace can be followed by one that begins
        with a brace.
        """
        if value.startswith(b"{") and self._data[-1].rstrip().endswith(b"}"):
            self._finish(events)

    def _finish(self, events: list[Event]) -> None:
        data = self._data
        if data:
            whole = data[0] if len(data) == 1 else b"\n".join(data)
            if whole:
                events.append(Event(whole, self._name))
            self._data = []
        self._name = ""


def _usual_spelling(line: bytes) -> bytes:
    """Return a line with `data:` at its beginning if that is what it means."""
    odd = _ODD_DATA.match(line)
    return line if odd is None else _DATA + line[odd.end() :]


def _event_name(line: bytes, current: str) -> str:
    """The name that an `event:` line gives; comments, `id:` and `retry:` mean nothing to us."""
    field, _, value = line.partition(b":")
    return value.removeprefix(b" ").decode(errors="replace") if field == b"event" else current

"""Reads JSON that is a list, or objects over several lines.

Any encoding is read. Elements are read one by one from a window of the text, so that memory does not grow with the
file. Elements are numbered from 1; an offset is that of the first byte of an element. A list of plain texts has the
column `text`.
"""

import codecs
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import orjson

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import InputInfo, Position
from arkbatch.core.template_syntax import Reading
from arkbatch.rows.input_file import (
    LONGEST_LINE,
    Change,
    Counted,
    compare_file,
    go_to_offset,
    open_input,
    survey_file,
    unreadable_record,
)
from arkbatch.rows.text_encoding import LOOKED_AT, encoding_of

TEXT_COLUMN = "text"
_WINDOW = 1 << 20  # bytes read at a time
_BETWEEN = re.compile(r"[\s,\]\x1e]*")  # what may stand between elements
_NEXT_ELEMENT = re.compile(r"[\r\n]\s*,?\s*(?=\{)")  # where reading goes on after an element that is broken
_decode = json.JSONDecoder().raw_decode
_BETWEEN_IN_LIST = re.compile(r"[\s,]*")
_LIST_BEHIND = re.compile(r"\]\s*,\s*\"[^\"]*\"\s*:\s*\[\s*\{")
_MORE_BEHIND = re.compile(r"\]\s*\}\s*\S")
# Under these names a list of objects in an object is the rows; other lists are values of one row.
_LIST_NAMES = {
    *("data", "dataset", "rows", "records", "items", "entries", "examples", "instances", "samples", "results"),
    *("train", "validation", "test", "questions", "prompts", "requests"),
}


def list_in_object(text: str) -> int | None:
    """Where the elements begin of a text such as `{"data": [{...}, ...]}`; None: it is no such text."""
    place = 1
    try:
        while True:
            name, place = _decode(text, _skip_characters(text, place, ", \t\r\n"))
            place = _skip_characters(text, place, " \t\r\n")
            if not isinstance(name, str) or text[place] != ":":
                return None
            place = _skip_characters(text, place + 1, " \t\r\n")
            if text[place] == "[" and name.lower() in _LIST_NAMES:
                return place + 1 if text[_skip_characters(text, place + 1, " \t\r\n")] == "{" else None
            place = _decode(text, place)[1]
    except (ValueError, IndexError, RecursionError):
        return None


def _refuse_several_lists(path: Path, text: str) -> None:
    """UsageError: an object holds several lists of rows, of which only one would be read."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # of larger files, what stands behind the list is a bad row
        return
    names = [
        name
        for name, each in value.items()
        if name.lower() in _LIST_NAMES and isinstance(each, list) and each and isinstance(each[0], dict)
    ]
    if len(names) > 1:
        command = f"jq -c {shlex.quote(f'.{names[0]}[]')} {shlex.quote(str(path))} > {names[0]}.jsonl"
        raise UsageError(
            f"{path} holds several lists ({', '.join(names)}): write each to a file of its own, such as:  {command}"
        )


def _skip_characters(text: str, place: int, what: str) -> int:
    while text[place] in what:
        place += 1
    return place


class JsonDocuments:
    """One file of JSON elements."""

    is_table = True
    columns: tuple[str, ...] = ()

    def __init__(self, path: Path, reading: Reading) -> None:
        self.path = path
        with open_input(path) as file:
            begin = file.read(LOOKED_AT)
        self._encoding = encoding_of(begin, path.name, reading.encoding)
        text = begin[self._encoding.mark :].decode(self._encoding.name, "replace")
        place = len(text) - len(text.lstrip())
        self._is_list = text[place : place + 1] == "["
        inner = None if self._is_list else list_in_object(text[place:])
        self._is_wrapped = inner is not None
        if self._is_wrapped:
            _refuse_several_lists(path, text[place:])
        before = text[: place + (inner or int(self._is_list))]
        self._start = self._encoding.mark + len(before.encode(self._encoding.name))

    @property
    def description(self) -> str:
        kind = "a JSON list" if self._is_list else "a list in a JSON object" if self._is_wrapped else "JSON objects"
        return f"{kind} in {self._encoding.label}"

    def read_records(self, start: Position = Position()) -> Iterator[tuple[int, int, bytes]]:  # noqa: B008  it is frozen
        """Yield number, offset and bytes of each element from a position on."""
        offset = start.offset if start.line else self._start
        with open_input(self.path) as file:
            go_to_offset(file, self.path, offset)
            yield from self._read_elements(file, start.line, offset)

    def survey_input(self) -> InputInfo:
        return survey_file(self.path, self._count_elements)

    def _count_elements(self, stream: IO[bytes]) -> Counted:
        stream.read(self._start)
        count = sum(1 for _ in self._read_elements(stream, 0, self._start))
        return Counted(count, count)

    def compare_input(self, known: InputInfo) -> Change:
        return compare_file(self.path, known)

    def describe_place(self, number: int, offset: int) -> str:
        """Return where an element stands, for a person."""
        del offset
        return f"row {number} of {self.path}"

    def _read_elements(self, file: IO[bytes], number: int, offset: int) -> Iterator[tuple[int, int, bytes]]:
        window = _Window(file, self._encoding.name, offset)
        while window.go_to_next(_BETWEEN_IN_LIST if self._is_wrapped else _BETWEEN):
            number += 1
            offset = window.offset
            if self._is_wrapped and window.text_ahead.startswith("]"):
                if _MORE_BEHIND.match(window.text_ahead) or _LIST_BEHIND.match(window.text_ahead):
                    yield (
                        number,
                        offset,
                        unreadable_record(b"", f"behind the list of {self.path.name} stands another one"),
                    )
                return
            element = window.decode_element()
            if isinstance(element, str) or element is None:
                raw = window.take_element()
                reason = f"element {number} of {self.path.name} is not JSON: {element or 'it does not end'}"
                yield number, offset, unreadable_record(raw, reason)
            elif isinstance(element[0], str):
                window.take_element()
                yield number, offset, orjson.dumps({TEXT_COLUMN: element[0]})
            else:
                yield number, offset, window.take_element()


class _Window:
    """The part of a text that is being read; `offset` is the byte of `place` in the file."""

    def __init__(self, file: IO[bytes], encoding: str, offset: int) -> None:
        self._file, self._encoding = file, encoding
        errors = "replace" if encoding.startswith("utf") else "surrogateescape"
        self._decoder = codecs.getincrementaldecoder(encoding)(errors)
        self._text = ""
        self.place = self.end = 0
        self.offset = offset
        self._ended = False

    @property
    def text_ahead(self) -> str:
        """What was read and comes next."""
        return self._text[self.place : self.place + 1000]

    def _read_more(self, size: int) -> bool:
        """Read more; False at the end of the file."""
        part = self._file.read(size)
        self._ended = not part
        self._text = self._text[self.place :] + self._decoder.decode(part, final=self._ended)
        self.place = 0
        return not self._ended

    def go_to_next(self, between: re.Pattern[str]) -> bool:
        """Go to the next element; False when there is none."""
        while True:
            match = between.match(self._text, self.place)
            assert match is not None
            self._move_to(match.end())
            if self.place < len(self._text):
                return True
            if not self._read_more(_WINDOW):
                return False

    def _move_to(self, place: int) -> None:
        self.offset += len(self._text[self.place : place].encode(self._encoding, "replace"))
        self.place = place

    def decode_element(self) -> tuple[object] | str | None:
        """Return the element at this place, or why there is none; `end` is behind it."""
        size = _WINDOW
        while True:
            try:
                value, self.end = _decode(self._text, self.place)
            except (json.JSONDecodeError, RecursionError) as error:
                reason = str(error)
            else:
                # A number at the end of the window may go on; everything else has an end of its own.
                if self.end < len(self._text) or self._ended or isinstance(value, dict | list | str):
                    return (value,)
                reason = ""
            if len(self._text) - self.place > LONGEST_LINE or not self._read_more(size):
                if not reason:
                    return (value,)
                following = _NEXT_ELEMENT.search(self._text, self.place + 1)
                self.end = following.end() if following else len(self._text)
                return reason.partition(": line")[0]
            size *= 2

    def take_element(self) -> bytes:
        """Return the bytes of the element in UTF-8, and move the window behind it."""
        text = self._text[self.place : self.end]
        self._move_to(self.end)
        return text.encode("utf-8", "surrogatepass")

"""Recognises stream chunks that differ from an earlier one in a single text.

Nearly all chunks of an answer are the same bytes but for a few words. An earlier chunk is cut into what stands before
its text and behind it; a chunk with the same bytes around a JSON text says that text and nothing else that is new.
"""

import re
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.protocol.delta_merging import NAMES, GrowingText

_MAX_PATTERNS = 5  # that are learned in one stream; one that has more has no chunks that repeat


class _Pattern(Struct, frozen=True, gc=False):
    """The bytes around the text of a chunk, and where the text is collected."""

    before: bytes
    after: bytes
    pieces: GrowingText


class RepeatedChunks:
    """The pattern of the last chunk of one stream, if it has one."""

    def __init__(self) -> None:
        self._pattern: _Pattern | None = None
        self._learned = 0

    def add_text(self, data: bytes) -> bool:
        """Append the text of a chunk that follows the pattern; return whether it does."""
        pattern = self._pattern
        if pattern is None:
            return False
        if data.startswith(pattern.before) and data.endswith(pattern.after):
            try:
                text = orjson.loads(data[len(pattern.before) : -len(pattern.after)])
            except orjson.JSONDecodeError:
                text = None
            if type(text) is str:
                pattern.pieces.append(text)
                return True
        self._pattern = None
        return False

    def learn(self, data: bytes, delta: dict[str, Any], message: dict[str, Any]) -> None:
        """Learn the pattern of a chunk that has been added to a message.

        data: has one choice, and but for its delta it says what the chunk before said
        """
        name = _name_of_text(delta)
        if name is None or self._learned == _MAX_PATTERNS:
            return
        found, pieces = _find_text(data, name), message.get(name)
        if found is not None and type(pieces) is GrowingText:
            self._learned += 1
            self._pattern = _Pattern(*found, pieces)


def _name_of_text(delta: dict[str, Any]) -> str | None:
    """Return the name of the text of a delta, None if more stands in it than one text, names and nothing."""
    said = [name for name, value in delta.items() if value and name not in NAMES]
    return said[0] if len(said) == 1 and type(delta[said[0]]) is str else None


def _find_text(data: bytes, name: str) -> tuple[bytes, bytes] | None:
    """Return the bytes around the text of this name; None: it may be another one."""
    key = f'"{name}"'.encode(errors="replace")
    found = re.search(rb'%s\s*:\s*("(?:[^"\\]|\\.)*")' % re.escape(key), data)
    if found is None:
        return None
    before, after = data[: found.start(1)], data[found.end(1) :]
    # Where nothing is escaped, these bytes are a key or a text, and not a part of one; so one of them is this key.
    is_only_one = before.count(key) == 1 and key not in after and b"\\" not in before and b"\\" not in after
    return (before, after) if is_only_one else None

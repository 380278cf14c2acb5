"""Recognises stream chunks that differ from an earlier one in a single text.

Nearly all chunks of an answer are the same bytes but for a few words. An earlier chunk is cut into what stands before
its text and behind it; a chunk with the same bytes around a JSON text says that text and nothing else that is new.
"""

import re
from typing import Any

import orjson
from msgspec import Struct

from arkbatch.protocol.delta_merging import NAMES, GrowingText

_PROBE = "arkbatch looks where this text goes"
_QUOTED_PROBE = orjson.dumps(_PROBE)
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

    def learn(self, data: bytes, message: dict[str, Any]) -> None:
        """Learn the pattern of a chunk that has been added to a message.

        data: but for its delta it says what the chunk before said
        """
        if self._learned == _MAX_PATTERNS:
            return
        found = _find_text(data)
        if found is None:
            return
        name, before, after = found
        pieces = message.get(name)
        if type(pieces) is GrowingText:
            self._learned += 1
            self._pattern = _Pattern(before, after, pieces)


def _find_text(data: bytes) -> tuple[str, bytes, bytes] | None:
    """Return the name of the one text of a chunk and the bytes around it; None: a repetition would say more."""
    try:
        chunk = orjson.loads(data)
        name = _name_of_text(chunk["choices"])
        found = None if name is None else re.search(rb'"%s"\s*:\s*("(?:[^"\\]|\\.)*")' % re.escape(name.encode()), data)
        if name is None or found is None:
            return None
        before, after = data[: found.start(1)], data[found.end(1) :]
        # Whether it is the right place, and whether the rest is read as before, is seen by trying.
        chunk["choices"][0]["delta"][name] = _PROBE
        return (name, before, after) if orjson.loads(before + _QUOTED_PROBE + after) == chunk else None
    except (orjson.JSONDecodeError, UnicodeEncodeError):
        return None


def _name_of_text(choices: list[dict[str, Any]]) -> str | None:
    """Return the name of the text in the only delta, None if more stands in it than one text, names and nothing."""
    delta = choices[0].get("delta") if len(choices) == 1 else None
    if not isinstance(delta, dict):
        return None
    said = [name for name, value in delta.items() if value and name not in NAMES]
    return said[0] if len(said) == 1 and type(delta[said[0]]) is str else None

"""Merges the deltas of a streamed answer into one message.

Fields that nobody told us of follow the same rule, so they survive.
"""

from collections.abc import Mapping, Sequence
from typing import Any

# Texts in a delta that are names and not parts of a text: the last one stands.
NAMES = {"role", "id", "type", "name", "object", "format", "signature"}
_MAX_INDEX_DIGITS = 6
_INPUT_COUNTS = (
    *("prompt_tokens", "input_tokens", "prompt_tokens_details", "input_tokens_details"),
    *("cache_read_input_tokens", "cache_creation_input_tokens"),
)


class GrowingText(list[str]):
    """A growing text as its pieces: appending to a `str` in a dict copies it each time."""


class _ToolCalls(dict[int, dict[str, Any]]):
    """The calls of tools of one message by their places. `places`: which of them each index stands for now."""

    def __init__(self) -> None:
        super().__init__()
        self.places: dict[int, int] = {}

    def place_of(self, delta: Mapping[str, Any]) -> int:
        """By index; but another id at the same index is another call, since some servers say 0 of each.

        Some older models leave the index out and send each call whole: then they stand in the order they came. What
        has neither an index nor a beginning of its own goes on with the last call.
        """
        index, name = delta.get("index"), delta.get("id")
        if type(index) is str and index.isdecimal() and len(index) < _MAX_INDEX_DIGITS:
            index = int(index)
        if type(index) is not int:
            return max(self) if self and not _begins_call(delta) else max(self, default=-1) + 1
        place = self.places.get(index, index)
        known = self.get(place, {}).get("id")
        if name and known and name != known:
            place = next((each for each, call in self.items() if call.get("id") == name), max(self) + 1)
        self.places[index] = place
        return place


def _begins_call(delta: Mapping[str, Any]) -> bool:
    function = delta.get("function")
    return bool(delta.get("id") or (isinstance(function, dict) and function.get("name")))


def says_something(delta: Mapping[str, Any] | None) -> bool:
    return any(value for key, value in (delta or {}).items() if key not in NAMES)


def replace_value(target: dict[str, Any], key: str, value: Any) -> None:
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


def merge_delta(target: dict[str, Any], delta: Mapping[str, Any]) -> None:
    for key, value in delta.items():
        old = target.get(key)
        if type(old) is GrowingText and type(value) is str:  # as in nearly all chunks
            old.append(value)
        elif key == "tool_calls":
            _merge_tool_calls(target, value or ())
        elif isinstance(value, str):
            _merge_text(target, key, value)
        elif isinstance(value, dict) and isinstance(old, dict):
            merge_delta(old, value)
        elif isinstance(value, dict):
            target[key] = {}
            merge_delta(target[key], value)
        elif isinstance(value, list) and type(old) is list:
            old.extend(value)
        elif isinstance(value, list) and isinstance(old, GrowingText) and any(old):
            target[key] = [{"type": "text", "text": old}, *value]
        else:
            replace_value(target, key, value)


def _merge_text(target: dict[str, Any], key: str, value: str) -> None:
    old = target.get(key)
    if key in NAMES:
        target[key] = value or old or ""
    elif isinstance(old, GrowingText):
        old.append(value)
    elif type(old) is list and old:
        _merge_into_parts(old, value)
    else:
        target[key] = GrowingText([value])


def _merge_into_parts(parts: list[Any], text: str) -> None:
    """A text behind a list of parts, such as the thinking of a model, is one more part."""
    last = parts[-1]
    if isinstance(last, dict) and isinstance(last.get("text"), GrowingText):
        last["text"].append(text)
    elif text:
        parts.append({"type": "text", "text": GrowingText([text])})


def _merge_tool_calls(message: dict[str, Any], deltas: Sequence[Any] | dict[str, Any]) -> None:
    for delta in [deltas] if isinstance(deltas, dict) else deltas:
        if not isinstance(delta, dict):
            continue
        calls = message.setdefault("tool_calls", _ToolCalls())
        call = calls.setdefault(calls.place_of(delta), {})
        merge_delta(call, {key: value for key, value in delta.items() if key != "index"})


def settled_value(value: Any) -> Any:
    if isinstance(value, GrowingText):
        return "".join(value)
    if isinstance(value, dict):
        return {
            key: [settled_value(call) for _, call in sorted(item.items())]
            if isinstance(item, _ToolCalls)
            else settled_value(item)
            for key, item in value.items()
        }
    if type(value) is list:
        return [settled_value(each) for each in value]
    return value

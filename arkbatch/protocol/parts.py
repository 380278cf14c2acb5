"""The images and videos of a request, and which of them are files on this machine.

They stand in the contents of a chat's messages, and in the `input` of multimodal embeddings. An address with a scheme
(`https:`, `data:`, `tos:` ...) is the service's business and passes untouched. One without, or with `file:`, names a
file, always relative to a directory that the user named and below it, so that an input from somewhere else cannot send
whatever else this machine holds. Files themselves are touched by `adapters.images`.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from arkbatch.core.types import Body

_SHOWN = 200  # characters of a name in a message
KINDS = {"image_url": "image", "video_url": "video"}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # of two letters or more: a single one is a drive of Windows
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")


class FileName(Struct, frozen=True):
    """A file that a part names. `kind` is "image" or "video", `url` the words of the row."""

    kind: str
    url: str

    @property
    def path(self) -> str:
        """Below the directory, if there is no `problem`. A `file:` address may have any character as `%20`."""
        return unquote(self.url[5:]) if self.url[:5].lower() == "file:" else self.url

    def unfit(self, reason: str) -> str:
        """A sentence of why the row with it cannot be sent."""
        url = self.url if len(self.url) <= _SHOWN else f"{self.url[:_SHOWN]}..."
        return f"{self.kind} {json.dumps(url, ensure_ascii=False)}: {reason}"

    @property
    def problem(self) -> str | None:
        """Why the directory cannot hold it, whatever is there."""
        path = self.path
        if _ABSOLUTE.match(path):
            return "the path is absolute; write it relative to the directory of --images"
        if ".." in re.split(r"[/\\]", path):
            return "the path leaves its directory by .."
        if not path or "\0" in path:
            return "this is no path"
        return None


def file_names(body: Body) -> Iterator[FileName]:
    """The files that a request names, in the order of its parts."""
    for parts in _lists(body):
        for part in parts:
            if type(part) is dict and (name := _file_name(part)) is not None:
                yield name


def with_files(body: Body, content: Callable[[FileName], Any]) -> Body:
    """A copy of a request in which `content` of each file stands in the place of its name."""
    filled = dict(body)
    if isinstance(messages := body.get("messages"), list):
        filled["messages"] = [_message(message, content) for message in messages]
    if isinstance(parts := body.get("input"), list):
        filled["input"] = [_part(part, content) for part in parts]
    return filled


def _lists(body: Body) -> Iterator[list[Any]]:
    messages = body.get("messages")
    if type(messages) is list:
        for message in messages:
            if type(message) is dict and type(content := message.get("content")) is list:
                yield content
    if type(parts := body.get("input")) is list:
        yield parts


def _file_name(part: Any) -> FileName | None:
    if type(part) is not dict:
        return None
    for key, kind in KINDS.items():
        shown = part.get(key)
        if type(shown) is dict and type(url := shown.get("url")) is str and url:
            scheme = _SCHEME.match(url)
            if scheme is None or scheme[1].lower() == "file":
                return FileName(kind, url)
    return None


def _message(message: Any, content: Callable[[FileName], Any]) -> Any:
    if isinstance(message, dict) and isinstance(parts := message.get("content"), list):
        return {**message, "content": [_part(part, content) for part in parts]}
    return message


def _part(part: Any, content: Callable[[FileName], Any]) -> Any:
    name = _file_name(part)
    if name is None:
        return part
    key = f"{name.kind}_url"
    return {**part, key: {**part[key], "url": content(name)}}

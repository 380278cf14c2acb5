"""The media of a request: which are files, and of what type.

They stand in the contents of a chat's messages, and in the `input` of embeddings and responses. An address with a
scheme (`https:`, `data:`, `tos:` ...) is the service's business and passes untouched. One without, or with `file:`,
names a file, always relative to a directory that the user named and below it, so that an input from somewhere else
cannot send whatever else this machine holds. Files themselves are touched by `rows.media_files`. The service compares
the type that a data URL claims with its content, so the content decides here too.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote

from msgspec import Struct

from arkbatch.core.row import Body

_SHOWN = 200  # characters of a name in a message
KINDS = {"image_url": "image", "video_url": "video"}

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")  # of two letters or more: a single one is a drive of Windows
_ABSOLUTE = re.compile(r"[/\\]|[A-Za-z]:")

# The tokens of these cannot be known from the request.
_UNFORESEEN = frozenset(
    ("input_audio", "audio_url", "audio", "video_url", "video", "input_video", "file", "input_file")
)
_IMAGES = frozenset(("image_url", "image", "input_image"))

BYTES_NEEDED = 16

# From Ark's tables of formats for image understanding, image embeddings and video understanding.
_BEGINNINGS: Sequence[tuple[re.Pattern[bytes], str]] = [
    (re.compile(pattern, re.DOTALL), kind)
    for pattern, kind in (
        (rb"\xff\xd8\xff", "image/jpeg"),
        (rb"\x89PNG\r\n\x1a\n", "image/png"),
        (rb"GIF8[79]a", "image/gif"),
        (rb"RIFF....WEBP", "image/webp"),
        (rb"BM", "image/bmp"),
        (rb"II\*\x00|MM\x00\*", "image/tiff"),
        (rb"\x00\x00\x01\x00", "image/x-icon"),
        (rb"icns", "image/icns"),
        (rb"\x01\xda[\x00\x01][\x01\x02]", "image/sgi"),
        (rb"\x00\x00\x00\x0cjP  \r\n|\xff\x4f\xff\x51", "image/jp2"),
        (rb"....ftyp(?:hei[cxms]|hev[cxms])", "image/heic"),
        (rb"....ftyp(?:mif1|msf1)", "image/heif"),
        (rb"RIFF....AVI ", "video/avi"),
        (rb"....ftypqt  |....(?:moov|mdat|wide|free|skip)", "video/quicktime"),
        (rb"....ftyp(?!avi[fs]|jp2)", "video/mp4"),
    )
]


class FileName(Struct, frozen=True):
    """A file that a part names.

    kind: "image" or "video"; url: the address as the row has it
    """

    kind: str
    url: str

    @property
    def path(self) -> str:
        """Below the directory, if there is no `problem`. A `file:` address may have any character as `%20`."""
        return unquote(self.url[5:]) if self.url[:5].lower() == "file:" else self.url

    def why_unfit(self, reason: str) -> str:
        """Return a sentence that says why the row with it cannot be sent."""
        url = self.url if len(self.url) <= _SHOWN else f"{self.url[:_SHOWN]}..."
        return f"{self.kind} {json.dumps(url, ensure_ascii=False)}: {reason}"

    @property
    def problem(self) -> str | None:
        """Why the path can name no file in the directory, None if it can."""
        path = self.path
        if _ABSOLUTE.match(path):
            return "the path is absolute; write it relative to the directory of --images"
        if ".." in re.split(r"[/\\]", path):
            return "the path leaves its directory by .."
        if not path or "\0" in path:
            return "this is no path"
        return None


def file_names(body: Body) -> list[FileName]:
    """Return the files that a request names, in the order of its parts."""
    found: list[FileName] = []
    for parts in _part_lists(body):
        found += [name for part in parts if (name := _file_name(part)) is not None]
    return found


def with_files(body: Body, content: Callable[[FileName], Any]) -> Body:
    """Return a copy of a request with `content` of each file in the place of its name."""
    filled = dict(body)
    if isinstance(messages := body.get("messages"), list):
        filled["messages"] = [_fill_message(message, content) for message in messages]
    if isinstance(parts := body.get("input"), list):
        filled["input"] = [_fill_part(part, content) for part in map(_with_content(content), parts)]
    return filled


def _with_content(content: Callable[[FileName], Any]) -> Callable[[Any], Any]:
    """Fill in the parts of an item of the Responses API; a part of an embedding's input passes."""
    return lambda item: _fill_message(item, content)


def _part_lists(body: Body) -> list[list[Any]]:
    """Return the lists of parts in a request."""
    messages = body.get("messages")
    lists: list[list[Any]] = []
    if type(messages) is list:
        lists += [
            content for message in messages if type(message) is dict and type(content := message.get("content")) is list
        ]
    if type(parts := body.get("input")) is list:
        for part in parts:
            inner = part.get("content") if type(part) is dict else None  # of an item of the Responses API
            lists.append(inner if type(inner) is list else [part])
    return lists


def _file_name(part: Any) -> FileName | None:
    if type(part) is not dict:
        return None
    for key, kind in KINDS.items():
        shown = part.get(key)
        url = shown.get("url") if type(shown) is dict else shown  # the Responses API has the address itself
        if type(url) is str and url:
            scheme = _SCHEME.match(url)
            if scheme is None or scheme[1].lower() == "file":
                return FileName(kind, url)
    return None


def _fill_message(message: Any, content: Callable[[FileName], Any]) -> Any:
    if isinstance(message, dict) and isinstance(parts := message.get("content"), list):
        return {**message, "content": [_fill_part(part, content) for part in parts]}
    return message


def _fill_part(part: Any, content: Callable[[FileName], Any]) -> Any:
    name = _file_name(part)
    if name is None:
        return part
    key = f"{name.kind}_url"
    shown = part[key]
    return {**part, key: {**shown, "url": content(name)} if isinstance(shown, dict) else content(name)}


def has_unforeseen_parts(body: Body, *, images_too: bool = False) -> bool:
    """Return whether a request holds audio, video or files, whose tokens are not known before the reply.

    images_too: the server is one whose most tokens of an image are not known
    """
    kinds = _UNFORESEEN | _IMAGES if images_too else _UNFORESEEN
    return any(_is_of(part, kinds) for parts in _part_lists(body) for part in parts)


def _is_of(part: Any, kinds: frozenset[str]) -> bool:
    if type(part) is not dict:
        return False
    inner = part.get("content")  # of an item of the Responses API
    return part.get("type") in kinds or (type(inner) is list and any(_is_of(each, kinds) for each in inner))


def media_type(beginning: bytes) -> str | None:
    """Return the type, such as `image/png`, None for other bytes. Sixteen bytes are enough."""
    return next((kind for pattern, kind in _BEGINNINGS if pattern.match(beginning)), None)

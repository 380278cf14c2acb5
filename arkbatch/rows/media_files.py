"""Puts images and videos from files into a request, as data URLs.

Every limit is checked from the files' sizes before one is read. Then the request is written once, from beginning to
end: a piece of a file is read, encoded and appended, so that an image is in memory only as part of the body. What
cannot be sent is a `Cause`, and its row fails before a byte is sent. Rows and records keep the names, so that a failure
line can be run again and no image is stored a second time; the digest of a row does not cover its files.

`protocol.media` knows where the names stand in a request. Nothing outside of the directory is opened, also not by a
link in it; links that stay inside are followed. Files are read in the event loop: encoding takes most of the time,
25 ms for the largest image, and it would hold the loop from a thread as well.
"""

import os
import stat
from binascii import b2a_base64
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import BinaryIO

import orjson
from msgspec import Struct

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.row import Body
from arkbatch.protocol.media import BYTES_NEEDED, FileName, file_names, media_type, with_files

MOST_BYTES = {"image": 10 << 20, "video": 50 << 20}  # Ark: images under 10 MB, videos of up to 50
MOST_BODY = 64 << 20
# A link or a pipe that was put in a file's place is not followed and not waited for. Not every platform has each.
_FLAGS = os.O_RDONLY | sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))
_PIECE = 3 << 16  # bytes read at a time; a multiple of three, so that the pieces of base64 can be joined


class _File(Struct, frozen=True):
    """A file that may be sent; `path` is its real path, `size` its size when it was checked."""

    name: FileName
    path: Path
    size: int


class _Plan(Struct, frozen=True):
    """A request that is ready to be written: its JSON, and each file with the start of its data URL.

    marked: JSON never holds a zero byte, so a pair of them around a number marks where a file goes
    """

    marked: bytes
    urls: list[tuple[_File, bytes]]


class Images:
    """The files of one directory."""

    def __init__(self, folder: str | Path) -> None:
        self._folder = Path(os.path.realpath(folder))

    def why_missing(self, body: Body) -> str | None:
        """Return why a request cannot be sent, without opening a file; None: no reason."""
        for name in file_names(body):
            if isinstance(file := self._find_file(name), Cause):
                return file.message
        return None

    def why_unfit(self, body: Body) -> Cause | None:
        """Return why a request cannot be sent, before it waits for its permit; None: no reason.

        Of each file only the first bytes are read.
        """
        plan = self._plan_request(body)
        return plan if isinstance(plan, Cause) else None

    def encode_request(self, body: Body) -> bytes | Cause:
        """Return the request as it is sent, or why it cannot be."""
        plan = self._plan_request(body)
        return plan if isinstance(plan, Cause) else _write_plan(plan)

    def _plan_request(self, body: Body) -> _Plan | Cause:
        urls: list[tuple[_File, bytes]] = []
        for name in file_names(body):
            file = self._find_file(name)
            if isinstance(file, Cause):
                return file
            beginning = _beginning_of_url(file)
            if isinstance(beginning, Cause):
                return beginning
            urls.append((file, beginning))
        places = count()
        marked = dumps_as_written(
            with_files(body, lambda _: orjson.Fragment(b"\0%d\0" % next(places))) if urls else body
        )
        size = len(marked) + sum(len(beginning) + (file.size + 2) // 3 * 4 for file, beginning in urls)
        if urls and size > MOST_BODY:
            said = f"the request has {size:,} bytes with its images in it; allowed are {MOST_BODY:,}"
            return Cause(Kind.BAD_FILE, "", said)
        return _Plan(marked, urls)

    def _find_file(self, name: FileName) -> _File | Cause:
        if name.problem is not None:
            return _unfit_file(name, name.problem)
        path = Path(os.path.realpath(self._folder / name.path))
        if not path.is_relative_to(self._folder):
            return _unfit_file(name, "a link leads out of the directory of images")
        try:
            found = path.stat()
        except FileNotFoundError:
            return _unfit_file(name, f"there is no such file in {self._folder}")
        except OSError as error:
            return _unfit_file(name, f"it cannot be read: {error.strerror}")
        if not stat.S_ISREG(found.st_mode):
            return _unfit_file(name, "this is no file")
        if not found.st_size:
            return _unfit_file(name, "the file is empty")
        if found.st_size > (most := MOST_BYTES[name.kind]):
            return _unfit_file(name, f"the file has {found.st_size:,} bytes; allowed are {most:,}")
        return _File(name, path, found.st_size)


def _unfit_file(name: FileName, reason: str) -> Cause:
    return Cause(Kind.BAD_FILE, "", name.why_unfit(reason))


def _beginning_of_url(file: _File) -> bytes | Cause:
    try:
        with _open_file(file) as opened:
            kind = media_type(opened.read(BYTES_NEEDED))
    except OSError as error:
        return _unfit_file(file.name, f"it cannot be read: {error.strerror}")
    if kind is None or not kind.startswith(file.name.kind):
        return _unfit_file(file.name, f"it begins like no {file.name.kind} format that Ark reads")
    return b"data:%b;base64," % kind.encode()


def _open_file(file: _File) -> BinaryIO:
    return open(os.open(file.path, _FLAGS), "rb", buffering=_PIECE)


def _write_plan(plan: _Plan) -> bytes | Cause:
    if not plan.urls:
        return plan.marked
    whole = BytesIO()
    for place, piece in enumerate(plan.marked.split(b"\0")):
        if place % 2:
            file, beginning = plan.urls[int(piece)]
            whole.write(b'"' + beginning)
            if (cause := _append_file(whole, file)) is not None:
                return cause
            whole.write(b'"')
        else:
            whole.write(piece)
    return whole.getvalue()


def _append_file(whole: BytesIO, file: _File) -> Cause | None:
    """Append the file in base64; a Cause when it has changed or cannot be read."""
    left = file.size
    try:
        with _open_file(file) as opened:
            while left and (piece := opened.read(min(left, _PIECE))):
                whole.write(b2a_base64(piece, newline=False))
                left -= len(piece)
    except OSError as error:
        return _unfit_file(file.name, f"it cannot be read: {error.strerror}")
    return _unfit_file(file.name, "the file became shorter while it was read") if left else None

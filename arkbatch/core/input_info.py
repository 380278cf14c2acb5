"""A place in an input file, and how the file looked when last read."""

from msgspec import Struct


class Position(Struct, frozen=True, gc=False):
    """A place in the input: `line` lines end before byte `offset`.

    offset: in the uncompressed text
    """

    line: int = 0
    offset: int = 0


class InputInfo(Struct):
    """How the input looked when it was last read completely.

    sha256: of its first `size` bytes; lines: physical lines; rows: those that are not blank
    ends_open: the last line had no newline, so that growth would change that line
    files: what each looked like, where the input is several files
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    lines: int
    rows: int
    ends_open: bool = False
    files: "list[InputInfo]" = []

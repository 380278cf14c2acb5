"""Templates that build a request from a row's columns, and how the columns are read.

A placeholder is `{column}`; `{{` and `}}` stand for one brace. No Python is evaluated. `{a.b}` is the column of that
name, else the field `b` of column `a`; `{column?}` may be missing, and `{*}` stands for all columns.
"""

from typing import Annotated, Literal

from msgspec import Meta, Struct

DOUBLE_BRACES = "a brace that is not a placeholder is written twice: {{"
ALL_COLUMNS = "*"

OnMissing = Literal["fail", "skip", "send"]
Piece = tuple[str, str | None]


def split_template(text: str) -> list[Piece]:
    """Split a template into pairs of literal text and the column that follows it.

    The last column may be None. Raises ValueError for a brace that does not fit.
    """
    found: list[Piece] = []
    literal, place = "", 0
    while place < len(text):
        begin = min((at for at in (text.find("{", place), text.find("}", place)) if at >= 0), default=len(text))
        literal += text[place:begin]
        if text[begin : begin + 2] in {"{{", "}}"}:
            literal, place = literal + text[begin], begin + 2
        elif begin < len(text):
            column, place = _column_at(text, begin)
            found.append((literal, column))
            literal = ""
        else:
            place = begin
    return [*found, (literal, None)] if literal else found


def _column_at(text: str, begin: int) -> tuple[str, int]:
    """Return the column named at a brace, and where the text continues."""
    if text[begin] == "}":
        raise ValueError(f"single '}}' encountered ({DOUBLE_BRACES})")
    end = text.find("}", begin)
    if end < 0:
        raise ValueError(f"expected '}}' ({DOUBLE_BRACES})")
    column = text[begin + 1 : end].strip()
    if not column or "{" in column:
        raise ValueError(f"{{{column}}} is not the name of a column ({DOUBLE_BRACES})")
    return column, end + 1


class Template(Struct, frozen=True, forbid_unknown_fields=True):
    """Builds a request from a row's columns; `{column}` is replaced."""

    system: Annotated[str | None, Meta(description="The system message of each chat row.")] = None
    user: Annotated[str | None, Meta(description="The user message of each chat row.")] = None
    input: Annotated[str | None, Meta(description="The text of each embeddings row.")] = None
    id: Annotated[str | None, Meta(description="The column whose value becomes the row's custom_id.")] = None
    image: Annotated[
        str | None, Meta(description="The column with an image of each row: an address, or a file in images.")
    ] = None

    def __post_init__(self) -> None:
        for name in ("system", "user", "input"):
            try:
                split_template(getattr(self, name) or "")
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        if self.user is None and self.input is None and (self.system is not None or self.id is None):
            raise ValueError("says neither user (for chat) nor input (for embeddings)")

    @property
    def makes_requests(self) -> bool:
        """Whether requests are built from columns; otherwise the rows hold whole requests."""
        return self.user is not None or self.input is not None


class Reading(Struct, frozen=True, forbid_unknown_fields=True):
    """How the columns of an input are read; unset options are detected."""

    encoding: Annotated[str, Meta(description="The input's encoding, such as gb18030. Left out: found out.")] = ""
    delimiter: Annotated[str, Meta(description='What stands between cells, such as ";". Left out: found out.')] = ""
    header: Annotated[
        bool, Meta(description="The first record names the columns; without, they are called 1, 2, 3 ...")
    ] = True
    sheet: Annotated[str, Meta(description="The sheet of a workbook. Left out: the first that is visible.")] = ""
    empty: Annotated[
        OnMissing,
        Meta(description="A row whose prompt lacks a value: fail, skip (it is not sent), or send it without."),
    ] = "fail"
    allow_empty: Annotated[bool, Meta(description="An input without rows is accepted.")] = False
    dedupe: Annotated[
        bool, Meta(description="Rows with equal requests are sent once, and each gets a copy of the record.")
    ] = False

    def __post_init__(self) -> None:
        if len(self.separator) > 1:
            raise ValueError(f"delimiter {self.delimiter!r} is not one character")

    @property
    def separator(self) -> str:
        """The delimiter as it stands in the file; a backslash and a t mean a TAB."""
        return "\t" if self.delimiter.lower() in {"tab", "\\t"} else self.delimiter

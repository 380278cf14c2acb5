"""Tables with headings in the user's language: words left, numbers right."""

import re
from collections.abc import Sequence

from arkbatch.core.language import Language
from arkbatch.core.text import display_width
from arkbatch.reports.text.summary import aligned_lines

_NUMBER = re.compile(r"([+-]?[\d,.]+[kMG]?|-?)$")


def grid_lines(
    headings: Sequence[str], rows: Sequence[Sequence[str]], language: Language, indent: str = "  "
) -> list[str]:
    """Return lines under headings in the user's language. Numbers stand to the right; empty columns are left out."""
    columns = [
        _align_numbers(column)
        for column in zip(map(language.say, headings), *rows, strict=True)
        if any(cell not in {"", "-"} for cell in column[1:])
    ]
    return aligned_lines(list(zip(*columns, strict=True)), indent)


def _align_numbers(cells: tuple[str, ...]) -> list[str]:
    if not all(_NUMBER.match(cell) for cell in cells[1:]):
        return list(cells)
    width = max(map(display_width, cells))
    return [" " * (width - display_width(cell)) + cell for cell in cells]

"""Formats numbers for people, and makes text from outside safe for a terminal."""

import json
import unicodedata
from collections.abc import Iterable
from typing import Any


def number_text(number: int) -> str:
    """Return a number with commas between thousands."""
    return f"{number:,}"


def count_text(number: int, thing: str) -> str:
    """Return a number with what is counted: `1 row`, `2 rows`, `2 batches`."""
    plural = "es" if thing.endswith("ch") else "s"
    return f"{number:,} {thing}{'' if number == 1 else plural}"


def short_number(number: float) -> str:
    """Return a number in a few characters: 940, 12.3k, 4.56M."""
    if round(number) < 10_000:
        return f"{number:.0f}"
    for size, mark in ((1e3, "k"), (1e6, "M")):
        if number < 999.5 * size:
            return f"{number / size:.3g}{mark}"
    return f"{number / 1e9:.3g}G"


def duration_text(seconds: float) -> str:
    """Return seconds in the two largest units that matter."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours} h {minutes:02} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def suggest_name(name: str, known: Iterable[str], hint: str = "{}", *, likeness: float = 0.6) -> str:
    """Return a hint with the known name that a misspelt one probably means, "" where none is near.

    hint: what is said, with {} for the known name; likeness: from 0 to 1
    """
    from difflib import get_close_matches  # few runs need it

    near = get_close_matches(name, list(known), 1, likeness)
    return hint.format(near[0]) if near else ""


def display_width(text: str) -> int:
    """Return how many columns of a terminal a text takes.

    Chinese characters take two, combining marks none.
    """
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def padded_text(text: str, width: int) -> str:
    """Return a text with spaces added up to a width in terminal columns."""
    return text + " " * (width - display_width(text))


def printable_text(text: str) -> str:
    """Return text with control characters made visible, so that it cannot control the terminal."""
    return "".join(_escaped_character(character) for character in text)


def printable_value(value: Any) -> Any:
    """Apply `printable_text` to every text in a JSON value."""
    match value:
        case str():
            return value if value.isprintable() else printable_text(value)
        case dict():
            return {printable_value(name): printable_value(each) for name, each in value.items()}
        case list() | tuple():
            return [printable_value(each) for each in value]
    return value


def printable_json(data: bytes) -> str:
    """Escape in JSON text what a terminal could obey; encoders leave some of it."""
    text = data.decode()
    if text.isprintable():
        return text
    return "".join(each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text)


def _escaped_character(character: str) -> str:
    """Return a character, or its escape sequence if a terminal could obey it."""
    if character in "\n\t" or character.isprintable():
        return character
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"

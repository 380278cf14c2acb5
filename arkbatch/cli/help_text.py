"""The help of the commands in the user's language.

click writes a help text by a formatter that the context of the command makes. Here it is made by the language: for
English by click itself, for Chinese by one that translates each piece, and wraps it by the width of its characters.
"""

import os
import re
from collections.abc import Iterable
from functools import cache

import click

# What stays together: a word of another script or one wide character, with the punctuation that must not begin a line.
_UNIT = re.compile(r"（*(?:[!-~]+|[^ ])[，。；：、）]*| +")
_EXTRA = re.compile(r"^(.*?)(?:  \[([^\]]*)\])?$", re.DOTALL)  # click adds `  [default: 8080; required]`


class HelpContext(click.Context):
    """The context of a command, whose help is in the user's language."""

    def make_formatter(self) -> click.HelpFormatter:
        from arkbatch.core.language import Language, language_of

        if language_of(os.environ) is Language.ENGLISH:
            return super().make_formatter()
        return ChineseHelp(width=self.terminal_width, max_width=self.max_content_width)


def use_help_context(command: click.Command) -> None:
    """Give a command, and the commands of a group, the context whose help is in the user's language."""
    command.context_class = HelpContext
    for part in getattr(command, "commands", {}).values():
        use_help_context(part)


class ChineseHelp(click.HelpFormatter):
    """Writes the pieces of a help text in Chinese; what has no translation stays English."""

    def write_usage(self, prog: str, args: str = "", prefix: str | None = None) -> None:
        super().write_usage(prog, args, translate_help("Usage: ") if prefix is None else prefix)

    def write_heading(self, heading: str) -> None:
        self.write(f"{'':>{self.current_indent}}{translate_help(heading)}：\n")

    def write_text(self, text: str) -> None:
        indent = " " * self.current_indent
        paragraphs = (
            _translate_block(part)
            if part.startswith("\b")
            else wrap_wide(_translate_paragraph(part), self.width - len(indent))
            for part in text.split("\n\n")
        )
        self.write("\n\n".join("\n".join(indent + line for line in lines) for lines in paragraphs) + "\n")

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        rows = list(rows)
        column = min(max(len(first) for first, _ in rows), col_max) + col_spacing
        indent = " " * (column + self.current_indent)
        for first, second in rows:
            lines = wrap_wide(_translate_option(second), max(self.width - column - 2, 10))
            begin = f"{'':>{self.current_indent}}{first}"
            if len(first) > column - col_spacing:
                self.write(f"{begin}\n")
                begin = ""
            self.write("\n".join([f"{begin:<{len(indent)}}{lines[0]}", *(indent + line for line in lines[1:])]) + "\n")


@cache
def _translations() -> dict[str, str]:
    import tomllib
    from importlib.resources import files

    return tomllib.loads(files("arkbatch").joinpath("data", "chinese-help.toml").read_text(encoding="utf-8"))


def translate_help(text: str) -> str:
    """Return the Chinese of a piece of help, the text itself where none is known."""
    return _translations().get(text, text)


def _translate_paragraph(text: str) -> str:
    return translate_help(" ".join(text.split()))


def _translate_block(text: str) -> list[str]:
    """Return the lines of a block that is not wrapped, such as examples under their label."""
    return [translate_help(line) for line in text.split("\n")[1:]]


def _translate_option(text: str) -> str:
    """Return the Chinese of an option's help, with what click has added behind it."""
    found = _EXTRA.match(text)
    told, extra = found.groups() if found else (text, None)
    if not extra:
        return _translate_paragraph(told)
    return f"{_translate_paragraph(told)} [{'；'.join(map(_translate_extra, extra.split('; ')))}]"


def _translate_extra(text: str) -> str:
    name, mark, value = text.partition(": ")
    return f"{translate_help(name)}：{value}" if mark else translate_help(name)


def wrap_wide(text: str, width: int) -> list[str]:
    """Return the lines of a text. A Chinese character is two columns wide, and may begin a line."""
    lines, used = [""], 0
    for unit in _UNIT.findall(text):
        wide = _columns(unit)
        if used + wide > width and used:
            lines.append("")
            used = 0
        if used or not unit.isspace():
            lines[-1] += unit
            used += wide
    return [line.rstrip() for line in lines]


def _columns(text: str) -> int:
    from unicodedata import east_asian_width

    return sum(2 if east_asian_width(character) in "WF" else 1 for character in text)

"""The language of texts for people: Chinese where the locale is Chinese, else English."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cache, lru_cache
from importlib.resources import files
from string import Formatter
from typing import NamedTuple

from arkbatch.core.text import count_text

LANGUAGE_VARIABLE = "ARKBATCH_LANG"
_SETTING = re.compile(r"\((\{key\}|\{address\}|\{model\})\)")  # advice names a setting in brackets
# What is called `number` or `time` is one, so that a text of several parts is not taken for the last of them.
_VALUES = {"number": r"[\d.,]+", "time": r"\d[^,;:]*?"}
_LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # in the order in which the C library asks them


class Language(StrEnum):
    """A language of texts for people; JSON output is always English."""

    ENGLISH = "en"
    CHINESE = "zh"

    def say(self, text: str, **values: object) -> str:
        """Return a text in this language, with values in place of {name}.

        text: the English text, as in the table of translations; a text that is not there stays English
        """
        if not values:
            return self.translate_text(text)
        said = chinese_texts().texts.get(text, text) if self is Language.CHINESE else text
        return said.format(**values)

    def translate_text(self, text: str) -> str:
        """Return a text whose values are filled in already in this language, line by line.

        A line that is not in the table of translations stays English.
        """
        if self is Language.ENGLISH:
            return text
        return _known(text) or "\n".join(_translate_line(line) for line in text.split("\n"))

    def say_count(self, number: int, thing: str) -> str:
        """Return a number with what is counted: `2 rows`, `2 行`."""
        return f"{number:,} {self.say(thing)}" if self is Language.CHINESE else count_text(number, thing)

    def say_next(self, line: str) -> str:
        """Translate the label of a line such as `Resume with:  COMMAND`, not its command."""
        label, mark, command = line.partition(":  ")
        return f"{self.say(label + ':')}  {command}" if mark else self.say(line)


class Translations(NamedTuple):
    """The Chinese of all texts, by their English text.

    texts: said with their values by name; messages: found by their form, with their values filled in
    """

    texts: dict[str, str]
    messages: dict[str, str]


@cache
def chinese_texts() -> Translations:
    """Read `data/chinese.toml`, once; English texts never need it."""
    text = files("arkbatch").joinpath("data", "chinese.toml").read_text(encoding="utf-8")
    return Translations(**tomllib.loads(text))


def _translate_line(line: str) -> str:
    text = line.lstrip(" ")
    indent = line[: len(line) - len(text)]
    label, mark, command = text.partition(":  ")
    if mark and (said := _known(f"{label}:")) is not None:
        return f"{indent}{said}  {command}"
    return indent + _translate_filled(text)


def _known(text: str) -> str | None:
    known = chinese_texts()
    return known.texts.get(text) or known.messages.get(text)


@lru_cache(1024)
def _translate_filled(text: str) -> str:
    """Return the Chinese of a text whose values are filled in; the text itself where none is known."""
    if (said := _known(text)) is not None:
        return said
    for pattern, chinese in _filled_patterns():
        if found := pattern.fullmatch(text):
            values = {
                name: _translate_filled(value) if name.endswith("_text") else value
                for name, value in found.groupdict().items()
            }
            return chinese.format(**values)
    # What a place or a name stands before, as in `job.toml: SENTENCE` and `row 3: SENTENCE`.
    place, mark, rest = text.partition(": ")
    return f"{place}：{_translate_filled(rest)}" if mark and _translate_filled(rest) != rest else text


@cache
def _filled_patterns() -> list[tuple[re.Pattern[str], str]]:
    """Return what a text with its values matches, and its Chinese, the pattern with the most words of its own first."""
    advice = {english: chinese for english, chinese in chinese_texts().texts.items() if _SETTING.search(english)}
    known = {english: chinese for english, chinese in (advice | chinese_texts().messages).items() if "{" in english}
    pieces = {english: list(Formatter().parse(english)) for english in known}
    found = sorted(known, key=lambda english: -sum(len(literal) for literal, *_ in pieces[english]))
    return [(_pattern_of(pieces[english]), known[english]) for english in found]


def _pattern_of(pieces: Sequence[tuple[str, str | None, str | None, str | None]]) -> re.Pattern[str]:
    parts = [re.escape(text) + (f"(?P<{name}>{_VALUES.get(name, '.*?')})" if name else "") for text, name, *_ in pieces]
    return re.compile("".join(parts), re.DOTALL)


def language_of(environ: Mapping[str, str]) -> Language:
    """Return the language that ARKBATCH_LANG names, else that of the locale.

    environ: environment variables; a value such as zh, zh_CN.UTF-8 or zh-TW means Chinese
    """
    names = (LANGUAGE_VARIABLE, *_LOCALE_VARIABLES)
    value = next((environ[name] for name in names if environ.get(name)), "")
    return Language.CHINESE if value.lower().startswith("zh") else Language.ENGLISH

"""The language of texts for people: Chinese where the locale is Chinese, else English."""

import re
from collections.abc import Mapping
from enum import StrEnum

from arkbatch.core.chinese import CHINESE
from arkbatch.core.text import count_text

LANGUAGE_VARIABLE = "ARKBATCH_LANG"
_SETTINGS = ("key", "address", "model")
_NAMED = re.compile(r"\(([^()]*)\)")  # the first brackets of advice hold the name of the setting
_LOCALE_VARIABLES = ("LC_ALL", "LC_MESSAGES", "LANG")  # in the order in which the C library asks them


class Language(StrEnum):
    """A language of texts for people; JSON output is always English."""

    ENGLISH = "en"
    CHINESE = "zh"

    def say(self, text: str, **values: object) -> str:
        """Return a text in this language, with values in place of {name}.

        text: the English text, as in the table of translations; a text that is not there stays English
        """
        said = (CHINESE.get(text) or _with_names(text)) if self is Language.CHINESE else text
        return said.format(**values) if values else said

    def say_count(self, number: int, thing: str) -> str:
        """Return a number with what is counted: `2 rows`, `2 行`."""
        return f"{number:,} {self.say(thing)}" if self is Language.CHINESE else count_text(number, thing)

    def say_next(self, line: str) -> str:
        """Translate the label of a line such as `Resume with:  COMMAND`, not its command."""
        label, mark, command = line.partition(":  ")
        return f"{self.say(label + ':')}  {command}" if mark else self.say(line)


def _with_names(text: str) -> str:
    """Return the Chinese of advice that names a setting in brackets, such as `check the API key (ARK_API_KEY)`."""
    for name in _SETTINGS:
        pattern = _NAMED.sub(f"({{{name}}})", text, count=1)
        if (said := CHINESE.get(pattern)) is not None:
            found = _NAMED.search(text)
            assert found is not None
            return said.replace(f"{{{name}}}", found[1])
    return text


def language_of(environ: Mapping[str, str]) -> Language:
    """Return the language that ARKBATCH_LANG names, else that of the locale.

    environ: environment variables; a value such as zh, zh_CN.UTF-8 or zh-TW means Chinese
    """
    names = (LANGUAGE_VARIABLE, *_LOCALE_VARIABLES)
    value = next((environ[name] for name in names if environ.get(name)), "")
    return Language.CHINESE if value.lower().startswith("zh") else Language.ENGLISH

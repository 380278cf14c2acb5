"""Chinese where the locale is Chinese, and a table of translations that fits the texts of the package."""

import ast
import re
from pathlib import Path

import pytest

from arkbatch.core.calls import Kind
from arkbatch.core.language import Language, chinese_texts, language_of
from arkbatch.protocol import error_codes

CHINESE = chinese_texts().texts
PACKAGE = Path(__file__).parents[2] / "arkbatch"
BRACES = re.compile(r"\{\w+\}")


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "C.UTF-8"}, "en"),
        ({"LC_ALL": "en_GB.UTF-8", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"LC_ALL": "", "LC_MESSAGES": "zh_TW.UTF-8", "LANG": "en_US.UTF-8"}, "zh"),
        ({"ARKBATCH_LANG": "en", "LANG": "zh_CN.UTF-8"}, "en"),
        ({"ARKBATCH_LANG": "zh", "LC_ALL": "C"}, "zh"),
        ({"ARKBATCH_LANG": "zh-Hans"}, "zh"),
    ],
)
def test_the_variable_wins_over_the_locale_and_each_locale_variable_over_the_next(environ, language):
    assert language_of(environ) is Language(language)


@pytest.mark.parametrize("english", CHINESE)
def test_a_translation_has_the_same_values_to_fill_in(english):
    assert sorted(set(BRACES.findall(CHINESE[english]))) == sorted(set(BRACES.findall(english)))


def test_every_entry_of_the_table_is_a_text_that_the_package_still_says():
    said = {rule.advice for rule in rules()}
    for path in PACKAGE.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        said |= {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str}
    labels = {text.rstrip() for text in said} | {f"{text}:" for text in said}
    parts = " ".join(said)  # a label at the end of `Resume with:  COMMAND` stands in a longer text
    assert [text for text in CHINESE if text not in said | labels and f"{text}  " not in parts] == []


def rules():
    """Every rule of the table of errors that says what to do."""
    for value in vars(error_codes).values():
        many = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
        yield from (each for each in many if isinstance(each, error_codes.Rule) and each.advice)


def test_what_to_do_when_a_run_stops_is_translated_for_every_error():
    assert [rule.advice for rule in rules() if rule.advice not in CHINESE] == []


def test_every_kind_of_failure_has_a_word():
    assert [kind for kind in Kind if kind.value not in CHINESE] == []


def test_a_text_without_translation_stays_english():
    assert Language.CHINESE.say("never translated {n}", n=1) == "never translated 1"


def test_braces_in_a_value_are_kept():
    assert Language.CHINESE.say_next("Resume with:  arkbatch run a.csv --prompt '{text}'") == (
        "继续运行：  arkbatch run a.csv --prompt '{text}'"
    )

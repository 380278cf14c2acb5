"""Messages that are put together where something happens have their Chinese, found by their form."""

import ast
import re
from pathlib import Path

import pytest

from arkbatch.core.chinese import CHINESE
from arkbatch.core.chinese_messages import CHINESE_MESSAGES
from arkbatch.core.errors import ArkbatchError
from arkbatch.core.language import Language

PACKAGE = Path(__file__).parents[2] / "arkbatch"
# What a run may be refused with before it starts, and what is said while it works.
TOLD_IN_CHINESE = ("config/resolve.py", "rows/first_look.py", "engine/open_run.py", "engine/resume_check.py")
ERRORS = {"UsageError", "JobError", "RunChanged", "RunLocked", "job_file_error"}
COMPOSED = {"{} {} (looked at {})"}  # of words that are told as a whole: `X does not exist (looked at Y)`
HOLE = re.compile(r"\{[^{}]*\}")


def form_of(node):
    """A text with `{}` in the place of each value; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(each.value if isinstance(each, ast.Constant) else "{}" for each in node.values)
    return None


def texts_of(path):
    tree = ast.parse((PACKAGE / path).read_text(encoding="utf-8"))
    return [form for node in ast.walk(tree) if (form := form_of(node)) is not None]


def said(text):
    return Language.CHINESE.translate_text(text)


def is_chinese(text):
    return any("一" <= character <= "鿿" for character in text)


@pytest.mark.parametrize("english", CHINESE_MESSAGES)
def test_a_message_and_its_chinese_have_the_same_values(english):
    assert sorted(HOLE.findall(CHINESE_MESSAGES[english])) == sorted(HOLE.findall(english))


@pytest.mark.parametrize("english", CHINESE_MESSAGES)
def test_a_message_is_found_with_any_values(english):
    filled = HOLE.sub("x1", english)
    assert is_chinese(said(filled))


def raised_in(path):
    """The messages of all errors that a module raises, as far as they stand in one place."""
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and ast.unparse(node.exc.func) in ERRORS:
            yield form_of(node.exc.args[-1]) or ""


@pytest.mark.parametrize("path", TOLD_IN_CHINESE)
def test_every_refusal_before_the_start_has_its_chinese(path):
    untold = [form for form in raised_in(path) if " " in form and not is_chinese(said(form.replace("{}", "x1")))]
    assert set(untold) <= COMPOSED


def advice_in_causes():
    """All that modules say to do where they stop a run, beside the table of errors."""
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Cause":
                given = [*node.args[3:4], *(each.value for each in node.keywords if each.arg == "advice")]
                yield from (form for each in given if (form := form_of(each)) is not None)


def test_what_to_do_when_a_run_is_stopped_has_its_chinese():
    found = list(advice_in_causes())
    assert len(found) > 3
    assert [form for form in found if not is_chinese(said(form.replace("{}", "x1")))] == []


def test_a_command_and_names_in_a_message_stay_as_they_are():
    assert said("For example:  arkbatch run a.csv --prompt '{text}'") == "例如：  arkbatch run a.csv --prompt '{text}'"
    text = "a.csv has no column rows, which --id-column names: the columns are id, input"
    assert said(text) == "a.csv 没有 --id-column 指定的列 rows：现有列为 id, input"


def test_advice_that_names_a_setting_is_translated_with_the_name():
    text = "check the model or endpoint id (--model) and that the key may use it"
    assert said(text) == "检查模型或接入点 ID（--model），并确认该 Key 有权使用"


def test_an_unknown_line_stays_english_beside_known_ones():
    assert said("never heard of\nStopping.") == "never heard of\n正在停止。"
    assert Language.ENGLISH.translate_text("Stopping.") == "Stopping."


def test_errors_are_not_translated_where_they_are_raised():
    """The language belongs to who prints: logs, JSON and Python have English."""
    assert str(ArkbatchError("Stopping.")) == "Stopping."
    assert not CHINESE.keys() & CHINESE_MESSAGES.keys()

"""Messages that are put together where something happens have their Chinese, found by their form."""

import ast
import re
from pathlib import Path
from string import Formatter

from arkbatch.core.errors import ArkbatchError
from arkbatch.core.language import Language, chinese_texts

PACKAGE = Path(__file__).parents[2] / "arkbatch"
# Python has English, and so have the simulator's own clients and errors that mean a bug.
ENGLISH = ("api/", "simulator/encryption.py", "transport/aiohttp_internals.py", "transport/aiohttp_trial.py")
CHINESE, WITH_VALUES = chinese_texts()
# Composed of words that are told as a whole (`X does not exist (looked at Y)`), or of another's words.
COMPOSED = {"{} {} (looked at {})", "{} in the command", "HTTP {}", "HTTP {}: {}"}
BUGS = {"the checking process ended", "a time without a zone cannot be priced"}
WORDS = re.compile(r"[a-z]{2,} +[a-z]{2,}")


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


def has_chinese(form):
    """Whether the Chinese of a form is found with words or with numbers for its values."""
    return any(is_chinese(said(form.replace("{}", value))) for value in ("x1", "7"))


def is_chinese(text):
    return any("一" <= character <= "鿿" for character in text)


class Value(dict):
    """A value for every name; what is called `number` is one."""

    def __missing__(self, name):
        return "7" if name in {"number", "time"} else "x1"


def filled(english):
    """A message with a value for each name in braces."""
    return english.format_map(Value())


def values_of(text):
    return sorted(name for _, name, *_ in Formatter().parse(text) if name)


def test_a_message_and_its_chinese_have_the_same_values():
    different = [english for english, chinese in WITH_VALUES.items() if values_of(chinese) != values_of(english)]
    assert different == []


def test_each_message_gets_its_own_chinese_with_any_values():
    assert [english for english in WITH_VALUES if not is_chinese(said(filled(english)))] == []
    plain = [english for english in WITH_VALUES if "_text}" not in english]
    assert [each for each in plain if said(filled(each)) != filled(WITH_VALUES[each])] == []


def test_each_message_stands_once():
    assert CHINESE.keys() & WITH_VALUES.keys() == set()


def error_names(error=ArkbatchError):
    """The names of every error that is told to a person, and of the functions that make one."""
    found = {"ValueError", "TomlError", "DeliveryFailed", "job_file_error", "error"}
    return found.union(*(error_names(each) for each in error.__subclasses__()), {error.__name__})


def raised_in(tree, names):
    """The messages of all errors that a module raises, as far as they stand in one place."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            function = ast.unparse(node.exc.func).rpartition(".")[2]
            if function in names:
                yield form_of(node.exc.args[-1]) or ""


def test_every_refusal_has_its_chinese():
    names, found = error_names(), set()
    for path in sorted(PACKAGE.rglob("*.py")):
        if not str(path.relative_to(PACKAGE)).startswith(ENGLISH):
            found |= set(raised_in(ast.parse(path.read_text(encoding="utf-8")), names))
    forms = [form for form in found - COMPOSED - BUGS if WORDS.search(form.replace("{}", ""))]
    assert len(forms) > 200
    assert [form for form in forms if not has_chinese(form)] == []


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
    assert [form for form in found if not has_chinese(form)] == []


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

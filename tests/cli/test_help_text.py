"""The help of every command has its Chinese; English is click's own."""

import importlib
import inspect
import tomllib
from unicodedata import east_asian_width

import click
import pytest
from click.testing import CliRunner
from docs_pages import ROOT

from arkbatch.cli import COMMANDS, arkbatch, help_text
from arkbatch.cli.option_groups import OptionGroup

CHINESE = tomllib.loads((ROOT / "arkbatch/data/chinese-help.toml").read_text(encoding="utf-8"))
WIDTH = 100
# Said by click and by the headings of a help, not by one command.
FRAME = {"Usage: ", "Commands", "default", "required", "Show this message and exit."}


def commands(command, name):
    """A command and those below it, with the words that call them."""
    yield command, name
    for part, below in getattr(command, "commands", {}).items():
        yield from commands(below, [*name, part])


ALL = [(arkbatch, [])] + [
    each for name in COMMANDS for each in commands(importlib.import_module(f"arkbatch.cli.{name}").command, [name])
]


def paragraphs(command):
    for part in inspect.cleandoc(command.help).split("\n\n"):
        if part.startswith("\b"):
            yield from (line for line in part.split("\n")[1:] if not line.startswith(("  arkbatch ", "  python ")))
        else:
            yield " ".join(part.split())


def pieces():
    """Every text that stands in the help of a command."""
    found = set(COMMANDS.values()) | {group.value for group in OptionGroup}
    for command, _ in ALL:
        found |= set(paragraphs(command))
        found |= {each.help for each in command.params if isinstance(each, click.Option)}
        found |= {below.short_help for below in getattr(command, "commands", {}).values()}
    return found


def shown(words, language):
    return CliRunner(env={"ARKBATCH_LANG": language}).invoke(arkbatch, [*words, "--help"], terminal_width=WIDTH).output


def test_every_text_of_a_help_has_its_chinese():
    assert sorted(pieces() - CHINESE.keys()) == []


def test_every_chinese_text_belongs_to_a_help():
    assert sorted(CHINESE.keys() - pieces() - FRAME) == []


@pytest.mark.parametrize(("command", "words"), ALL, ids=lambda each: " ".join(each) if isinstance(each, list) else "")
def test_a_chinese_help_names_each_option_and_fits_the_width(command, words):
    text = shown(words, "zh")
    assert text.startswith(f"用法：{' '.join([arkbatch.name, *words])} [OPTIONS]")
    options = [name for each in command.params if isinstance(each, click.Option) for name in each.opts]
    assert [name for name in options if name not in text] == []
    lines = [line for line in text.splitlines() if not line.startswith("    arkbatch ")]
    assert [line for line in lines if sum(east_asian_width(each) in "WF" for each in line) + len(line) > WIDTH] == []
    assert [line for line in lines if line.lstrip()[:1] in tuple("，。；：、）")] == []


def test_a_chinese_help_has_no_english_sentence_left():
    rest = "".join(shown(words, "zh") for _, words in ALL)
    assert [piece for piece in pieces() if " " in piece and piece in rest] == []


def test_an_english_help_is_clicks_own():
    command = importlib.import_module("arkbatch.cli.run").command
    with click.Context(command, info_name="arkbatch run", terminal_width=WIDTH) as context:
        assert shown(["run"], "en") == command.get_help(context) + "\n"


def test_what_click_adds_is_chinese_too():
    text = shown(["shard", "serve"], "zh")
    assert "监听的地址。 [默认：127.0.0.1]" in text


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("一二三四", 4, ["一二", "三四"]),
        ("一二，三", 4, ["一", "二，", "三"]),
        ("见 run.log。", 9, ["见", "run.log。"]),
        ("一（ab）", 4, ["一", "（ab）"]),
        ("", 10, [""]),
    ],
)
def test_a_line_is_as_wide_as_its_characters_and_begins_with_no_stop(text, width, lines):
    assert help_text.wrap_wide(text, width) == lines

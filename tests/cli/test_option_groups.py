"""The help of `run` and `retry` in groups: every option in exactly one, daily things first."""

import importlib
import re

import click
import pytest
from click.testing import CliRunner

from arkbatch.cli.option_groups import GroupedCommand, OptionGroup, group_of, grouped_option

COMMANDS = ["run", "retry", "check", "estimate"]


def sections_of(text):
    """The flags under each heading of a help text."""
    found, heading = {}, ""
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            heading = line.removesuffix(":")
        elif heading in set(OptionGroup) and (flags := re.match(r"  (?:-\w, )?(--[\w-]+)", line)):
            found.setdefault(heading, []).append(flags[1])
    return found


def help_of(name):
    command = importlib.import_module(f"arkbatch.cli.{name}").command
    return command, CliRunner().invoke(command, ["--help"], terminal_width=100).output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_stands_in_exactly_one_group_and_only_help_in_none(name):
    command, text = help_of(name)
    options = [each for each in command.params if isinstance(each, click.Option)]
    assert [each.opts for each in options if group_of(each) is OptionGroup.OTHER] == []  # give it group=Group....
    listed = [flag for flags in sections_of(text).values() for flag in flags]
    longest = [next(flag for flag in each.opts if flag.startswith("--")) for each in options]
    assert sorted(listed) == sorted([*longest, "--help"])
    assert sections_of(text)[OptionGroup.OTHER] == ["--help"]


@pytest.mark.parametrize("name", COMMANDS)
def test_groups_stand_in_their_order_with_daily_things_first(name):
    headings = list(sections_of(help_of(name)[1]))
    order = [group.value for group in OptionGroup]
    assert headings == sorted(headings, key=order.index)
    assert headings[:2] == ["Input and output", "Model and request"]


def test_limits_of_a_port_are_not_shown():
    assert "<=x<=" not in help_of("run")[1]


def test_a_group_without_options_has_no_heading():
    @click.command(cls=GroupedCommand)
    @grouped_option("--rpm", group=OptionGroup.LIMITS, help="Requests a minute, at most.")
    def command(rpm):
        del rpm

    assert list(sections_of(CliRunner().invoke(command, ["--help"]).output)) == ["Limits and retries", "Options"]

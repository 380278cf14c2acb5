"""Options in groups, so that a long help can be read."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any

import click


class OptionGroup(StrEnum):
    """The headings of a command's help, daily things first."""

    INPUT_AND_OUTPUT = "Input and output"
    MODEL = "Model and request"
    TRIAL = "Try it first"
    LIMITS = "Limits and retries"
    BUDGET = "Budget"
    RESUME = "Resume"
    UNATTENDED = "Unattended"
    TABLES = "Reading a table"
    BATCH_FILES = "Batch lane and batch files"
    ARK = "Ark"
    CLUSTER = "Cluster"
    OTHER = "Options"


class GroupedOption(click.Option):
    """An option that knows its heading."""

    def __init__(self, *args: Any, group: OptionGroup, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.group = group

    def get_help_extra(self, ctx: click.Context) -> click.types.OptionHelpExtra:
        """What click adds to the help text, without ranges such as `[0<=x<=65535]`."""
        extra = super().get_help_extra(ctx)
        extra.pop("range", None)
        return extra


def grouped_option(*names: str, group: OptionGroup, **attributes: Any) -> Callable[[Any], Any]:
    """`click.option` with the heading under which the help of a command lists it."""
    return click.option(*names, cls=GroupedOption, group=group, **attributes)


input_option = partial(grouped_option, group=OptionGroup.INPUT_AND_OUTPUT)
trial_option = partial(grouped_option, group=OptionGroup.TRIAL)
model_option = partial(grouped_option, group=OptionGroup.MODEL)
limit_option = partial(grouped_option, group=OptionGroup.LIMITS)
budget_option = partial(grouped_option, group=OptionGroup.BUDGET)
resume_option = partial(grouped_option, group=OptionGroup.RESUME)
unattended_option = partial(grouped_option, group=OptionGroup.UNATTENDED)
table_option = partial(grouped_option, group=OptionGroup.TABLES)
batch_option = partial(grouped_option, group=OptionGroup.BATCH_FILES)
ark_option = partial(grouped_option, group=OptionGroup.ARK)
cluster_option = partial(grouped_option, group=OptionGroup.CLUSTER)


def group_of(parameter: click.Parameter) -> OptionGroup:
    """The heading of an option; one that names none, such as --help, stands last."""
    return parameter.group if isinstance(parameter, GroupedOption) else OptionGroup.OTHER


class GroupedCommand(click.Command):
    """A command whose help lists its options under headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group that has options, in the order of the groups."""
        sections: dict[OptionGroup, list[tuple[str, str]]] = {group: [] for group in OptionGroup}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None
            if record is not None:
                sections[group_of(parameter)].append(record)
        for group, records in sections.items():
            if records:
                with formatter.section(group.value):
                    formatter.write_dl(records)

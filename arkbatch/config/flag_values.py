"""Flags that stand for keys of the job file, and how they are applied."""

from collections.abc import Mapping
from typing import Any

import msgspec

from arkbatch.config.error_text import value_text
from arkbatch.core.errors import UsageError
from arkbatch.core.toml_text import MAX_NESTING, oddity_in

Labels = dict[tuple[str, ...], str]


# Flags that change a key of the file, and the path of that key.
FLAG_PATHS = {
    "endpoint": ("endpoint",),
    "provider": ("provider",),
    "concurrency": ("limits", "concurrency"),
    "rpm": ("limits", "rpm"),
    "tpm": ("limits", "tpm"),
    "input_tpm": ("limits", "input_tpm"),
    "output_tpm": ("limits", "output_tpm"),
    "max_cost": ("limits", "max_cost"),
    "max_tokens": ("limits", "max_total_tokens"),
    "mode": ("limits", "mode"),
    "max_attempts": ("retry", "max_attempts"),
    "give_up_after": ("retry", "give_up_after"),
    "timeout": ("timeouts", "read"),
    "stream": ("stream",),
    "project": ("project",),
    "encrypt": ("encrypt",),
    "hedge": ("hedge",),
    "lane": ("lane",),
    "rest": ("files", "rest"),
    "keep_files": ("files", "keep_remote"),
    "bucket": ("files", "bucket"),
    "images": ("images",),
    "tools": ("tools", "module"),
    "schema": ("validate", "schema"),
    "prompt": ("template", "user"),
    "system": ("template", "system"),
    "text": ("template", "input"),
    "id_column": ("template", "id"),
    "image_column": ("template", "image"),
    "encoding": ("reading", "encoding"),
    "delimiter": ("reading", "delimiter"),
    "header": ("reading", "header"),
    "sheet": ("reading", "sheet"),
    "empty": ("reading", "empty"),
    "allow_empty": ("reading", "allow_empty"),
    "dedupe": ("reading", "dedupe"),
    "window": ("hours", "window"),
    "finish_by": ("hours", "finish_by"),
    "notify": ("notify", "urls"),
    "notify_command": ("notify", "command"),
    "notify_on": ("notify", "on"),
}

# Besides those of FLAG_PATHS, which stand for keys of the job file.
OTHER_FLAGS = (
    "input",  # in place of the job file's
    "run_dir",
    "model",
    "base_url",
    "set",
    "limit",
    "simulate",
    "dry_run",
    "prices",
    "certificate",
    "insecure",
)


def lay_over(raw: dict[str, Any], given: Mapping[str, Any]) -> Labels:
    """Put the flags into the tables; return the flag's name of each value."""
    labels = {}
    for name, path in FLAG_PATHS.items():
        if name in given:
            _put_value(raw, path, given[name])
            labels[path] = f"--{name.replace('_', '-')}"
    for text in given.get("set", ()):
        path, value = parse_setting(text)
        _put_value(raw, ("defaults", *path), value)
    return labels


def parse_setting(text: str) -> tuple[tuple[str, ...], Any]:
    """Parse `temperature=0.2` or `thinking.type=disabled`; a value that is not JSON is text."""
    key, equals, value = text.partition("=")
    path = tuple(part.strip() for part in key.split("."))
    if not equals or not all(path):
        raise UsageError(f"--set {text} is not key=value, such as temperature=0.2 or thinking.type=disabled")
    try:
        decoded = msgspec.json.decode(value)
    except msgspec.DecodeError:
        return path, value
    except RecursionError:
        raise UsageError(f"--set {key} is nested too deeply") from None
    if len(path) > MAX_NESTING or (reason := oddity_in(decoded)):
        reason = reason if len(path) <= MAX_NESTING else f"it is nested more than {MAX_NESTING} levels deep"
        raise UsageError(f"--set {value_text(key)} cannot be sent: {reason}")
    return path, decoded


def _put_value(raw: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    table = raw
    for depth, part in enumerate(path[:-1]):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            name = ".".join(path[: depth + 1])
            raise UsageError(f"{'.'.join(path)} cannot be set: {name} = {value_text(table)} is not a table")
    table[path[-1]] = value


def given_flags(flags: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := set(flags) - {*FLAG_PATHS, *OTHER_FLAGS}:
        raise TypeError(f"unknown flags: {', '.join(sorted(unknown))}")
    return {name: value for name, value in flags.items() if value is not None}

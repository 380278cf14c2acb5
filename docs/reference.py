"""Writes the two generated pages: docs/job-file.md from the schema, docs/commands.md from the commands.

Run it as `python docs/reference.py` after an option or a key of the job file has changed; a test compares.
"""

import importlib
import json
from pathlib import Path
from typing import Any

import click

from arkbatch.cli import COMMANDS

DOCS = Path(__file__).parent
SCHEMA = DOCS.parent / "arkbatch" / "job.schema.json"


def job_file_page() -> str:
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    definitions = schema["$defs"]
    root = definitions[schema["$ref"].rsplit("/", 1)[1]] if "$ref" in schema else schema
    parts = [
        "# Job file",
        "Generated from `arkbatch/job.schema.json`.",
        "Settings count in this order: command line, job file, environment and `.env`, default.",
        "Paths are relative to the job file.",
        "## Top level\n\n" + table(root["properties"], definitions),
    ]
    for name, value in root["properties"].items():
        section = definitions.get(reference(value))
        if section is not None and section.get("properties"):
            parts.append(
                f"## `[{name}]`\n\n{section.get('description', '')}\n\n{table(section['properties'], definitions)}"
            )
    return "\n\n".join(parts) + "\n"


def reference(value: dict[str, Any]) -> str:
    """The name of the definition that a property stands for, "" if it has a type of its own."""
    for each in (value, *value.get("anyOf", ()), *value.get("allOf", ())):
        if "$ref" in each:
            return str(each["$ref"]).rsplit("/", 1)[1]
    return ""


def table(properties: dict[str, Any], definitions: dict[str, Any]) -> str:
    rows = ["| key | type | default | what it is |", "|---|---|---|---|"]
    for name, value in properties.items():
        if definitions.get(reference(value), {}).get("properties"):
            rows.append(f"| `[{name}]` | section | | {cell(value.get('description', 'see below'))} |")
        else:
            default = (
                json.dumps(value["default"], ensure_ascii=False) if value.get("default") not in (None, "", {}) else ""
            )
            rows.append(
                f"| `{name}` | {cell(type_of(value))} | {cell(default)} | {cell(value.get('description', ''))} |"
            )
    return "\n".join(rows)


def type_of(value: dict[str, Any]) -> str:
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(type_of(each) for each in value["anyOf"] if each.get("type") != "null"))
    if "enum" in value:
        return ", ".join(json.dumps(each) for each in value["enum"])
    if value.get("type") == "array":
        return f"list of {type_of(value.get('items', {}))}"
    return {"object": "table", "integer": "whole number"}.get(value.get("type", ""), value.get("type", "any value"))


def cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def commands_page() -> str:
    parts = ["# Commands", "Generated from `arkbatch COMMAND --help`."]
    parts += [f"* [{name}](#arkbatch-{name}): {help_text}" for name, help_text in COMMANDS.items()]
    lines = "\n\n".join(parts[:2]) + "\n\n" + "\n".join(parts[2:])
    return lines + "\n\n" + "\n\n".join(section(name) for name in COMMANDS) + "\n"


def section(name: str) -> str:
    command = importlib.import_module(f"arkbatch.cli.{name}").command
    parts = [help_of(name, command)]
    if isinstance(command, click.Group):
        parts += [help_of(f"{name} {part}", command.commands[part]) for part in command.commands]
    return "\n\n".join(parts)


def help_of(name: str, command: click.Command) -> str:
    with click.Context(command, info_name=f"arkbatch {name}", max_content_width=100, terminal_width=100) as context:
        return f"## arkbatch {name}\n\n```\n{command.get_help(context)}\n```"


PAGES = {"job-file.md": job_file_page, "commands.md": commands_page}

if __name__ == "__main__":
    for page, make in PAGES.items():
        (DOCS / page).write_text(make(), encoding="utf-8")

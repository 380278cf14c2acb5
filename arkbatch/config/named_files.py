"""Reads the files and folders that a job names.

Paths in a job file are relative to it, paths in flags to the working directory.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from arkbatch.config.job_file import Typed, job_file_error
from arkbatch.core.errors import UsageError
from arkbatch.engine.json_schema import read_schema
from arkbatch.engine.tool_module import load_tool_module, tools_of
from arkbatch.protocol.endpoints.responses import flat_tool

TEXT_FLAGS = ("prompt", "system", "text")  # may name a file, as @FILE


def resolve_image_folder(typed: Typed, given: Mapping[str, Any], cwd: Path) -> str:
    """Return the absolute path of the image directory, "" when none was named."""
    named = typed.file.images
    if not named:
        return ""
    folder = ((cwd if "images" in given else typed.folder or cwd) / named).absolute()
    if not folder.is_dir():
        what = "is not a directory" if folder.exists() else "does not exist"
        where = f"--images {named}" if "images" in given else f'images = "{named}"'
        raise job_file_error(typed.label, f"{where} {what} (looked at {folder})")
    return str(folder)


def resolve_validation(typed: Typed, given: Mapping[str, Any], cwd: Path) -> dict[str, Any]:
    """Return the [validate] section with an absolute path, and the checked schema's text."""
    said = typed.file.validate
    if not said.schema:
        return {"validate": said}
    path = ((cwd if "schema" in given else typed.folder or cwd) / said.schema).absolute()
    name = f"--schema {said.schema}" if "schema" in given else f'validate.schema = "{said.schema}"'
    name = f"{typed.label}: {name}" if typed.label and "schema" not in given else name
    text = read_schema(path, name)
    return {"validate": msgspec.structs.replace(said, schema=str(path)), "schema_text": text}


def resolve_tools(typed: Typed, given: Mapping[str, Any], cwd: Path) -> dict[str, Any]:
    """Return the [tools] section with an absolute path.

    Rows that declare no tools get those of the module, by their signatures.
    """
    said, defaults = typed.file.tools, typed.file.defaults
    if not said.module:
        return {"tools": said, "defaults": defaults}
    name = f"--tools {said.module}" if "tools" in given else f'tools.module = "{said.module}"'
    if typed.file.endpoint not in {"chat", "responses"}:
        raise job_file_error(
            typed.label, f'{name} works for chat and responses, and endpoint is "{typed.file.endpoint}"'
        )
    path = ((cwd if "tools" in given else typed.folder or cwd) / said.module).absolute()
    functions = load_tool_module(path, f"{typed.label}: {name}" if typed.label and "tools" not in given else name)
    declared: list[dict[str, Any]] = list(tools_of(functions))
    if typed.file.endpoint == "responses":
        declared = [flat_tool(tool) for tool in declared]
    return {
        "tools": msgspec.structs.replace(said, module=str(path)),
        "functions": tuple(functions),
        "defaults": {"tools": declared, **defaults},
    }


def with_texts(given: dict[str, Any], cwd: Path) -> dict[str, Any]:
    """Replace flags that name a file by its text; `@@` escapes a first @."""
    for name in TEXT_FLAGS:
        text = given.get(name)
        if isinstance(text, str) and text.startswith("@"):
            given[name] = text[1:] if text.startswith("@@") else _text_of_file(name, text[1:], cwd)
    return given


def _text_of_file(flag: str, name: str, cwd: Path) -> str:
    try:
        return (cwd / name).read_text(encoding="utf-8-sig").removesuffix("\n")
    except OSError as error:
        raise UsageError(f"--{flag} @{name}: the file cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"--{flag} @{name}: the file is not UTF-8 at byte {error.start}") from error

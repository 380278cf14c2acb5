"""The beginning of an input, looked at before there is a run: is it JSONL at all, and do its rows name their model?

A table or one large JSON list would fail line by line, each with a reason that is no help. What stands further down is
not looked at here: single bad lines are rows that fail (`core.rows`).
"""

import codecs
import shlex
from pathlib import Path

import orjson

from arkbatch.rows.input_file import lines, open_input

_SHELL = "python3 -c 'import {modules}; [print(json.dumps(row, ensure_ascii=False)) for row in {rows}]'"
UTF_8 = "utf-8-sig"
_OPEN = f'open(sys.argv[1], encoding="{UTF_8}")'
FROM_CSV = _SHELL.format(modules="csv, json, sys", rows=f"csv.DictReader({_OPEN})")
FROM_TSV = _SHELL.format(modules="csv, json, sys", rows=f'csv.DictReader({_OPEN}, delimiter="\\t")')
FROM_LIST = _SHELL.format(modules="json, sys", rows=f"json.load({_OPEN})")
_LOOKED_AT = 1 << 20
OTHERS = {".xlsx", ".xls", ".parquet"}


def first_line(path: Path) -> bytes:
    """The first that is not blank. UsageError: the file cannot be read."""
    return next((line.strip() for _, _, line in lines(path)), b"")


def no_jsonl(path: Path, first: bytes) -> str:
    """Why this cannot be an input, and what to do; "" when it may be one. It is not the place to find bad lines."""
    if first in {b"[", b"{"} or first.startswith(b"[{"):
        one = "JSON object over several lines" if first == b"{" else "JSON list"
        how = "write it on one line" if first == b"{" else _made_by(FROM_LIST, path)
        return f"is one {one}, and each row is an object on a line of its own: {how}"
    if not first or first.startswith(b"{"):
        return ""
    if path.suffix in {".csv", ".tsv"}:
        how = _made_by(FROM_CSV if path.suffix == ".csv" else FROM_TSV, path).replace(UTF_8, _encoding(path))
        return f"is a table, and each row is a JSON object on a line of its own ([template] uses its columns): {how}"
    return "is no text: write its rows as JSON objects, one on each line" if path.suffix in OTHERS else ""


def _encoding(path: Path) -> str:
    """Sheets write Chinese in the encoding of their country unless they are told otherwise."""
    with open_input(path) as file:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(file.read(_LOOKED_AT))
        except UnicodeDecodeError:
            return "gb18030"
    return UTF_8


def _made_by(command: str, path: Path) -> str:
    return f"{command} {shlex.quote(path.name)} > {shlex.quote(path.with_suffix('.jsonl').name)}"


def names_model(first: bytes) -> bool:
    """Whether the first row says which model it is for, as rows of OpenAI's batch files and our failures do."""
    try:
        row = orjson.loads(first)
    except orjson.JSONDecodeError:
        return False
    if isinstance(row, dict) and isinstance(row.get("request"), dict):
        row = row["request"]
    places = (row, row.get("body")) if isinstance(row, dict) else ()
    return any(isinstance(place, dict) and place.get("model") for place in places)

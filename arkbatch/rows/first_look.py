"""Looks at the first rows before there is a run: can any be sent?

An input of which no row at the beginning can be sent is refused with the reason and a flag that helps. What stands
further down is not looked at: single bad rows are rows that fail.
"""

import re
import shlex
from collections.abc import Iterator

from msgspec import Struct

from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.core.row import BadRow
from arkbatch.core.text import suggest_name
from arkbatch.protocol.endpoints.parameter_names import near_parameter
from arkbatch.rows.cells import text_of
from arkbatch.rows.csv_shape import header_is_data
from arkbatch.rows.csv_table import CsvTable
from arkbatch.rows.parse import RowReader
from arkbatch.rows.record_json import columns_of
from arkbatch.rows.several_files import parts_of
from arkbatch.rows.source import Record, Source, first_records
from arkbatch.rows.workbook import Workbook

LOOKED_AT = 100  # rows
_NAMED = 12  # columns in a message
_ABSENT = re.compile(r"needs the column (.+?), which the line lacks")


class FirstLook(Struct, frozen=True):
    """What the first rows are like.

    rows, sendable: how many were looked at, and how many of them can be sent; reason: why the first one cannot
    kept: columns that are not sent; near: columns that were probably meant to be a parameter, and that parameter
    """

    rows: int
    sendable: int
    reason: str
    kept: tuple[str, ...]
    near: dict[str, str]
    notes: tuple[str, ...] = ()


def look_at(source: Source, job: Job) -> FirstLook:
    """Read the first rows as a run reads them."""
    reader = RowReader(job, by_cells=source.is_table)
    records = first_records(source, LOOKED_AT)
    rows = [reader.read_row(*record) for record in records]
    bad = [row for row in rows if isinstance(row, BadRow)]
    kept, near = _columns_kept_back(reader, records, job)
    return FirstLook(
        len(rows),
        len(rows) - len(bad),
        bad[0].reason if bad else "",
        kept,
        near,
        tuple(_notes_on_columns(source, job, records)),
    )


def _columns_kept_back(reader: RowReader, records: list[Record], job: Job) -> tuple[tuple[str, ...], dict[str, str]]:
    names: dict[str, None] = {}
    near: dict[str, str] = {}
    makes_requests = job.template is not None and job.template.makes_requests
    for _, _, line in records:
        columns = columns_of(line)
        if isinstance(columns.get("request"), dict):
            continue  # one of our own failures
        names.update(dict.fromkeys(reader.columns_kept_back(columns)))
        endpoint = "embeddings" if "input" in columns and "messages" not in columns else "chat"
        for name in () if makes_requests else names:
            if found := near_parameter(endpoint, name):
                near[name] = found
    return tuple(names), near


def _notes_on_columns(source: Source, job: Job, records: list[Record]) -> Iterator[str]:
    """What a person may want to know about the columns."""
    if isinstance(source, CsvTable) and job.reading.header and header_is_data(source.columns):
        yield "the first record looks like a row and not like names of columns: say --no-header if it is one"
    columns = columns_of(records[0][2]) if records else {}
    template_id = job.template.id if job.template else None
    if source.is_table and template_id is None and "custom_id" not in columns and "id" in columns:
        yield "the column id is not used as custom_id: say --id-column id if it is to be"


def start_notes(look: FirstLook) -> list[str]:
    """What is told at the start of a run."""
    told = list(look.notes)
    if look.kept:
        more = f" and {len(look.kept) - _NAMED} more" if len(look.kept) > _NAMED else ""
        told.insert(0, f"kept here, not sent: {', '.join(look.kept[:_NAMED])}{more}")
    told += [
        f"{name} is not a parameter that arkbatch knows, and is not sent: {near} was meant? "
        "(others go into body or [defaults])"
        for name, near in look.near.items()
    ]
    return told


def check_first_rows(source: Source, job: Job) -> FirstLook:
    """UsageError: there are no rows, or none of the first can be sent."""
    look = look_at(source, job)
    if not look.rows and not job.reading.allow_empty:
        raise UsageError(
            f"{job.input} has no rows: nothing could be sent. Check the file, or say --allow-empty if that is meant."
        )
    if look.rows and not look.sendable:
        raise UsageError(_reason_to_refuse(source, job, look))
    check_id_column(source, job)
    return look


def check_id_column(source: Source, job: Job) -> None:
    """UsageError: the column that names the rows stands in none of the first rows."""
    column = job.template.id if job.template else None
    names = [] if column is None else _column_names(first_records(source, LOOKED_AT))
    if column is None or not names or column in names or "request" in names:
        return
    near = next((name for name in names if name.lower() == column.lower()), "") or suggest_name(column, names)
    hint = f"{near}, not {column}?" if near else f"the columns are {', '.join(names[:_NAMED])}"
    raise UsageError(f"{job.input} has no column {column}, which --id-column names: {hint}")


def _reason_to_refuse(source: Source, job: Job, look: FirstLook) -> str:
    """Why nothing can be sent, and the command that works where a template is what is missing."""
    which = "its only row" if look.rows == 1 else f"none of the first {look.rows} rows"
    can = "cannot" if look.rows == 1 else "can"
    said = f"{job.input} ({source.description}): {which} {can} be sent: {look.reason}"
    return "\n".join([said, *proposed_command(source, job, look)])


def proposed_command(source: Source, job: Job, look: FirstLook) -> list[str]:
    """Lines about a table whose template is missing or names a column that is not there; else none."""
    has_template = job.template is not None and job.template.makes_requests
    absent = _ABSENT.search(look.reason)
    if look.sendable or not source.is_table or ("--prompt" not in look.reason and not absent):
        return []
    records = first_records(source, LOOKED_AT)
    if not has_template:
        said = [f"Its columns: {', '.join(_column_names(records)[:_NAMED])}"]
        return [
            *said,
            f"For example:  {_command_with_prompt(job, records, f'{{{_column_of_longest_texts(records)}}}')}",
        ]
    if absent is None or job.template is None or job.template.user is None:
        return []
    if isinstance(source, CsvTable) and job.reading.header and header_is_data(source.columns):
        return ["The first record looks like a row: say --no-header if it is one, and call the columns {1}, {2}, ..."]
    if isinstance(source, Workbook) and source.other_sheets:
        sheet = ("--sheet", source.other_sheets[0])
        said = [f"Its other sheets: {', '.join(source.other_sheets[:_NAMED])}"]
        return [*said, f"For example:  {_command_with_prompt(job, records, job.template.user, *sheet)}"]
    if isinstance(source, CsvTable) and len(source.columns) == 1 and absent[1] in source.columns[0].split(" "):
        return [f"For example:  {_command_with_prompt(job, records, job.template.user, '--delimiter', ' ')}"]
    column = suggest_name(absent[1], _column_names(records)) or _column_of_longest_texts(records)
    prompt = job.template.user.replace(f"{{{absent[1]}}}", f"{{{column}}}")
    return [f"For example:  {_command_with_prompt(job, records, prompt)}"]


def _column_names(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(name for _, _, line in records for name in columns_of(line)))


def _column_of_longest_texts(records: list[Record]) -> str:
    """The column of the longest texts."""
    lengths: dict[str, int] = {}
    for _, _, line in records:
        for name, value in columns_of(line).items():
            lengths[name] = lengths.get(name, 0) + len(text_of(value) if value is not None else "")
    return max(lengths, key=lambda name: lengths[name], default="column")


def _command_with_prompt(job: Job, records: list[Record], prompt: str, *more: str) -> str:
    """A command with this prompt."""
    words = ["arkbatch", "run", *parts_of(job.input), "--prompt", prompt, *more]
    words += ["--id-column", "id"] if "id" in _column_names(records) and prompt != "{id}" else []
    words += ["--simulate"] if job.simulated else ["--model", job.model] if job.model else []
    return shlex.join(words)


def names_model(line: bytes) -> bool:
    """Whether a row says which model it is for, as rows of OpenAI's batch files and our failures do."""
    row = columns_of(line)
    if isinstance(row.get("request"), dict):
        row = row["request"]
    return any(isinstance(place, dict) and place.get("model") for place in (row, row.get("body")))

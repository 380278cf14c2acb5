"""`arkbatch run --dry-run`: the first requests as they would be sent, and where to."""

import sys
from itertools import islice

import click
import orjson

from arkbatch.core.errors import ExitCode, UsageError
from arkbatch.core.job import Job
from arkbatch.core.text import counted, printable_json
from arkbatch.core.types import BadRow, Cause, Row
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows.first_look import check_first_rows
from arkbatch.rows.media_files import Images
from arkbatch.rows.source import reader_of, source_of

_SHOWN = 3


def show_plan(job: Job, named: str, *, as_json: bool) -> ExitCode:
    """Print what the first rows become. Bad lines among them are shown with their reason.

    named: the job or input as the user named it
    """
    if job.input == "-":
        raise UsageError("--dry-run reads the input twice: save standard input to a file first")
    source = source_of(job)
    check_first_rows(source, job)
    reader = reader_of(job, source)
    first = _SHOWN if job.row_limit is None else min(_SHOWN, job.row_limit)
    rows = [reader.read(*line) for line in islice(source.records(), first)]
    images = Images(job.images) if job.images else None
    for row in rows:
        reason = _problem(row, images)
        url = job.base_url + ENDPOINTS[row.endpoint].path if isinstance(row, Row) else None
        shown = {"row": row.number, "custom_id": row.custom_id, "url": url}
        shown |= {"body": row.body} if isinstance(row, Row) else {}
        shown |= {"error": reason} if reason else {}
        click.echo(printable_json(orjson.dumps(shown, option=0 if as_json else orjson.OPT_INDENT_2)))
    limits = job.limits
    said = [f"at most {limits.rpm:g} requests a minute" if limits.rpm else "", f"{limits.concurrency} calls at once"]
    which = _which(source.survey().rows, job.row_limit)
    print(  # noqa: T201
        f"Nothing was sent. {job.input} has {which} would go to {job.base_url}, "
        f"{', '.join(part for part in said if part)}, into {job.run_dir}.\n"
        f"Read every line:  arkbatch check {named}",
        file=sys.stderr,
    )
    return ExitCode.OK


def _problem(row: Row | BadRow, images: Images | None) -> str | None:
    """Why a row cannot be sent. Its images are read, as they will be; shown are their names."""
    if isinstance(row, BadRow):
        return row.reason
    encoded = images.encode(row.body) if images else b""
    return encoded.message if isinstance(encoded, Cause) else None


def _which(rows: int, limit: int | None) -> str:
    if limit is not None and limit < rows:
        return f"{counted(rows, 'row')}, of which the first {limit:,}"
    return f"{counted(rows, 'row')}; {'it' if rows == 1 else 'they'}"

"""Answers beside the columns of a Parquet or Arrow input, with their types."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from arkbatch.reports.answers.answer_table import AnswerTable, Column, JoinedRow
from arkbatch.reports.answers.table_writers import arrow_field
from arkbatch.rows.columnar import ColumnarTable


def write_beside(table: AnswerTable, source: ColumnarTable, file: Path, ended: Callable[[str], None]) -> list[str]:
    """Write Parquet with the columns of the input as they are, and return what to tell.

    ended: called with the state of each row
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = table.all_columns(is_typed=True)
    fields = [source.schema.field(each.source) if each.place == "input" else arrow_field(pa, each) for each in columns]
    schema = pa.schema(fields)
    rows = table.chosen_rows()
    row = next(rows, None)
    number = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in source.read_batches():
            kept: list[JoinedRow] = []
            while row is not None and row.number <= number + batch.num_rows:
                kept.append(row)
                row = next(rows, None)
            places = [each.number - number - 1 for each in kept]
            if kept:
                part = batch if len(kept) == batch.num_rows else batch.take(pa.array(places))
                values = [table.typed_values(each, columns) for each in kept]
                writer.write_batch(_columns_beside_input(pa, part, columns, schema, values))
            for each in kept:
                ended(each.state)
            number += batch.num_rows
    return table.notes_on_types(columns, is_typed=True)


def _columns_beside_input(pa: Any, batch: Any, columns: list[Column], schema: Any, values: list[list[Any]]) -> Any:
    arrays = [
        batch.column(batch.schema.get_field_index(column.source))
        if column.place == "input"
        else pa.array([row[place] for row in values], schema.field(place).type)
        for place, column in enumerate(columns)
    ]
    return pa.record_batch(arrays, schema=schema)

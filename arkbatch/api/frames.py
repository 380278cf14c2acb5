"""Data frames in memory: rows as plain values, and columns appended to them.

A library is recognized by the module of the object's type, so none is imported that is not there already. The caller's
object is never changed.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from arkbatch.core.errors import UsageError

ROWS, PANDAS, POLARS, ARROW, DATASET = "rows", "pandas", "polars", "arrow", "dataset"
KINDS = (ROWS, PANDAS, POLARS, ARROW)
TEXT_COLUMN = "text"  # of a list of texts

Columns = Mapping[str, Sequence[Any]]


def kind_of(data: Any) -> str:
    """Return which kind of table this is. UsageError: it is none."""
    library = type(data).__module__.partition(".")[0]
    if library == "pandas" and hasattr(data, "itertuples"):
        return PANDAS
    if library == "polars" and hasattr(data, "iter_rows"):
        return POLARS
    if library == "pyarrow" and hasattr(data, "to_batches"):
        return ARROW
    if library == "datasets" and hasattr(data, "add_column"):
        return DATASET
    if isinstance(data, Iterable) and not isinstance(data, str | bytes | Mapping):
        return ROWS
    if isinstance(data, Mapping):
        raise UsageError("data is a dict: of columns, make a data frame of it, such as pandas.DataFrame(data)")
    raise UsageError(
        f"data is a {type(data).__name__}: give a path, a data frame of pandas, polars or pyarrow, a data set, "
        "or a list of dicts"
    )


def in_memory(data: Any) -> Any:
    """Return lazy frames, batches and other Arrow streams as a table; everything else as it is."""
    library, name = type(data).__module__.partition(".")[0], type(data).__name__
    if library == "polars" and name == "LazyFrame":
        return data.collect()
    is_stream = hasattr(data, "__arrow_c_stream__") and not hasattr(data, "itertuples") and library != "datasets"
    if name == "RecordBatch" or (is_stream and not (library == "polars" and hasattr(data, "iter_rows"))):
        try:
            import pyarrow as pa
        except ImportError:
            return data
        if isinstance(data, pa.Table | pa.ChunkedArray) or name == "Series":
            return data
        return pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else pa.table(data)
    return data


def column_names(data: Any) -> list[str]:
    """Return the names of the columns; of rows, of every key that one of them has."""
    kind = kind_of(data)
    if kind in {PANDAS, POLARS}:
        return _told_apart([str(name) for name in data.columns])
    if kind in {ARROW, DATASET}:
        return _told_apart([str(name) for name in data.column_names])
    return list(dict.fromkeys(str(name) for number, row in enumerate(data, 1) for name in _row_as_mapping(row, number)))


def _told_apart(names: list[str]) -> list[str]:
    """Return the names of a frame's columns. UsageError: two columns have one name."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"data has two columns called {twice}: rename one, so that a prompt can tell them apart")
    return names


def keep_rows(data: Any, wanted: Sequence[bool]) -> Any:
    """Return the rows that are wanted, as a table of the same kind."""
    kind = kind_of(data)
    if kind == PANDAS:
        return data[list(wanted)]
    if kind == POLARS:
        return data.filter(list(wanted))
    if kind == ARROW:
        return data.filter(list(wanted))
    if kind == DATASET:
        return data.select([place for place, is_wanted in enumerate(wanted) if is_wanted])
    return [row for row, is_wanted in zip(data, wanted, strict=True) if is_wanted]


def records_of(data: Any) -> Iterator[dict[str, Any]]:
    """Give each row as a dict of plain JSON values; missing values (NaN, NaT, NA) are None."""
    if kind_of(data) != ROWS:
        column_names(data)  # refuses names that stand twice
    for row in _raw_records(data, kind_of(data)):
        yield {str(name): as_json_value(value) for name, value in row.items()}


def _raw_records(data: Any, kind: str) -> Iterator[Mapping[str, Any]]:
    if kind == PANDAS:
        names = list(data.columns)
        for values in data.itertuples(index=False, name=None):
            yield dict(zip(names, values, strict=True))
    elif kind == POLARS:
        yield from data.iter_rows(named=True)
    elif kind == ARROW:
        for batch in data.to_batches():
            yield from batch.to_pylist()
    else:
        for number, row in enumerate(data, 1):
            yield _row_as_mapping(row, number)


def _row_as_mapping(row: Any, number: int) -> Mapping[str, Any]:
    """Return a dict, a named tuple or a text as a mapping. UsageError: it is none of these."""
    if isinstance(row, str) or as_json_value(row) is None:
        return {TEXT_COLUMN: row}
    if isinstance(row, Mapping):
        return row
    if hasattr(row, "_asdict"):  # a named tuple
        named: Mapping[str, Any] = row._asdict()
        return named
    raise UsageError(f"row {number} is a {type(row).__name__}: each row is a dict or a text")


def as_json_value(value: Any) -> Any:
    """Return a cell as a JSON value: numbers of NumPy as numbers, times as ISO 8601, missing values as None."""
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    if isinstance(value, Mapping):
        return {str(key): as_json_value(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [as_json_value(each) for each in value]
    return _value_of_other_type(value)


def _value_of_other_type(value: Any) -> Any:
    """A value of another library's or the standard library's own type."""
    name = type(value).__name__
    if name in {"NAType", "NaTType"}:
        return None
    if hasattr(value, "tolist"):  # NumPy: a scalar, or an array as a list
        return as_json_value(value.tolist())
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


def append_columns(data: Any, columns: Columns) -> Any:
    """Return a copy of the table with these columns behind its own, one value a row.

    Columns of whole numbers that miss some values stay whole numbers (`Int64` in pandas).
    """
    kind = kind_of(data)
    if kind == PANDAS:
        return data.assign(**{name: _pandas_column(values, data.index) for name, values in columns.items()})
    if kind == POLARS:
        import polars as pl

        return data.with_columns([pl.Series(name, list(values), strict=False) for name, values in columns.items()])
    if kind == ARROW:
        import pyarrow as pa

        for name, values in columns.items():
            data = data.append_column(name, pa.array(list(values)))
        return data
    if kind == DATASET:
        for name, values in columns.items():
            data = data.add_column(name, list(values))
        return data
    return [
        dict(_row_as_mapping(row, number)) | {name: columns[name][number - 1] for name in columns}
        for number, row in enumerate(data, 1)
    ]


def _pandas_column(values: Sequence[Any], index: Any) -> Any:
    import pandas as pd

    held = [each for each in values if each is not None]
    whole = held and all(isinstance(each, int) and not isinstance(each, bool) for each in held)
    return pd.Series(list(values), index=index, dtype="Int64" if whole else None if held else object)


def make_frame(columns: Columns, kind: str) -> Any:
    """Return a new table of these columns. UsageError: there is no such kind, or its library is not installed."""
    if kind == ROWS:
        names = list(columns)
        return [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if kind not in KINDS:
        raise UsageError(f"kind {kind} is not one of {', '.join(KINDS)}")
    try:
        if kind == PANDAS:
            import pandas as pd

            return pd.DataFrame({name: _pandas_column(values, None) for name, values in columns.items()})
        if kind == POLARS:
            import polars as pl

            return pl.DataFrame([pl.Series(name, list(values), strict=False) for name, values in columns.items()])
        import pyarrow as pa

        return pa.table({name: list(values) for name, values in columns.items()})
    except ImportError as error:
        library = "pyarrow" if kind == ARROW else kind
        raise UsageError(f"kind {kind} needs {library}: pip install {library}") from error

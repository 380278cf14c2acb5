"""The vectors of a run, one by one or as a numpy file.

The array is made of the records, in one pass and without numpy: its rows go into a new file as they are read, its
head last, when their number is known, and only then the file takes its name. Which row of the input a vector belongs
to stands beside it, line by line, since rows that failed have none. In input order the pass costs eight bytes of
memory a row. The format is that of numpy's NEP 1, version 1.0.
"""

import os
from array import array
from collections.abc import Iterator
from pathlib import Path
from sys import byteorder
from typing import BinaryIO

import orjson
from msgspec import Struct

from arkbatch.core.disk_errors import explain_disk_errors
from arkbatch.core.errors import UsageError
from arkbatch.journal.atomic_files import replacing_file
from arkbatch.protocol.vectors import FLOAT, vectors_in
from arkbatch.reports.answers.results import Order, iter_results

SUFFIX = ".npy"
IDS = ".ids.jsonl"

_HEAD = 128  # bytes; numpy asks for a multiple of 64
_BUFFER = 1 << 20


class Vector(Struct, frozen=True, gc=False):
    """One vector and the row that asked for it. `floats` has four bytes a number, little-endian.

    index: which of the row's inputs it is, from 0
    """

    custom_id: str
    row: int
    index: int
    floats: bytes

    @property
    def numbers(self) -> "array[float]":
        found = array("f", self.floats)
        if byteorder == "big":
            found.byteswap()
        return found


class WrittenVectors(Struct, frozen=True):
    """What a file of vectors holds: so many, of so many numbers each, from so many rows."""

    file: str
    ids: str
    vectors: int
    dimensions: int
    rows: int


def iter_vectors(run_dir: str | Path, order: Order = "input") -> Iterator[Vector]:
    """All vectors of a run, those of one row by their index. UsageError: a record holds what is no vector."""
    for line in iter_results(run_dir, order):
        try:
            found = sorted(vectors_in(line["response"]["body"]))
        except ValueError as error:
            raise UsageError(f"{run_dir}: the record of row {line['row']} holds no proper vector: {error}") from error
        for index, floats in found:
            yield Vector(line["custom_id"], line["row"], index, floats)


def write_vectors(run_dir: str | Path, file: str | Path, order: Order = "input") -> WrittenVectors:
    """Write the array and, beside it, whose each of its rows is. UsageError: they do not make one array."""
    target = Path(file)
    if target.suffix != SUFFIX:
        raise UsageError(f"{file} does not end in {SUFFIX}: vectors are written in that format")
    ids = target.with_name(target.name + IDS)
    with (
        explain_disk_errors(target),
        replacing_file(target) as fresh,
        replacing_file(ids) as fresh_ids,
        fresh.open("wb", _BUFFER) as array_file,
        fresh_ids.open("wb", _BUFFER) as ids_file,
    ):
        vectors, dimensions, rows = _write_vectors(iter_vectors(run_dir, order), array_file, ids_file, run_dir)
    return WrittenVectors(str(target), str(ids), vectors, dimensions, rows)


def _write_vectors(
    found: Iterator[Vector], array_file: BinaryIO, ids_file: BinaryIO, run_dir: str | Path
) -> tuple[int, int, int]:
    count = length = rows = last = 0
    array_file.write(bytes(_HEAD))
    for vector in found:
        length = length or len(vector.floats)
        if len(vector.floats) != length:
            raise UsageError(
                f"the vector of row {vector.row} has {len(vector.floats) // FLOAT} numbers and those before it "
                f"{length // FLOAT}, which makes no array; arkbatch.iter_vectors gives them one by one"
            )
        array_file.write(vector.floats)
        ids_file.write(orjson.dumps({"custom_id": vector.custom_id, "row": vector.row, "index": vector.index}) + b"\n")
        count += 1
        rows += vector.row != last
        last = vector.row
    if not count:
        raise UsageError(f"{run_dir} has no vectors: none of its rows has succeeded, or they are no embeddings")
    array_file.seek(0)
    array_file.write(array_head(count, length // FLOAT))
    array_file.flush()
    os.fsync(array_file.fileno())
    return count, length // FLOAT, rows


def array_head(count: int, dimensions: int) -> bytes:
    """The head of an array of 32-bit floats, little-endian, row by row."""
    said = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {dimensions}), }}"
    return b"\x93NUMPY\x01\x00" + (_HEAD - 10).to_bytes(2, "little") + said.ljust(_HEAD - 11).encode() + b"\n"

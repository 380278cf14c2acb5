"""Plans of shards: every row in one shard, known by file and offset whatever the shard size."""

import csv
import io
import itertools
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.cluster import plan
from arkbatch.cluster.plan import (
    cut_table,
    find_inputs,
    plan_parts,
    real_range,
    shard_bytes_for,
)
from arkbatch.core.errors import UsageError
from arkbatch.journal.shard_plan import PLAN_FORMAT, InputPart, Shard, ShardPlan
from arkbatch.rows.object_storage import open_bytes


class Bytes:
    """A byte source in memory."""

    name = "memory"

    def __init__(self, data):
        self.data = data

    def identity(self):
        raise AssertionError("not asked for")

    def read_range(self, begin, end):
        return self.data[begin:end]


def plan_of(parts, shard_bytes):
    return ShardPlan(PLAN_FORMAT, "r", "", shard_bytes, parts, {}, {}, "")


LINES = st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"")), max_size=40)


@settings(max_examples=300)
@given(lines=LINES, end=st.sampled_from([b"", b"\n", b"\r\n"]), shard_bytes=st.integers(1, 80))
def test_each_line_is_in_one_shard_whatever_the_shard_size(lines, end, shard_bytes):
    data = b"\n".join(lines) + end
    part = InputPart("memory", len(data), "", "lines")
    ranges = [real_range(shard, Bytes(data)) for shard in plan_of([part], shard_bytes).all_shards()]
    assert b"".join(data[begin:end] for begin, end in ranges) == data
    assert all(begin == 0 or data[begin - 1 : begin] == b"\n" for begin, end in ranges if begin < end)


CELLS = st.text(st.sampled_from('ab,"\n\r;世 '), max_size=12)


@settings(max_examples=200)
@given(rows=st.lists(st.lists(CELLS, min_size=2, max_size=2), min_size=1, max_size=40), shard_bytes=st.integers(1, 200))
def test_a_table_is_cut_where_records_begin_also_when_cells_hold_newlines(rows, shard_bytes):
    text = io.StringIO()
    csv.writer(text).writerows([["id", "text"], *rows])
    data = text.getvalue().encode()
    cuts, header = cut_table(Bytes(data), len(data), shard_bytes)
    assert data[:header] == b"id,text\r\n"
    read = []
    for begin, end in zip([header, *cuts], [*cuts, len(data)], strict=True):
        read += csv.reader(io.StringIO(data[begin:end].decode(), newline=""))
    assert read == list(csv.reader(io.StringIO(data[header:].decode(), newline="")))
    assert all(cut - before >= shard_bytes for before, cut in itertools.pairwise(cuts))


@pytest.mark.parametrize("row", [b"a" * 30, b'"' + b"a" * 30 + b'"'])
def test_a_table_with_a_row_that_no_request_may_have_is_refused_in_bounded_memory(monkeypatch, row):
    monkeypatch.setattr(plan, "LONGEST_LINE", 20)
    monkeypatch.setattr(
        plan, "copy_ranges", lambda source, *_: iter([source.data[at : at + 7] for at in range(8, 60, 7)])
    )
    monkeypatch.setattr(csv, "field_size_limit", lambda _: None)  # it would stay for the tests that follow
    data = b"id,text\n1,a\n2," + row + b"\n3,b\n"
    with pytest.raises(UsageError, match="a line is longer than"):
        cut_table(Bytes(data), len(data), 4)


def test_a_thousand_files_of_a_million_rows_are_planned_in_seconds_without_reading(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(1_000):
        with (folder / f"part-{number}.jsonl").open("wb") as file:
            file.truncate(500_000_000)  # sparse: a million rows of 500 bytes
    began = time.process_time()
    parts, size = plan_parts(find_inputs([f"{folder}/*.jsonl"]), lambda total: shard_bytes_for(total, 100))
    plan = plan_of(parts, size)
    assert plan.count == sum(1 for _ in plan.all_shards()) == 8_000
    assert time.process_time() - began < 5


def test_files_of_a_pattern_come_in_natural_order_and_each_once(tmp_path):
    for name in ("part-10.jsonl", "part-2.jsonl"):
        (tmp_path / name).write_text("{}\n")
    found = find_inputs([f"{tmp_path}/part-*.jsonl", f"{tmp_path}/part-2.jsonl"])
    assert [name.rpartition("/")[2] for name in found] == ["part-2.jsonl", "part-10.jsonl"]


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No file matches"):
        find_inputs([f"{tmp_path}/*.jsonl"])


def test_compressed_files_and_utf_16_are_one_shard_each(tmp_path):
    (tmp_path / "a.jsonl.gz").write_bytes(b"x" * 1_000)
    (tmp_path / "b.csv").write_bytes("a,b\n1,2\n".encode("utf-16") * 100)
    parts, _ = plan_parts([str(tmp_path / name) for name in ("a.jsonl.gz", "b.csv")], lambda _: 100)
    assert [part.kind for part in parts] == ["whole", "whole"]
    assert plan_of(parts, 100).count == 2


def test_parquet_is_cut_at_row_groups(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"n": list(range(1_000))}), path, row_group_size=100)
    parts, _ = plan_parts([str(path)], lambda _: 2_000)
    shards = list(plan_of(parts, 2_000).all_shards())
    assert len(shards) > 2
    assert [shard.begin for shard in shards[1:]] == [shard.end for shard in shards[:-1]]
    assert (shards[0].begin, shards[-1].end) == (0, 10)


def test_shards_are_as_many_as_asked_for_or_several_for_each_worker():
    assert shard_bytes_for(64_000_000, 2, shards=10) == 6_400_000
    assert shard_bytes_for(64_000_000, 2) == 4_000_000
    assert shard_bytes_for(10, 2) == 16 << 10
    assert shard_bytes_for(10**12, 2) == 64 << 20


def test_the_first_line_of_a_shard_may_be_longer_than_the_shard(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * 1_000 + b"\n{}\n")
    part = InputPart(str(path), path.stat().st_size, "", "lines")
    ranges = [real_range(shard, open_bytes(str(path))) for shard in plan_of([part], 300).all_shards()]
    assert ranges == [(0, 1001), (1001, 1001), (1001, 1001), (1001, 1004)]
    assert Shard(0, part, 0, part.size).is_whole

"""Any input becomes rows with a number, an offset and JSON; what it is, is seen in its beginning."""

import bz2
import gzip
import json
import lzma

import pytest
from parsing import job

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import Position
from arkbatch.core.template_syntax import Reading, Template
from arkbatch.rows.input_file import Unreadable
from arkbatch.rows.parse import RowReader
from arkbatch.rows.record_json import columns_of
from arkbatch.rows.source import open_source, source_of

ROWS = [{"prompt": "你好"}, {"prompt": 'b "c"\nd', "n": 1}]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def written(folder, content, name):
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder / name


def rows_of(path, **reading):
    return [columns_of(line) for _, _, line in open_source(path, Reading(**reading)).read_records()]


def zstd(data):
    from backports import zstd as library

    return library.compress(data)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", LINES),
        ("a.txt", "\ufeff\n" + LINES),
        ("a.csv", LINES),
        ("a.json", json.dumps(ROWS)),
        ("a.json", json.dumps(ROWS, indent=2)),
        ("a.jsonl", json.dumps(ROWS, ensure_ascii=False)),
        ("a.jsonl", "".join(json.dumps(row) for row in ROWS)),
        ("a.json", "\n".join(json.dumps(row, indent=1) for row in ROWS)),
        ("a.jsonl", LINES.replace("\n", "\r")),
        ("a.jsonl", LINES.encode("utf-16")),
        ("a.jsonl.gz", gzip.compress(LINES.encode())),
        ("a.jsonl.bz2", bz2.compress(LINES.encode())),
        ("a.jsonl.xz", lzma.compress(LINES.encode())),
        ("a.jsonl.zst", zstd(LINES.encode())),
        ("a.json.gz", gzip.compress(json.dumps(ROWS).encode())),
    ],
    ids=[
        *("lines", "a mark", "a wrong name", "a list", "an indented list", "a list as lines", "on one line"),
        *("objects over lines", "CR", "UTF-16", "gzip", "bzip2", "xz", "zstd", "a packed list"),
    ],
)
def test_json_is_read_in_every_form_and_entered_at_each_row(tmp_path, name, content):
    source = open_source(written(tmp_path, content, name))
    found = list(source.read_records())
    assert [columns_of(line) for _, _, line in found] == ROWS
    assert source.survey_input().rows == 2
    for number, offset, line in found:
        assert next(source.read_records(Position(number - 1, offset))) == (number, offset, line)


def test_a_bad_line_of_json_lines_is_one_bad_row(tmp_path):
    for first in ("oops", "[1]", '{"a": '):
        found = list(open_source(written(tmp_path, f"{first}\n{LINES}", "a.jsonl")).read_records())
        assert len(found) == 3


def test_a_bad_element_of_a_list_is_one_bad_row(tmp_path):
    path = written(tmp_path, '[{"prompt": "a"},\n{"prompt": oops},\n{"prompt": "b"}]', "a.json")
    found = [line for _, _, line in open_source(path).read_records()]
    assert [isinstance(line, Unreadable) for line in found] == [False, True, False]
    assert "element 2 of a.json is not JSON" in found[1].reason


def test_a_list_of_texts_has_the_column_text(tmp_path):
    assert rows_of(written(tmp_path, '["a", "b"]', "a.json")) == [{"text": "a"}, {"text": "b"}]


def test_a_list_that_is_larger_than_the_window_is_read(tmp_path):
    rows = [{"prompt": "x" * 300_000, "n": number} for number in range(12)]
    assert rows_of(written(tmp_path, json.dumps(rows), "a.json")) == rows


def test_a_file_that_was_cut_off_says_so(tmp_path):
    for ending, packed in ((".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", zstd)):
        data = packed(LINES.encode() * 100)
        with pytest.raises(UsageError, match="damaged"):
            rows_of(written(tmp_path, data[:-20], f"a.jsonl{ending}"))


def parquet(folder, rows, name="in.parquet"):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(rows), folder / name, row_group_size=2)
    return folder / name


def test_parquet_is_entered_at_any_row(tmp_path):
    rows = [{"text": f"t{number}", "n": number} for number in range(7)]
    source = open_source(parquet(tmp_path, rows))
    found = list(source.read_records())
    assert [columns_of(line) for _, _, line in found] == rows
    assert (source.survey_input().rows, source.columns) == (7, ("text", "n"))
    for number, offset, line in found:
        assert next(source.read_records(Position(number - 1, offset))) == (number, offset, line)


def test_arrow_files_streams_and_data_sets_on_disk_are_read(tmp_path):
    import pyarrow as pa

    table = pa.table({"text": ["a", "b"]})
    folder = tmp_path / "set" / "train"
    folder.mkdir(parents=True)
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    with pa.OSFile(str(folder / "data-0.arrow"), "wb") as out, pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-0.arrow"}]}))
    (tmp_path / "set" / "dataset_dict.json").write_text('{"splits": ["train"]}')
    for path in (tmp_path / "a.arrow", folder / "data-0.arrow", folder, tmp_path / "set"):
        assert rows_of(path) == [{"text": "a"}, {"text": "b"}]


def test_a_workbook_is_read_with_whole_numbers_and_iso_dates(tmp_path):
    import datetime as dt

    import xlsxwriter

    path = tmp_path / "a.xlsx"
    with xlsxwriter.Workbook(str(path), {"default_date_format": "yyyy-mm-dd"}) as book:
        sheet = book.add_worksheet("one")
        sheet.write_row(0, 0, ["Report of today"])
        sheet.write_row(2, 0, ["id", "text", "when"])
        sheet.write_row(3, 0, [17, "a"])
        sheet.write_datetime(3, 2, dt.date(2024, 1, 2))
        sheet.write_row(5, 0, [1.5, "b"])
        book.add_worksheet("two").write_row(0, 0, ["x", "y"])
    source = open_source(path)
    found = list(source.read_records())
    assert [columns_of(line) for _, _, line in found] == [
        {"id": 17, "text": "a", "when": "2024-01-02"},
        {"id": 1.5, "text": "b", "when": None},
    ]
    assert source.survey_input().rows == 2
    assert next(source.read_records(Position(found[1][0] - 1, found[1][1]))) == found[1]
    assert open_source(path, Reading(sheet="two")).columns == ("x", "y")
    with pytest.raises(UsageError, match="there is no sheet 'three'; its sheets are one, two"):
        open_source(path, Reading(sheet="three"))


def test_a_table_is_the_same_in_another_format_and_with_another_column(tmp_path):
    made = [
        written(tmp_path, "id,text\n1,a\n2,\n", "a.csv"),
        written(tmp_path, 'new;text;id\nx;"a";1\ny;"";2\n', "b.csv"),
        parquet(tmp_path, [{"id": 1, "text": "a"}, {"id": 2, "text": None}]),
        written(tmp_path, json.dumps([{"text": "a", "id": 1.0}, {"id": 2}]), "c.json"),
    ]
    template = Template(user="{text}", id="id")
    identities = []
    for path in made:
        reader = RowReader(job(template=template), by_cells=True)
        identities.append([reader.identity_of(number, line) for number, _, line in open_source(path).read_records()])
    assert identities[0] == identities[1] == identities[2] == identities[3]
    assert [custom_id for _, custom_id in identities[0]] == ["1", "2"]


def test_rows_that_lack_a_value_are_skipped_and_the_others_keep_their_numbers(tmp_path):
    path = written(tmp_path, "id,text\n1,a\n2,\n3,c\n", "a.csv")
    ours = job(input=str(path), template=Template(user="{text}"), reading=Reading(empty="skip"))
    source = source_of(ours)
    assert [number for number, _, _ in source.read_records()] == [1, 3]
    assert (source.survey_input().rows, source.survey_input().lines) == (2, 3)

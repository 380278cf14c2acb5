"""Files that people have by accident: read at the first try, or refused with what they are and what to do."""

import bz2
import gzip
import json
import zipfile

import pytest

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import Position
from arkbatch.rows.record_json import columns_of
from arkbatch.rows.source import missing_input, open_source


def put(folder, name, data):
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def rows_of(path):
    return [columns_of(line) for _, _, line in open_source(path).read_records()]


ROWS = [{"id": "1", "text": "a"}, {"id": "2", "text": "b"}]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("caret.csv", "id^text\n1^a\n2^b\n"),
        ("unit separator.csv", "id\x1ftext\n1\x1fa\n2\x1fb\n"),
        ("two marks.csv", "\ufeff\ufeffid,text\n1,a\n2,b\n"),
        ("utf32.csv", "id,text\n1,a\n2,b\n".encode("utf-32")),
        ("mixed ends.csv", "id,text\r\n1,a\r2,b\r\n"),
        ("gzip called.csv", gzip.compress(b"id,text\n1,a\n2,b\n", mtime=0)),
        ("bzip2 called.txt", bz2.compress(b"id\ttext\n1\ta\n2\tb\n")),
        ("plain called.csv.gz", "id,text\n1,a\n2,b\n"),
        ("tabs called.xls", "id\ttext\n1\ta\n2\tb\n"),
        ("in data.json", json.dumps({"count": 2, "data": ROWS, "next": None})),
        ("in rows.json", json.dumps({"version": {"a": [1]}, "rows": ROWS}, indent=2)),
        ("comma at the end.json", '[{"id": "1", "text": "a"}, {"id": "2", "text": "b"},]'),
    ],
)
def test_it_is_read_at_the_first_try(tmp_path, name, data):
    path = put(tmp_path, name, data)
    assert rows_of(path) == ROWS
    source = open_source(path)
    assert source.survey_input().rows == 2
    found = list(source.read_records())
    assert list(source.read_records(Position(1, found[1][1]))) == found[1:]


def test_blanks_before_quotes_are_passed_over(tmp_path):
    path = put(tmp_path, "a.csv", 'id, text\n1, "hello, world"\n2, "bye"\n')
    assert rows_of(path) == [{"id": "1", "text": "hello, world"}, {"id": "2", "text": "bye"}]


def test_blanks_without_quotes_stay(tmp_path):
    assert rows_of(put(tmp_path, "a.csv", 'id,text\n1, a\n2,say "x"\n'))[0] == {"id": "1", "text": " a"}


def test_a_return_in_quotes_stays_in_its_cell(tmp_path):
    path = put(tmp_path, "a.csv", b'id,text\r\n1,"a\rb"\r\n2,c\r\n')
    assert rows_of(path) == [{"id": "1", "text": "a\rb"}, {"id": "2", "text": "c"}]


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "a"}]},
        {"id": 1, "turns": [{"value": "a"}]},
        {"data": [1, 2]},
        {"data": "a"},
        {"a": [1, 2], "b": "c"},
    ],
)
def test_an_object_with_a_list_of_its_own_is_one_row(tmp_path, row):
    assert rows_of(put(tmp_path, "a.json", json.dumps(row))) == [row]


def test_a_list_in_each_line_of_json_lines_is_a_value(tmp_path):
    lines = [{"data": [{"a": 1}]}, {"data": [{"a": 2}]}]
    assert rows_of(put(tmp_path, "a.jsonl", "\n".join(map(json.dumps, lines)))) == lines
    assert rows_of(put(tmp_path, "b.jsonl", json.dumps(lines[0]))) == lines[:1]


def test_an_object_behind_the_one_with_the_list_is_a_bad_row_and_not_lost(tmp_path):
    both = "\n".join(json.dumps({"data": ROWS}, indent=1) for _ in range(2))
    *good, bad = (line for _, _, line in open_source(put(tmp_path, "a.json", both)).read_records())
    assert [columns_of(line) for line in good] == ROWS
    assert "stands another one" in bad.reason


def test_a_few_damaged_bytes_spoil_their_lines_only(tmp_path):
    text = "id,text\n" + "".join(f"{number},你好世界你好\n" for number in range(20))
    path = put(tmp_path, "a.csv", text.encode() + b"20,a\xff\n21,ok\n")
    bad = [getattr(line, "reason", None) for _, _, line in open_source(path).read_records()]
    assert [place for place, reason in enumerate(bad) if reason] == [20]


def zipped(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.csv", "id,text\n")
    return path


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", b"%PDF-1.4\n", "a PDF document"),
        ("a.xls", "<html><table>", "a web page"),
        ("a.md", "| id | text |\n|---|:-:|\n| 1 | a |\n", "a table of Markdown"),
        ("a.json", json.dumps({"id": [1, 2], "text": ["a", "b"]}), "columns and not rows"),
        ("a.json", json.dumps({"id": {"0": 1, "1": 2}, "text": {"0": "a", "1": "b"}}), "columns and not rows"),
        ("a.db", b"SQLite format 3\0", "an SQLite database"),
        ("latin.csv", "id,text\n1,é\n".encode("latin-1"), "--encoding utf-8 the lines that are damaged fail"),
    ],
)
def test_what_is_no_table_says_what_it_is(tmp_path, name, data, said):
    with pytest.raises(UsageError, match=said):
        open_source(put(tmp_path, name, data))


def test_an_archive_names_the_command_that_unpacks_it(tmp_path):
    path = zipped(tmp_path / "a b.zip")
    with pytest.raises(UsageError, match=f"unzip '{path}'"):
        open_source(path)


def test_a_directory_names_a_pattern_for_its_files(tmp_path):
    put(tmp_path, "part-0.parquet", "")
    assert f"such as '{tmp_path}/*.parquet'" in str(missing_input("in", tmp_path))


def test_python_in_the_place_of_json_is_told(tmp_path):
    from runs import job_of

    from arkbatch.rows.source import reader_of

    path = put(tmp_path, "a.jsonl", "{'text': 'a'}\n")
    source = open_source(path)
    row = reader_of(job_of(path), source).read_row(*next(source.read_records()))
    assert "not JSON but Python" in row.reason


def test_the_first_sheet_with_cells_is_read(tmp_path):
    pytest.importorskip("python_calamine")
    xlsxwriter = pytest.importorskip("xlsxwriter")
    book = xlsxwriter.Workbook(str(tmp_path / "a.xlsx"))
    book.add_worksheet("Empty")
    sheet = book.add_worksheet("Data")
    sheet.write_row(0, 0, ["id", "text"])
    sheet.write_row(1, 0, ["1", "a"])
    book.close()
    assert rows_of(tmp_path / "a.xlsx") == ROWS[:1]

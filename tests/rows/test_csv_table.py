"""Tables as text are read as a spreadsheet wrote them: any encoding and delimiter, quotes, and newlines in cells."""

import csv
import gzip
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import Position
from arkbatch.core.template_syntax import Reading
from arkbatch.rows import csv_table
from arkbatch.rows.csv_shape import delimiter_of
from arkbatch.rows.csv_table import CsvTable
from arkbatch.rows.input_file import Unreadable
from arkbatch.rows.record_json import columns_of

CITIES = [
    ["id", "question", "城市"],
    ["1", "What is 2+2?", "北京"],
    ["2", "two\nlines, here", "上海"],
    ["3", 'a "b"', "广州"],
]


def written(folder, content, name="in.csv"):
    (folder / name).write_bytes(content)
    return folder / name


def text_of(rows, delimiter=",", newline="\r\n"):
    out = io.StringIO()
    # With CR as its line end the writer leaves a newline in a cell without quotes, as no spreadsheet does.
    quoting = csv.QUOTE_ALL if newline == "\r" else csv.QUOTE_MINIMAL
    csv.writer(out, delimiter=delimiter, lineterminator=newline, quoting=quoting).writerows(rows)
    return out.getvalue()


def table(path, **reading):
    return CsvTable(path, Reading(**reading))


def cells(found):
    return [list(columns_of(line).values()) for _, _, line in found.read_records()]


def reasons(found):
    return {number: line.reason for number, _, line in found.read_records() if isinstance(line, Unreadable)}


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-le", "utf-16-be"])
def test_every_record_is_read_and_can_be_entered_at_its_place(tmp_path, encoding, delimiter, newline):
    found = table(written(tmp_path, text_of(CITIES, delimiter, newline).encode(encoding)))
    assert list(found.columns) == CITIES[0]
    assert cells(found) == CITIES[1:]
    assert found.survey_input().rows == 3
    for number, offset, line in found.read_records():
        assert next(found.read_records(Position(number - 1, offset))) == (number, offset, line)


@given(
    st.lists(
        st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\0")), min_size=2, max_size=2), min_size=1
    ),
    st.sampled_from(",;\t"),
)
@settings(max_examples=40, deadline=None)
def test_what_the_standard_writer_writes_reads_back_the_same(tmp_path_factory, rows, delimiter):
    path = written(tmp_path_factory.mktemp("t"), text_of([["a", "b"], *rows], delimiter).encode())
    assert cells(table(path, delimiter=delimiter)) == rows


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        (",text,\n0,a,x\n", ["column1", "text", "column3"]),
        ("\ufeff id , text\n1,a\n", ["id", "text"]),
        ("sep=;\nid;text\n1;a\n", ["id", "text"]),
        ("question\nWhat, is this?\n", ["question"]),
    ],
    ids=["empty names", "blanks", "a line for Excel", "one column"],
)
def test_a_header_names_the_columns(tmp_path, text, columns):
    assert list(table(written(tmp_path, text.encode())).columns) == columns


def test_without_a_header_columns_have_numbers(tmp_path):
    found = table(written(tmp_path, b"a,b\nc,d\n"), header=False)
    assert (found.columns, cells(found)) == (("1", "2"), [["a", "b"], ["c", "d"]])


def test_two_columns_of_one_name_are_refused_with_their_places(tmp_path):
    with pytest.raises(UsageError, match="columns 2 and 3 are both called 'text'"):
        table(written(tmp_path, b"id,text,text\n1,a,b\n"))


def test_no_word_means_missing_and_no_type_is_guessed(tmp_path):
    row = ["001", "NA", "null", "", "1.10", "12345678901234567890"]
    assert cells(table(written(tmp_path, text_of([list("abcdef"), row]).encode()))) == [row]


def test_a_short_record_lacks_its_last_cells_and_a_long_one_is_bad(tmp_path):
    found = table(written(tmp_path, b"id,text,c\n1,a\n2,b,c,d\n3,c,y,\n\n4,e,z\n"))
    assert reasons(found) == {2: "line 3 of in.csv: the record has 4 cells, and the header names 3"}
    assert cells(table(written(tmp_path, b"id,text,c\n1,a\n\n  \n3,c,y,\n"))) == [["1", "a"], ["3", "c", "y"]]


def test_a_quote_that_is_never_closed_is_one_bad_row_with_its_line(tmp_path):
    found = table(written(tmp_path, b'id,text\n1,a\n2,"never\n3,b\n'))
    assert list(reasons(found)) == [2]
    assert reasons(found)[2].startswith("line 3 of in.csv: a quote that opens here is never closed")
    assert found.survey_input().rows == 2


def test_after_a_record_that_is_too_long_reading_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_table, "_MOST_LINES", 5)
    found = table(written(tmp_path, b'id,text\n1,"never\n' + b"x,y\n" * 20))
    assert list(reasons(found)) == [1]
    assert found.survey_input().rows > 10


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("quote", ["", '"'])
def test_a_line_longer_than_a_request_is_one_bad_row_and_is_not_kept_whole(tmp_path, monkeypatch, encoding, quote):
    monkeypatch.setattr(csv_table, "LONGEST_LINE", 1000)
    text = f"id,text\n1,a\n2,{quote}{'北x' * 5_000}{quote}\n3,b\n"
    found = table(written(tmp_path, text.encode(encoding)))
    assert max(len(record) for _, _, record in found.read_records()) < 5_000
    assert list(reasons(found)) == [2]
    assert "the line is longer than" in reasons(found)[2]
    assert cells(found)[-1] == ["3", "b"]
    assert found.survey_input().rows == 3
    offsets = {number: offset for number, offset, _ in found.read_records()}
    assert [number for number, *_ in found.read_records(Position(2, offsets[3]))] == [3]


def test_bytes_that_are_no_text_make_one_bad_row(tmp_path):
    text = b"id,text\n" + "1,北京\n".encode() * 400_000 + b"2,caf\xe9\n3,c\n"
    assert list(reasons(table(written(tmp_path, text))).values()) == ["line 400002 of in.csv: not valid UTF-8"]


@pytest.mark.parametrize("name", ["big5", "shift_jis", "cp1251", "latin-1"])
def test_an_encoding_that_is_not_clear_is_asked_for(tmp_path, name):
    text = {"big5": "問題,城市", "shift_jis": "質問,都市", "cp1251": "вопрос,город", "latin-1": "café,déjà"}[name]
    path = written(tmp_path, f"{text}\n{text}\n".encode(name))
    with pytest.raises(UsageError, match="say --encoding NAME"):
        table(path)
    assert cells(table(path, encoding=name)) == [text.split(",")]


def test_compressed_tables_are_read(tmp_path):
    packed = gzip.compress(text_of(CITIES).encode())
    found = table(written(tmp_path, packed, "in.csv.gz"))
    assert cells(found) == CITIES[1:]
    number, offset, line = list(found.read_records())[2]
    assert next(found.read_records(Position(number - 1, offset))) == (number, offset, line)


def test_the_delimiter_is_the_one_that_makes_equal_records():
    assert delimiter_of('id;text\n1;"a, b, c"\n2;d\n') == ";"
    assert delimiter_of("question\nWhat, is this?\nWhy; is that?\n") == ","


def test_a_row_is_named_with_its_line(tmp_path):
    found = table(written(tmp_path, text_of(CITIES).encode()))
    number, offset, _ = list(found.read_records())[2]
    assert found.describe_place(number, offset) == f"row 3 (line 5) of {tmp_path / 'in.csv'}"
    assert Path(found.path).name == "in.csv"


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,2\n\n  \n3,4\n",
        'a,b\n1,5" disk\n2,"x\n\ny"\n3,4',
        'a,b\n"1\n2\n3",4\n\n5,6\n"7',
        "a,b\r\n1,2\r\n\r\n,\r\n3,4\r\n",
        "a\n1\n\0\n2\n",
        "a\tb\n\t\n1\t2\n",
    ],
)
def test_as_many_rows_are_counted_as_are_read(tmp_path, text):
    found = table(written(tmp_path, text.encode()))
    assert found.survey_input().rows == len(list(found.read_records()))

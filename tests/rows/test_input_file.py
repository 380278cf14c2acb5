import gzip
import io
import os
import tracemalloc
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import Position
from arkbatch.rows import input_file as source
from arkbatch.rows.input_file import Change, compare_file, read_lines, survey_file


def written(folder, data, name="in.jsonl"):
    path = folder / name
    path.write_bytes(gzip.compress(data, mtime=0) if name.endswith(".gz") else data)
    return path


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"a\nb\n", [(1, 0, b"a\n"), (2, 2, b"b\n")]),
        (b"a\nb", [(1, 0, b"a\n"), (2, 2, b"b")]),
        (b"a\r\nb\r\n", [(1, 0, b"a\r\n"), (2, 3, b"b\r\n")]),
        (b"\xef\xbb\xbfa\nb\n", [(1, 0, b"a\n"), (2, 5, b"b\n")]),
        (b"\n \na\n\t\r\n", [(3, 3, b"a\n")]),
        (b"\xef\xbb\xbf\na\n", [(2, 4, b"a\n")]),
        (b"\xef\xbb\xbf", []),
    ],
    ids=["empty", "plain", "no last newline", "CRLF", "BOM", "blank lines", "BOM on a blank line", "only a BOM"],
)
def test_lines_have_numbers_and_offsets(tmp_path, name, data, found):
    path = written(tmp_path, data, name)
    assert list(read_lines(path)) == found
    assert survey_file(path).rows == len(found)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([b"", b" ", b"a", b"bb", b"\xe4\xb8\xad", b"c\r"])), st.booleans(), st.booleans())
def test_every_line_can_be_entered_at_its_place(tmp_path_factory, parts, ends_open, packed):
    data = b"\n".join(parts) + (b"" if ends_open else b"\n")
    path = written(tmp_path_factory.mktemp("f"), data, "in.jsonl.gz" if packed else "in.jsonl")
    whole = list(read_lines(path))
    for place, (number, offset, _) in enumerate(whole):
        assert list(read_lines(path, Position(number - 1, offset))) == whole[place:]
    assert survey_file(path).rows == len(whole)


def test_a_line_over_the_limit_comes_cut_and_the_next_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(source, "LONGEST_LINE", 100)
    path = written(tmp_path, b"x" * 350 + b"\nnext\n")
    assert list(read_lines(path)) == [(1, 0, b"x" * 100), (2, 351, b"next\n")]


@pytest.mark.parametrize("size", [99, 100, 101])
def test_a_line_about_as_long_as_the_limit_hides_no_other(tmp_path, monkeypatch, size):
    monkeypatch.setattr(source, "LONGEST_LINE", 100)
    path = written(tmp_path, b"x" * size + b"\nnext\n", "in.jsonl.gz")
    found = list(read_lines(path))
    assert [number for number, _, _ in found] == [1, 2]
    assert list(read_lines(path, Position(1, size + 1))) == found[1:]


@pytest.mark.parametrize(
    "damage", [b"\x01this is no gzip", gzip.compress(b"a\n" * 999, mtime=0)[:-20], b"\x1f\x8b" + b"\0" * 40]
)
def test_a_damaged_gzip_file_says_so(tmp_path, damage):
    path = tmp_path / "in.jsonl.gz"
    path.write_bytes(damage)
    for read in (lambda: list(read_lines(path)), lambda: survey_file(path)):
        with pytest.raises(UsageError, match=r"in.jsonl.gz is a damaged gzip file .* Compress it again"):
            read()


def test_a_missing_file_and_a_directory_are_usage_errors(tmp_path):
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(UsageError, match="Cannot read the input"):
            survey_file(path)


BEFORE = b'{"a": 1}\n{"b": 2}'


@pytest.mark.parametrize(
    ("now", "change"),
    [
        (BEFORE, Change.SAME),
        (BEFORE + b"\n", Change.GREW),
        (BEFORE + b'\n{"c": 3}\n', Change.GREW),
        (BEFORE + b'\r\n{"c": 3}\n', Change.GREW),
        (BEFORE + b" more", Change.EDITED),
        (BEFORE[:-1], Change.EDITED),
        (BEFORE[:9], Change.EDITED),
        (b"", Change.EDITED),
        (BEFORE.replace(b"1", b"9"), Change.EDITED),
        (b'{"b": 2}\n{"a": 1}', Change.EDITED),
    ],
)
def test_growth_is_told_from_every_other_change(tmp_path, now, change):
    path = written(tmp_path, BEFORE)
    known = survey_file(path)
    path.write_bytes(now)
    os.utime(path, (1, 1))
    assert compare_file(path, known) is change


def test_a_gzip_file_with_another_member_behind_it_grew(tmp_path):
    path = written(tmp_path, b"a\n", "in.jsonl.gz")
    known = survey_file(path)
    path.write_bytes(path.read_bytes() + gzip.compress(b"b\n", mtime=0))
    assert compare_file(path, known) is Change.GREW
    assert survey_file(path).rows == 2


def test_a_file_of_the_same_size_and_time_is_not_read_again(tmp_path, monkeypatch):
    path = written(tmp_path, BEFORE)
    known = survey_file(path)
    monkeypatch.setattr(source, "_sha256_of", None)
    assert compare_file(path, known) is Change.SAME


@given(st.lists(st.sampled_from([b"\n", b" ", b"a", b"\r", b"\n\n"]), max_size=12), st.integers(1, 7))
def test_lines_and_rows_are_counted_the_same_however_the_file_is_cut_into_blocks(parts, size):
    text = b"".join(parts)
    lines = text.splitlines(keepends=True) if b"\r" not in text else io.BytesIO(text).readlines()
    with mock.patch.object(source, "_BUFFER", size):
        counted = source._count_lines(io.BytesIO(text))
    assert counted.lines == len(lines)
    assert counted.rows == sum(not line.isspace() for line in lines)
    assert counted.ends_open == (bool(text) and not text.endswith(b"\n"))


def test_a_line_of_a_quarter_of_a_gigabyte_is_counted_in_little_memory(tmp_path):
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(256 << 20)
    tracemalloc.start()
    found = survey_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.lines, found.rows, found.ends_open) == (1, 1, True)
    assert peak < 16 << 20

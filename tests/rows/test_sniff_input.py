"""What an input is, and whether its rows name their model, is seen in its first line."""

import gzip
import json
import subprocess

import pytest

from arkbatch.config.resolve import resolve
from arkbatch.core.errors import UsageError
from arkbatch.rows.sniff_input import first_line, names_model, no_jsonl

KEY = {"ARK_API_KEY": "sk-ark"}
BATCH = b'{"custom_id":"a","method":"POST","url":"/v1/chat/completions","body":{"model":"m","messages":[]}}\n'
ROWS = [{"prompt": "你好 'x'"}, {"prompt": "b"}]


def written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    return tmp_path / name


def said(path):
    return no_jsonl(path, first_line(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b'\xef\xbb\xbf\r\n {"prompt":"a"}\r\n'),
        ("a.csv", b'{"prompt":"a"}\n'),
        ("a.jsonl", b'[1]\n{"prompt":"a"}\n'),
        ("a.jsonl", b"oops\n"),
        ("a.csv", b""),
        ("a.jsonl.gz", gzip.compress(b'{"prompt":"a"}')),
    ],
    ids=["lines", "a name does not count", "a bad line", "another", "empty", "gzip"],
)
def test_an_input_that_may_be_lines_is_let_pass(tmp_path, name, content):
    assert said(written(tmp_path, name, content)) == ""


@pytest.mark.parametrize("indent", [None, 1])
def test_a_json_list_is_refused_with_a_command_that_makes_it_lines(tmp_path, indent):
    path = written(tmp_path, "a b.json", json.dumps(ROWS, indent=indent).encode())
    assert made_by(said(path), tmp_path, "a b.jsonl") == ROWS


@pytest.mark.parametrize(("name", "comma"), [("a.csv", ","), ("a.tsv", "\t")])
def test_a_table_is_refused_with_a_command_that_makes_it_lines(tmp_path, name, comma):
    path = written(tmp_path, name, f'\ufeffprompt{comma}n\r\n"你好, ""x""\nb"{comma}1\r\n'.encode())
    assert made_by(said(path), tmp_path, "a.jsonl") == [{"prompt": '你好, "x"\nb', "n": "1"}]


def test_a_table_that_a_chinese_sheet_wrote_is_read_as_such(tmp_path):
    path = written(tmp_path, "a.csv", "prompt\r\n写一首诗\r\n".encode("gbk"))
    assert made_by(said(path), tmp_path, "a.jsonl") == [{"prompt": "写一首诗"}]


def made_by(reason, folder, name):
    subprocess.run(["bash", "-c", reason[reason.index("python3 -c") :]], cwd=folder, check=True)
    return [json.loads(line) for line in (folder / name).read_text(encoding="utf-8").splitlines()]


def test_one_object_over_several_lines_and_a_workbook_are_refused(tmp_path):
    assert "on one line" in said(written(tmp_path, "a.json", b'{\n "prompt": "a"\n}\n'))
    assert "is no text" in said(written(tmp_path, "a.xlsx", b"PK\x03\x04"))


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (BATCH, True),
        (b'{"model":"m","prompt":"a"}', True),
        (b'{"custom_id":"a","model":"","request":{"body":{"model":"m"}}}', True),
        (b'{"custom_id":"a","model":"m","request":{"body":{}}}', False),
        (b'{"prompt":"a"}', False),
        (b'{"body":{"model":""}}', False),
        (b'["model"]', False),
        (b"{oops", False),
        (b"", False),
    ],
)
def test_a_row_names_its_model_itself_or_in_its_body(line, named):
    assert names_model(line) is named


def test_a_batch_file_needs_no_model_beside_it(tmp_path):
    written(tmp_path, "batch.jsonl", BATCH)
    assert resolve("batch.jsonl", {}, KEY, tmp_path).model == ""
    assert resolve("batch.jsonl", {"model": "other"}, KEY, tmp_path).model == "other"


def test_rows_that_name_none_need_one(tmp_path):
    written(tmp_path, "rows.jsonl", b'{"prompt":"a"}\n')
    with pytest.raises(UsageError, match="no model: give --model"):
        resolve("rows.jsonl", {}, KEY, tmp_path)


def test_the_variable_that_is_named_for_the_model_is_the_one_that_counts_there(tmp_path):
    written(tmp_path, "rows.jsonl", b'{"prompt":"a"}\n')
    elsewhere = {"OPENAI_API_KEY": "sk-other", "OPENAI_BASE_URL": "https://api.example.com/v1"}
    with pytest.raises(UsageError, match="or set MODEL_NAME in the environment"):
        resolve("rows.jsonl", {}, elsewhere, tmp_path)
    assert resolve("rows.jsonl", {}, {**elsewhere, "MODEL_NAME": "m"}, tmp_path).model == "m"


def test_a_missing_input_is_told_before_a_missing_key(tmp_path):
    with pytest.raises(UsageError, match=r"rows\.jsonl does not exist"):
        resolve("rows.jsonl", {}, {}, tmp_path)

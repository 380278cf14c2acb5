"""`arkbatch answers` gives the rows of the input back, each with what the model said or why it said nothing."""

import csv
import datetime as dt

import orjson
import pytest
from click.testing import CliRunner
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli.answers import command
from arkbatch.core.errors import UsageError
from arkbatch.reports.answers.answer_table import TableOptions
from arkbatch.reports.answers.answers import iter_answers, write_answers

SAID = '答案 🌏, "quoted"\nsecond line'


def choice(content=SAID, reason="stop", **message):
    return {"index": 0, "finish_reason": reason, "message": {"role": "assistant", "content": content, **message}}


def run_of(tmp_path, *choices, rows=1, outcome_of=None):
    body = {"id": "02", "model": "doubao", "choices": list(choices)}
    job = job_of(prompts(tmp_path, *numbered(rows)))
    return worked_off(job, outcome_of or (lambda row: answered(row, body)))


def run_of_table(tmp_path, text, outcome_of=None, name="in.csv", **flags):
    path = tmp_path / name
    if isinstance(text, str):
        path.write_text(text, encoding="utf-8")
    job = job_of(path, prompt="{text}", **flags)
    body = {"id": "02", "model": "doubao", "choices": [choice("fine")]}
    return worked_off(job, outcome_of or (lambda row: answered(row, body)))


def told(*arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def cells_of(sheet):
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def mixed(row):
    """The first row is answered, the second fails, and the third is not done."""
    body = {"id": "02", "model": "doubao", "choices": [choice("fine")]}
    return {1: answered(row, body), 2: failed(row)}.get(row.number)


def test_each_row_is_a_json_line_with_its_columns_in_the_order_of_the_input(tmp_path):
    lines = [orjson.loads(line) for line in told(run_of(tmp_path, choice(), rows=2)).stdout.splitlines()]
    assert lines == [{**row, "answer": SAID, "error": None, "finish_reason": "stop"} for row in numbered(2)]


def test_a_sheet_is_told_the_encoding_and_finds_each_answer_in_one_cell(tmp_path):
    run, sheet = run_of(tmp_path, choice()), tmp_path / "answers.csv"
    assert told(run, "-o", sheet).stdout == f"1 row (1 with an answer):  {sheet}\n"
    assert sheet.read_bytes().startswith(b"\xef\xbb\xbfcustom_id,prompt,answer,error,finish_reason\r\n")
    assert [line["answer"] for line in cells_of(sheet)] == [SAID]


def test_rows_that_failed_or_are_not_done_are_there_with_the_reason(tmp_path):
    run, sheet = run_of(tmp_path, rows=3, outcome_of=mixed), tmp_path / "a.csv"
    done = told(run, "-o", sheet)
    assert done.stdout.startswith("3 rows (1 with an answer, 1 failed, 1 not done)")
    assert done.stderr.startswith("Without an answer: 1 failed row, 1 row not done yet. Resume with:")
    assert [line["error"] for line in cells_of(sheet)] == ["", "timeout: it failed", "not done"]


@pytest.mark.parametrize(("only", "ids"), [("done", ["task-1"]), ("failed", ["task-2"])])
def test_only_rows_of_one_kind_may_be_asked_for(tmp_path, only, ids):
    lines = told(run_of(tmp_path, rows=3, outcome_of=mixed), "--only", only).stdout.splitlines()
    assert [orjson.loads(line)["custom_id"] for line in lines] == ids


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (choice(None, refusal="I would rather not"), "I would rather not"),
        (choice([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]), "ab"),
        (choice([{"type": "thinking", "thinking": [{"text": "hm"}]}, {"type": "text", "text": "b"}]), "b"),
        (choice("", "tool_calls", tool_calls=[{"id": "1"}]), '[{"id":"1"}]'),
        (choice(None), ""),
    ],
    ids=["refusal", "parts", "thoughts", "tools", "nothing"],
)
def test_what_counts_as_the_answer(tmp_path, said, expected):
    assert [row["answer"] for row in iter_answers(run_of(tmp_path, said))] == [expected]


def test_more_columns_are_asked_for_by_name(tmp_path):
    run = run_of(tmp_path, choice("a", reasoning_content="because"), choice("b"))
    options = TableOptions(("reasoning", "answers", "tokens", "model", "seconds", "attempts", "row", "cost"))
    (row,) = iter_answers(run, options)
    assert (row["reasoning"], row["answers"], row["model"], row["row"]) == ("because", ["a", "b"], "doubao-x", 1)
    assert (row["input_tokens"], row["attempts"], row["cost"]) == (10, 1, None)
    with pytest.raises(UsageError, match="--with mood is not one of row, custom_id"):
        list(iter_answers(run, TableOptions(("mood",))))


def test_columns_are_chosen_and_ordered(tmp_path):
    sheet = tmp_path / "a.tsv"
    told(run_of(tmp_path, choice("a")), "-o", sheet, "--columns", "answer,custom_id")
    assert sheet.read_text("utf-8-sig") == "answer\tcustom_id\na\ttask-1\n"
    with pytest.raises(UsageError, match="--columns mood is not one of custom_id, prompt, answer"):
        list(iter_answers(tmp_path / "a.run", TableOptions(columns=("mood",))))


def test_a_column_of_the_input_keeps_its_name(tmp_path):
    run = run_of_table(tmp_path, "text,answer,error_2\na,b,c\n")
    (row,) = iter_answers(run)
    assert row == {
        "text": "a",
        "answer": "b",
        "error_2": "c",
        "answer_2": "fine",
        "error": None,
        "finish_reason": "stop",
    }


def test_a_table_comes_back_with_all_rows_and_cells(tmp_path):
    run = run_of_table(tmp_path, 'id,text\n001,"a\n""b"""\n002,\n003,=1\n', empty="skip")
    write_answers(run, tmp_path / "out.csv")
    rows = [(row["id"], row["text"], row["answer"], row["error"]) for row in cells_of(tmp_path / "out.csv")]
    assert rows == [
        ("001", 'a\n"b"', "fine", ""),
        ("002", "", "", "skipped: a value is missing"),
        ("003", "=1", "fine", ""),
    ]


def test_answers_that_a_sheet_would_run_are_told_and_defused_on_demand(tmp_path):
    run, sheet = run_of(tmp_path, choice("=1+1")), tmp_path / "a.csv"
    assert "1 answers begin with = or @" in told(run, "-o", sheet).stderr
    assert cells_of(sheet)[0]["answer"] == "=1+1"
    assert "begin with" not in told(run, "-o", sheet, "--defuse").stderr
    assert cells_of(sheet)[0]["answer"] == "'=1+1"


@pytest.mark.parametrize(("cell", "written"), [("-5", "-5"), ("- a", "'- a"), ("+1.5e3", "+1.5e3"), ("a=b", "a=b")])
def test_numbers_are_no_formulas(tmp_path, cell, written):
    run = run_of(tmp_path, choice(cell))
    write_answers(run, tmp_path / "a.csv", defuse=True)
    assert cells_of(tmp_path / "a.csv")[0]["answer"] == written


PROPERTIES = {"label": {"enum": ["good", "bad"]}, "score": {"type": ["integer", "null"]}, "tags": {"type": "array"}}
FENCED = '```json\n{"label": "good", "score": 3, "tags": ["x"]}\n```'


def run_of_answers(tmp_path, *answers):
    """A run whose rows got these texts."""
    body = {"id": "02", "model": "doubao"}

    def outcome_of(row):
        return answered(row, {**body, "choices": [choice(answers[row.number - 1])]})

    return run_of(tmp_path, rows=len(answers), outcome_of=outcome_of)


def test_fields_of_json_answers_become_columns_with_the_types_of_the_schema(tmp_path):
    import pyarrow.parquet as pq

    run = run_of_answers(tmp_path, FENCED, '{"label": "bad", "score": 4.0}', '{"label": "bad"}')
    assert write_answers(run, tmp_path / "a.parquet", TableOptions(schema={"properties": PROPERTIES})).notes == ()
    table = pq.read_table(tmp_path / "a.parquet")
    assert [str(table.schema.field(name).type) for name in PROPERTIES] == ["string", "int64", "string"]
    assert table.column("score").to_pylist() == [3, 4, None]
    assert table.column("tags").to_pylist() == ['["x"]', None, None]
    rows = list(iter_answers(run, TableOptions(json_columns=True)))
    assert [(row["label"], row["score"]) for row in rows] == [("good", 3), ("bad", 4.0), ("bad", None)]


@pytest.mark.parametrize(
    ("ending", "written", "done"),
    [
        (".parquet", ["3", "n/a", "9223372036854775808", None], "the column was written as text"),
        (".csv", ["3", "n/a", "9223372036854775808", ""], "written as it is"),
        (".jsonl", [3, "n/a", 1 << 63, None], "written as it is"),
    ],
)
def test_a_value_that_is_not_of_the_type_of_its_column_is_kept_and_told(tmp_path, ending, written, done):
    import pyarrow.parquet as pq

    run = run_of_answers(tmp_path, FENCED, '{"score": "n/a"}', '{"score": 9223372036854775808}', "Sorry, no.")
    file = tmp_path / f"a{ending}"
    notes = write_answers(run, file, TableOptions(schema={"properties": PROPERTIES})).notes
    assert notes == (
        f"2 answers have no whole number in score (rows 2, 3): {done}",
        "1 answer without a JSON object (row 4): the columns of its fields are empty there",
    )
    readers = {
        ".parquet": lambda: pq.read_table(file).to_pylist(),
        ".csv": lambda: cells_of(file),
        ".jsonl": lambda: [orjson.loads(line) for line in file.read_bytes().splitlines()],
    }
    assert [row["score"] for row in readers[ending]()] == written


def test_whole_numbers_that_no_fraction_holds_keep_their_digits_beside_fractions(tmp_path):
    import pyarrow.parquet as pq

    large = (1 << 53) + 1
    run = run_of_answers(tmp_path, '{"n": 0.5}', f'{{"n": {large}}}', '{"n": 7}')
    write_answers(run, tmp_path / "a.parquet", TableOptions(json_columns=True))
    assert pq.read_table(tmp_path / "a.parquet").column("n").to_pylist() == ["0.5", str(large), "7"]


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_numbers_of_the_input_and_of_json_answers_keep_their_digits(tmp_path, ending):
    numbers = ["123456789012345678901234567890", "0.10", "1E5"]
    columns = [f'"{name}":{number}' for name, number in zip("abc", numbers, strict=True)]
    text = f'{{"text":"x",{",".join(columns)}}}\n'
    said = {"choices": [choice(f'{{"d": {numbers[0]}, "e": {numbers[1]}}}')]}
    run = run_of_table(tmp_path, text, lambda row: answered(row, said), name="in.jsonl")
    told(run, "-o", tmp_path / f"o.{ending}", "--json-columns")
    written = (tmp_path / f"o.{ending}").read_text(encoding="utf-8-sig")
    assert [written.count(number) for number in numbers] == [3, 3, 1]  # of the input, in the answer, of its fields


def test_numbers_beyond_64_bits_are_printed_with_all_their_digits(tmp_path):
    number = "123456789012345678901234567890"
    run = run_of(tmp_path, choice(f'{{"d": {number}, "e": 0.10}}'))
    printed = told(run, "--json-columns").stdout
    assert f'"d":{number},"e":0.10' in printed


def test_parquet_keeps_the_types_of_a_parquet_input(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {"text": ["a", "b", "c"], "when": [dt.date(2024, 1, 2)] * 3, "n": pa.array([1, None, 3], pa.int32())}
    )
    pq.write_table(table, tmp_path / "in.parquet")
    run = run_of_table(tmp_path, None, mixed, "in.parquet")
    write_answers(run, tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    assert found.select(["text", "when", "n"]).equals(table)
    assert found.column("answer").to_pylist() == ["fine", None, None]
    write_answers(run, tmp_path / "out.parquet", TableOptions(only="failed"))
    assert pq.read_table(tmp_path / "out.parquet").column("text").to_pylist() == ["b"]


def test_a_workbook_holds_text_as_text(tmp_path):
    from python_calamine import CalamineWorkbook

    run = run_of(tmp_path, choice("=1+1 https://x.example"))
    written = write_answers(run, tmp_path / "a.xlsx", TableOptions(("tokens",)))
    rows = CalamineWorkbook.from_path(str(tmp_path / "a.xlsx")).get_sheet_by_index(0).to_python()
    assert rows[1] == ["task-1", "question 1", "=1+1 https://x.example", "", "stop", 10.0, 5.0]
    assert written.notes == ()


def test_vectors_are_a_list_column(tmp_path):
    import pyarrow.parquet as pq

    body = {"model": "m", "data": [{"index": 0, "embedding": [0.5, 1.5]}], "usage": {"prompt_tokens": 1}}
    run = worked_off(job_of(prompts(tmp_path, {"input": "a"})), lambda row: answered(row, body))
    write_answers(run, tmp_path / "a.parquet", TableOptions(vectors=True))
    assert pq.read_table(tmp_path / "a.parquet").column("vector").to_pylist() == [[0.5, 1.5]]


def test_an_input_that_changed_is_not_joined(tmp_path):
    run = run_of_table(tmp_path, "text,n\na,1\nb,2\n")
    (tmp_path / "in.csv").write_text('text;n;new\n"a";9;x\nb;2;y\n', encoding="utf-8")
    assert [row["new"] for row in iter_answers(run)] == ["x", "y"]  # only columns that were not sent
    (tmp_path / "in.csv").write_text("text,n\nb,2\na,1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="row 1 is no longer what was sent"):
        list(iter_answers(run))
    (tmp_path / "in.csv").unlink()
    with pytest.raises(UsageError, match="--input FILE"):
        list(iter_answers(run))


def test_a_name_without_a_known_ending_is_refused_and_leaves_no_file(tmp_path):
    with pytest.raises(UsageError, match=r"ends in none of \.jsonl, \.csv"):
        write_answers(run_of(tmp_path, choice()), tmp_path / "a.docx")
    with pytest.raises(UsageError, match="--columns"):
        write_answers(tmp_path / "a.run", tmp_path / "a.csv", TableOptions(columns=("x",)))
    assert not list(tmp_path.glob("a.docx*")) + list(tmp_path.glob("a.csv*"))

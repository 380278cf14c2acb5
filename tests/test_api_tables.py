"""Tables in Python: the same kind of table comes back, with an answer or an error beside each row."""

import dataclasses

import pytest

import arkbatch
from arkbatch.core.errors import UsageError

pandas = pytest.importorskip("pandas")
polars = pytest.importorskip("polars")
pyarrow = pytest.importorskip("pyarrow")

ROWS = [{"id": 1, "text": "good"}, {"id": 2, "text": None}, {"id": 3, "text": "bad"}]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("ARK_API_KEY", "ARK_BASE_URL", "ARK_MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "MODEL_NAME"):
        monkeypatch.delenv(name, raising=False)


def labelled(data, prompt="Label: {text}", **options):
    return arkbatch.run_table(data, prompt, **({"model": "m", "simulate": True, "progress": False} | options))


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (pandas.DataFrame(ROWS, index=[7, 8, 9]), lambda frame: list(frame.columns)),
        (polars.DataFrame(ROWS), lambda frame: frame.columns),
        (pyarrow.Table.from_pylist(ROWS), lambda frame: frame.column_names),
        (ROWS, lambda frame: list(frame[0])),
    ],
    ids=["pandas", "polars", "arrow", "rows"],
)
def test_the_same_kind_of_table_comes_back_with_the_answers(data, columns):
    result = labelled(data)
    assert type(result.frame) is type(data)
    assert columns(result.frame) == ["id", "text", "answer", "error", "finish_reason"]
    assert len(result.frame) == 3
    assert len(result.failed) == 1
    assert (result.summary.succeeded, result.summary.failed) == (2, 1)


def test_a_data_frame_keeps_its_index_and_is_not_changed():
    data = pandas.DataFrame(ROWS, index=[7, 8, 9])
    frame = labelled(data).frame
    assert list(frame.index) == [7, 8, 9]
    assert list(data.columns) == ["id", "text"]
    assert "good" in frame.loc[7, "answer"]
    assert pandas.isna(frame.loc[8, "answer"])
    assert "text" in frame.loc[8, "error"]


def test_the_same_call_again_sends_nothing_and_a_changed_prompt_is_another_run():
    first = labelled(ROWS)
    assert first.run_dir.parent.name == "arkbatch-runs"
    again = labelled(ROWS)
    assert (again.run_dir, again.summary.ending) == (first.run_dir, "nothing left")
    assert labelled(ROWS, "Judge: {text}").run_dir != first.run_dir


def test_rows_that_were_added_are_sent_and_the_others_are_kept():
    result = labelled(ROWS, run_dir="a.run")
    grown = labelled([*ROWS, {"id": 4, "text": "new"}], run_dir="a.run")
    assert (grown.summary.succeeded, grown.summary.session["recorded"]) == (3, 1)
    assert grown.frame[0] == result.frame[0]


def test_a_changed_row_is_refused_and_rebase_sends_it():
    labelled(ROWS, run_dir="a.run")
    changed = [ROWS[0], {"id": 2, "text": "now there"}, ROWS[2]]
    with pytest.raises(arkbatch.errors.RunChanged):
        labelled(changed, run_dir="a.run")
    result = labelled(changed, run_dir="a.run", rebase=True)
    assert (result.summary.succeeded, result.summary.failed) == (3, 0)


def test_texts_and_iterators_are_tables_too():
    assert [row["text"] for row in labelled(["good", "bad"]).frame] == ["good", "bad"]
    frame = labelled(({"text": text} for text in ("good", "bad")), run_dir="iterator.run").frame
    assert ["good" in row["answer"] or "bad" in row["answer"] for row in frame] == [True, True]


def test_a_path_is_read_as_the_command_does(tmp_path):
    (tmp_path / "reviews.csv").write_text("id,text\n1,good\n2,bad\n", encoding="utf-8")
    result = labelled("reviews.csv", id_column="id")
    assert [row["id"] for row in result.frame] == ["1", "2"]
    assert len(result.to("pandas")) == 2
    result.write("out.csv")
    assert (tmp_path / "out.csv").read_text(encoding="utf-8-sig").startswith("id,text,answer,error,finish_reason\n")


def test_a_function_makes_the_prompt():
    result = labelled(ROWS[:1], lambda row: [{"role": "user", "content": f"say {row['text']} twice"}])
    assert "say good twice" in result.frame[0]["answer"]


def test_a_schema_makes_columns_of_the_fields_and_asks_for_them():
    @dataclasses.dataclass
    class Label:
        label: str
        score: int

    result = labelled(ROWS[:1], schema=Label)
    row = result.frame[0]
    assert isinstance(row["label"], str)
    assert isinstance(row["score"], int)


def test_vectors_come_as_a_column():
    frame = arkbatch.embed_table(pandas.DataFrame(ROWS[:1]), "{text}", model="m", simulate=True, progress=False).frame
    assert len(frame.loc[0, "vector"]) > 10


def test_missing_values_of_every_library_are_missing():
    data = pandas.DataFrame(
        {
            "text": ["a", "b", "c"],
            "number": [1.0, float("nan"), 3.0],
            "time": pandas.to_datetime(["2026-01-01", None, None]),
        }
    )
    result = labelled(data, "{text} {number}")
    assert result.summary.failed == 1
    assert list(result.frame["error"].isna()) == [True, False, True]


@pytest.mark.parametrize("data", [3, b"x", {"a": 1}, [3]])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(UsageError, match=r"data is|row 1 is"):
        labelled(data)


def test_a_column_of_ids_that_is_not_there_is_refused_with_the_nearest():
    with pytest.raises(UsageError, match=r"has no column ids, which id_column names: id, not ids\?"):
        labelled(ROWS, id_column="ids")


def test_a_refused_table_leaves_no_files(tmp_path):
    for data, prompt in ((ROWS, "{Text}"), (ROWS[:0], "{text}"), (ROWS, lambda row: row["none"])):
        with pytest.raises((UsageError, KeyError)):
            labelled(data, prompt)
    assert list(tmp_path.rglob("*.jsonl*")) == []


def test_an_error_in_the_function_that_makes_a_prompt_names_the_row():
    with pytest.raises(KeyError) as caught:
        labelled(ROWS, lambda row: row["none"])
    assert "row 1" in caught.value.__notes__[0]


def test_columns_of_one_name_are_refused():
    with pytest.raises(UsageError, match="two columns called text"):
        labelled(pandas.DataFrame([["a", "b"]], columns=["text", "text"]))


def test_a_series_of_texts_is_a_table_and_a_gap_in_it_a_missing_value():
    result = labelled(pandas.Series(["a", None], name="review"))
    assert [bool(row["answer"]) for row in result.frame] == [True, False]


def test_the_errors_of_rows_name_parameters():
    (failed,) = labelled(ROWS).failed
    assert "empty skip" in failed["error"]
    assert "--" not in failed["error"]


def test_an_estimate_sends_nothing_and_leaves_nothing(tmp_path):
    found = arkbatch.estimate_table(ROWS, "Label: {text}", model="doubao-seed-1-6-251015")
    assert [(each.model, each.estimate.rows) for each in found.forecasts] == [("doubao-seed-1-6-251015", 2)]
    assert "2 rows for doubao-seed-1-6-251015" in repr(found)
    with pytest.raises(UsageError, match="needs the column txt"):
        arkbatch.estimate_table(ROWS, "{txt}", model="m")
    assert list(tmp_path.iterdir()) == []


def test_the_sample_of_an_estimate_is_the_beginning_of_the_run():
    rows = [{"text": f"review {number}"} for number in range(6)]
    options = {"model": "m", "simulate": True, "progress": False}
    (found,) = arkbatch.estimate_table(rows, "Label: {text}", sample=2, **options).forecasts
    assert (found.estimate.sampled, found.estimate.rows) == (2, 6)
    assert labelled(rows).summary.session["recorded"] == 4


@pytest.mark.parametrize(
    "made",
    [
        lambda: polars.DataFrame(ROWS).lazy(),
        lambda: pyarrow.RecordBatch.from_pylist(ROWS),
        lambda: pyarrow.Table.from_pylist(ROWS).to_reader(),
        lambda: list(pandas.DataFrame(ROWS).itertuples(index=False)),
    ],
    ids=["lazy", "batch", "reader", "named tuples"],
)
def test_tables_that_are_not_there_whole_are_taken_too(made):
    found = arkbatch.estimate_table(made(), "Label: {text}", model="m")
    assert [each.estimate.rows for each in found.forecasts] == [2]


def test_messages_say_switches_as_python_does():
    with pytest.raises(UsageError, match="allow_empty=True"):
        labelled(pandas.DataFrame(ROWS)[:0])


def test_another_function_of_the_same_name_is_another_run():
    rows = [{"text": "a"}]
    first, second = labelled(rows, lambda row: f"say {row['text']}"), labelled(rows, lambda row: f"do {row['text']}")
    assert first.run_dir != second.run_dir
    assert labelled(rows, lambda row: f"say {row['text']}").run_dir == first.run_dir

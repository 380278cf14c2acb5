"""Before a run begins its first rows are looked at: what can be sent, what stays here, and what is meant by it."""

import pytest
from runs import job_of, prompts

from arkbatch.core.errors import UsageError
from arkbatch.engine.open_run import OpenRun
from arkbatch.rows.first_look import check_first_rows, look_at, names_model, start_notes
from arkbatch.rows.source import source_of


def look(job):
    return look_at(source_of(job), job)


def table(folder, text, **flags):
    (folder / "in.csv").write_text(text, encoding="utf-8")
    return job_of(folder / "in.csv", **flags)


def refusal(job):
    with pytest.raises(UsageError) as caught:
        check_first_rows(source_of(job), job)
    return str(caught.value)


def test_columns_that_are_not_sent_are_named(tmp_path):
    found = look(job_of(prompts(tmp_path, {"prompt": "a", "label": 1, "temperature": 0}, {"prompt": "b", "meta": {}})))
    assert found.kept == ("label", "meta")
    assert start_notes(found) == ["kept here, not sent: label, meta"]


def test_a_parameter_with_a_slip_in_its_name_is_told(tmp_path):
    found = look(job_of(prompts(tmp_path, {"prompt": "a", "temprature": 0, "top_P": 1})))
    assert found.near == {"temprature": "temperature", "top_P": "top_p"}
    assert "temperature was meant?" in start_notes(found)[1]


def test_a_table_without_a_template_is_refused_with_a_command_that_works(tmp_path):
    said = refusal(table(tmp_path, "id,text\n1,a longer text\n"))
    assert "Its columns: id, text" in said
    assert said.endswith("--prompt '{text}' --id-column id --simulate")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({"instruction": "a", "input": "b", "output": "c"}, r"--prompt $'{instruction}\n\n{input?}'"),
        ({"conversations": [{"from": "human", "value": "hi"}]}, "--prompt '{conversations.0.value}'"),
        ({"question": "why", "n": 1}, "--prompt '{question}'"),
    ],
    ids=["Alpaca", "ShareGPT", "any"],
)
def test_known_kinds_of_data_sets_are_refused_with_their_template(tmp_path, row, says):
    assert says in refusal(job_of(prompts(tmp_path, row)))


def test_the_proposed_templates_work(tmp_path):
    rows = [{"conversations": [{"from": "human", "value": "hi"}], "instruction": "a", "input": ""}]
    for prompt in ("{conversations.0.value}", "{instruction}\n\n{input?}"):
        assert look(job_of(prompts(tmp_path, *rows), prompt=prompt)).sendable == 1


def test_a_column_that_is_not_there_is_refused_with_the_nearest(tmp_path):
    job = table(tmp_path, "id,text\n1,a\n", prompt="{txt}")
    assert "needs the column txt, which the line lacks (it has id, text); text, not txt?" in refusal(job)


def test_an_input_without_rows_is_refused_unless_that_is_meant(tmp_path):
    assert "--allow-empty" in refusal(table(tmp_path, "id,text\n", prompt="{text}", allow_empty=False))
    job = table(tmp_path, "id,text\n", prompt="{text}", allow_empty=True)
    assert check_first_rows(source_of(job), job).rows == 0


def test_a_refused_run_leaves_no_directory(tmp_path):
    with (
        pytest.raises(UsageError, match="cannot be sent"),
        OpenRun(table(tmp_path, "id,text\n1,a\n"), wall=lambda: 0.0),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_what_may_be_meant_otherwise_is_told(tmp_path):
    assert "--no-header" in look(table(tmp_path, "1,2\n3,4\n", prompt="{1}")).notes[0]
    assert "--id-column id" in look(table(tmp_path, "id,text\n1,a\n", prompt="{text}")).notes[0]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        (b'{"custom_id":"a","url":"/v1/chat/completions","body":{"model":"m","messages":[]}}', True),
        (b'{"model":"m","prompt":"a"}', True),
        (b'{"custom_id":"a","model":"","request":{"body":{"model":"m"}}}', True),
        (b'{"custom_id":"a","model":"m","request":{"body":{}}}', False),
        (b'{"prompt":"a"}', False),
        (b'["model"]', False),
        (b"{oops", False),
    ],
)
def test_whether_a_row_names_its_model(line, named):
    assert names_model(line) is named


def test_a_column_of_ids_that_no_row_has_is_refused(tmp_path):
    said = refusal(table(tmp_path, "id,text\n1,a\n", prompt="{text}", id_column="Id"))
    assert said.endswith("has no column Id, which --id-column names: id, not Id?")
    rows = prompts(tmp_path, {"text": "a"}, {"text": "b", "key": "k"})
    assert check_first_rows(source_of(job_of(rows, prompt="{text}", id_column="key")), job_of(rows, prompt="{text}"))

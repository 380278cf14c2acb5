"""`arkbatch show` finds a row by any of its names and tells all that is known about it."""

import base64
import gzip
import struct
from datetime import UTC, datetime

import orjson
import pytest
from builders import before
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli.show import command
from arkbatch.core.calls import Kind
from arkbatch.core.errors import ExitCode, RunDirectoryError, UsageError
from arkbatch.core.outcomes import Attempt
from arkbatch.core.row import Row
from arkbatch.journal.record_format import encode
from arkbatch.journal.run_directory import RESULTS, RunDirectory
from arkbatch.reports.answers.answer_text import answer_lines
from arkbatch.reports.status import find_record as search
from arkbatch.reports.status.find_record import lines_with, read_name
from arkbatch.reports.status.show import find_rows
from arkbatch.reports.status.show_text import show_text


def client_id(row):
    return f"pre-abc-1-{row.number}-1"


def outcome_of(row):
    """Odd rows fail, row 6 stays undone, the others succeed."""
    calls = [Attempt(client_id(row), "done", 0.5, f"server-{row.number}", 200)]
    if row.number == 6:
        return None
    if row.number % 2:
        return failed(row, code="read", message="no answer in time", calls=calls, attempts=1)
    return answered(row, calls=calls)


@pytest.fixture
def run(tmp_path):
    return worked_off(job_of(prompts(tmp_path, *numbered(6))), outcome_of, ending="stopped")


def shown(run, name):
    return find_rows(str(run), name).rows


def text_of(run, name):
    return show_text(find_rows(str(run), name), str(run))


@pytest.mark.parametrize("name", ["2", "task-2", "pre-abc-1-2-1", "server-2"])
def test_a_row_is_found_by_each_of_its_names(run, name):
    (row,) = shown(run, name)
    assert (row.row, row.custom_id, row.state) == (2, "task-2", "succeeded")
    assert orjson.loads(row.input.text) == numbered(6)[1]


def test_a_row_is_found_by_the_ids_in_its_record(run):
    record = orjson.loads((run / RESULTS).read_bytes().splitlines()[0])
    for name in (record["id"], record["response"]["request_id"]):
        assert 2 in [row.row for row in shown(run, name)]


def test_an_id_of_a_call_that_was_not_kept_leads_to_its_row(run):
    run_id = RunDirectory(run).read_info().run_id
    assert [row.row for row in shown(run, f"prefix-{run_id}-1-4-77")] == [4]
    assert shown(run, f"{run_id}-1-6-1")[0].state == "undone"


def test_a_prompt_or_an_answer_that_holds_a_name_is_no_match(tmp_path):
    rows = [{"prompt": '"task-9" "row":9,'}, {"custom_id": "task-9", "prompt": "x"}]
    body = {"choices": [{"message": {"content": "task-9", "row": 9}, "finish_reason": "task-9"}]}
    run = worked_off(job_of(prompts(tmp_path, *rows)), lambda row: answered(row, body))
    assert [row.row for row in shown(run, "task-9")] == [2]
    with pytest.raises(UsageError):
        shown(run, "9")


def test_a_number_is_a_row_and_may_be_a_custom_id_too(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, {"custom_id": "2", "prompt": "a"}, {"prompt": "b"})), answered)
    assert [row.row for row in shown(run, "2")] == [1, 2]


def test_a_custom_id_on_many_lines_shows_ten_of_them(tmp_path):
    same = [{"custom_id": "same", "prompt": str(number)} for number in range(12)]
    run = worked_off(job_of(prompts(tmp_path, *same)), answered)
    found = find_rows(str(run), "same")
    assert [row.row for row in found.rows] == list(range(1, 11))
    assert show_text(found, str(run)).endswith("More rows have this name; the first 10 are shown.")
    undone = worked_off(job_of(prompts(tmp_path, *same), run_dir=str(tmp_path / "b.run")), lambda row: None)
    assert (len(shown(undone, "same")), find_rows(str(undone), "same").more) == (10, True)


def test_a_success_counts_over_a_failure_that_is_still_in_its_file(run):
    """As it is while `retry` runs."""
    (row,) = shown(run, "3")
    assert row.state == "failed"
    again = replace(row_of(row), before=(before(code="read"),))
    with (run / RESULTS).open("ab") as file:
        file.write(
            encode(
                answered(again), run_id="abc", finished_at=datetime.fromtimestamp(1.8e9, UTC), url="/chat/completions"
            )
        )
    for name in ("3", "task-3", "pre-abc-1-3-1"):
        assert [(row.row, row.state) for row in shown(run, name)] == [(3, "succeeded")]
    text = text_of(run, "3")
    assert "Earlier sessions:\n  failed: timeout (read)  2 calls" in text


def row_of(row):
    record = orjson.loads(row.record)
    return Row(row.row, record["offset"], record["digest"], row.custom_id, "chat", {})


@pytest.mark.parametrize("name", ["6", "task-6"])
def test_a_row_without_a_record_is_undone(run, name):
    (row,) = shown(run, name)
    assert (row.row, row.state, row.record) == (6, "undone", None)
    assert row.request.body["messages"] == [{"role": "user", "content": "question 6"}]
    assert "undone, it has no record yet" in text_of(run, name)
    assert orjson.loads(row.to_json())["input"] == {"custom_id": "task-6", "prompt": "question 6"}


@pytest.mark.parametrize("escaped", [rb"\u84dd/1", rb"\u84DD\/1", "蓝/1".encode()])
def test_an_undone_row_is_found_however_its_id_is_escaped(tmp_path, escaped):
    line = b'{"custom_id": "%s", "prompt": "x"}\n' % escaped
    run = worked_off(job_of(prompts(tmp_path, {"prompt": "蓝/1"}, line)), lambda row: None)
    assert [row.row for row in shown(run, "蓝/1")] == [2]


def test_an_undone_row_without_an_id_is_found_by_the_one_it_will_get(tmp_path):
    rows = [{"custom_id": "row-2", "prompt": "a"}, {"custom_id": "b", "prompt": "b"}, {"prompt": "c"}]
    run = worked_off(job_of(prompts(tmp_path, *rows)), lambda row: None)
    assert [row.row for row in shown(run, "row-2")] == [1]
    assert [row.row for row in shown(run, "row-3")] == [3]


def test_the_request_of_a_success_is_made_from_its_line(tmp_path):
    path = prompts(tmp_path, {"word": "sky"}, name="in.jsonl")
    (tmp_path / "job.toml").write_text(
        'input = "in.jsonl"\n[template]\nuser = "What is {word}?"\n[defaults]\ntemperature = 0.5\n'
    )
    run = worked_off(job_of(path.with_name("job.toml")), answered)
    (row,) = shown(run, "1")
    assert row.request.url == "/chat/completions"
    assert row.request.body == {
        "messages": [{"role": "user", "content": "What is sky?"}],
        "temperature": 0.5,
        "model": "doubao",
    }
    assert orjson.loads(row.to_json())["request"]["body"] == row.request.body


def test_a_failure_shows_its_error_and_what_to_do(run):
    text = text_of(run, "task-3")
    assert text.startswith("Row 3 (task-3): failed, 1 call, ")
    assert "Error: timeout (read) no answer in time" in text
    assert "What to do: it may be over by now" in text
    assert "pre-abc-1-3-1      server-3" in text


def test_a_bad_line_is_shown_as_it_stands(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, b'{"oops\n', {"prompt": "a"})), answered)
    (row,) = shown(run, "1")
    assert (row.state, row.request, orjson.loads(row.to_json())["input"]) == ("failed", None, '{"oops')
    text = text_of(run, "row-1")
    assert "failed, never sent." in text
    assert "Error: bad_row not JSON" in text


@pytest.mark.parametrize("change", [b'{"prompt": "other"}\n' * 6, b"short\n", b""])
def test_an_input_that_changed_is_not_believed(run, change):
    (run.parent / "in.jsonl").write_bytes(change)
    (row,) = shown(run, "2")
    assert (row.input.text, row.request) == (None, None)
    assert "has changed" in row.input.note
    assert shown(run, "3")[0].request.body["messages"]  # a failure keeps its own
    assert orjson.loads(row.to_json())["input"] is None


def test_an_input_that_is_gone_is_told(run):
    (run.parent / "in.jsonl").unlink()
    assert "is no longer there" in text_of(run, "2")
    with pytest.raises(UsageError):
        shown(run, "6")


def test_an_input_that_moved_with_its_run_is_found(run, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    moved = run.rename(tmp_path / "elsewhere" / "a.run")
    (tmp_path / "in.jsonl").rename(tmp_path / "elsewhere" / "in.jsonl")
    assert shown(moved, "2")[0].input.note == f"line 2 of {tmp_path}/elsewhere/in.jsonl"


def test_a_compressed_input_is_read_to_the_line(tmp_path):
    path = prompts(tmp_path, *numbered(3))
    packed = path.with_name("in.jsonl.gz")
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert orjson.loads(shown(worked_off(job_of(packed), answered), "3")[0].input.text) == numbered(3)[2]


def test_the_json_is_the_record_with_the_input_beside_it(run):
    record = orjson.loads((run / RESULTS).read_bytes().splitlines()[0])
    printed = CliRunner().invoke(command, [str(run), "2", "--json"], catch_exceptions=False).stdout
    whole = orjson.loads(printed)
    assert {name: whole[name] for name in record} == record
    assert whole["input"] == {"custom_id": "task-2", "prompt": "question 2"}
    assert whole["state"] == "succeeded"
    assert printed.count("\n") == 1


def test_nothing_found_is_a_usage_error_in_one_line(run):
    with pytest.raises(UsageError, match=r"has no row task-99: give the number of a line \(1 to 6\)") as raised:
        shown(run, "task-99")
    assert raised.value.exit_code is ExitCode.USAGE
    with pytest.raises(RunDirectoryError):
        shown(run.parent, "1")


def test_long_requests_are_cut_and_control_characters_made_visible(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, {"prompt": "\x1b[2J" + "x" * 9000})), answered)
    text = text_of(run, "1")
    assert text.count("more characters, with --json") == 2
    assert len(text) < 9_500
    assert "\x1b" not in text


def test_calls_say_when_they_were_sent_and_who_gave_an_answer_that_was_thrown_away(tmp_path):
    calls = [
        Attempt("c-1", "empty", 0.5, tokens={"input": 3}, model="doubao-other", service_tier="default"),
        Attempt("c-2", "done", 0.5, after=61.25),
    ]
    job = job_of(prompts(tmp_path, *numbered(1)), model="ep-1")
    said = text_of(worked_off(job, lambda row: answered(row, calls=calls, attempts=2)), "1").splitlines()
    first, second = (line.split() for line in said if line.strip().startswith("c-"))
    assert first[-1] == "doubao-other"
    assert "61.25" in second
    assert any(line.split() == ["asked", "for", "ep-1"] for line in said)


def test_the_command_prints_the_answer(run):
    result = CliRunner().invoke(command, [str(run), "task-2"], catch_exceptions=False)
    assert result.stdout.endswith("Answer (finish reason stop):\nhello\n")
    assert "arkbatch show prompts.run 17" in CliRunner().invoke(command, ["--help"]).stdout


def chat(message, **more):
    return {"choices": [{"message": message, "finish_reason": "stop", **more}]}


def vector(index, embedding):
    return {"index": index, "embedding": embedding}


NUMBERS = base64.b64encode(struct.pack("<6f", 0.5, -1, 0.25, 2, 3, 4)).decode()


@pytest.mark.parametrize(
    ("body", "lines"),
    [
        (chat({"content": "hi"}), ["Answer (finish reason stop):", "hi"]),
        (chat({"content": None, "refusal": "no"}), ["Answer (finish reason stop):", "(no content)", "Refusal: no"]),
        (
            chat({"content": "so", "reasoning_content": "hm"}),
            ["Thoughts:", "hm", "Answer (finish reason stop):", "so"],
        ),
        (
            chat({"content": "", "tool_calls": [{"function": {"name": "f", "arguments": '{"a":1}'}}]}),
            ["Answer (finish reason stop):", "(no content)", 'Calls the tool f: {"a":1}'],
        ),
        (chat({"content": [{"text": "a"}, {"text": "b"}]}), ["Answer (finish reason stop):", "ab"]),
        (chat({"content": [{"image": 1}]}), ["Answer (finish reason stop):", '[{"image":1}]']),
        (
            {"choices": [{"message": {"content": "a"}}, {"message": {"content": "b"}}]},
            ["Answer 1:", "a", "Answer 2:", "b"],
        ),
        ({"data": [vector(0, [0.5, -1, 2])]}, ["1 vector:", "  0: 3 numbers, 0.5, -1, 2 ..."]),
        ({"data": [vector(0, NUMBERS)]}, ["1 vector:", "  0: 6 numbers, 0.5, -1, 0.25, 2 ..."]),
        ({"data": [vector(0, "?")]}, ["1 vector:", "  0: 0 numbers,  ..."]),
        ("odd", ["Reply:", '"odd"']),
    ],
)
def test_what_a_person_wants_to_read_of_a_reply(body, lines):
    assert list(answer_lines(body)) == lines


def test_of_many_vectors_the_first_are_shown():
    lines = list(answer_lines({"data": [vector(index, [1.0]) for index in range(256)]}))
    assert (lines[0], lines[-1], len(lines)) == ("256 vectors:", "  and 253 more, with --json", 5)


@pytest.mark.parametrize(
    ("text", "number"),
    [("17", 17), ("pre-ab12-1-17-2", 17), ("ab12-3-17-9", 17), ("cd34-1-17-2", None), ("-1", None), ("row-17", None)],
)
def test_names_that_say_a_row_number(text, number):
    assert read_name(text, "ab12").number == number


TEXTS = st.lists(st.text("ab\n", max_size=12).map(str.encode))


@given(parts=TEXTS, needle=st.text("ab", min_size=1, max_size=3).map(str.encode), block=st.integers(1, 9))
def test_a_search_by_blocks_finds_the_lines_that_a_search_by_lines_finds(tmp_path_factory, parts, needle, block):
    path = tmp_path_factory.getbasetemp() / "searched"
    path.write_bytes(b"\n".join(parts))
    whole = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "_BLOCK", block)
        assert list(lines_with(path, [needle, b"ba"])) == [line for line in whole if needle in line or b"ba" in line]


def test_the_advice_of_the_record_wins(tmp_path):
    def blocked(row):
        failure = failed(row, Kind.BLOCKED, "content_filter")
        return replace(failure, cause=replace(failure.cause, advice="ask someone"))

    run = worked_off(job_of(prompts(tmp_path, *numbered(1))), blocked)
    assert "What to do: ask someone" in text_of(run, "1")

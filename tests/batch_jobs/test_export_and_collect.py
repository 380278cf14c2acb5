"""Files for a console or a colleague, and what comes back from them, as people handle files."""

import gzip
from pathlib import Path

import orjson
import pytest
from batch_runs import MODEL, parcels_of, rows, rows_with_records, usage_of_results
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import failures, results

from arkbatch.batch_jobs.collect_files import collect_files
from arkbatch.batch_jobs.export_files import export_run, take_back
from arkbatch.batch_jobs.provider_forms import all_forms
from arkbatch.core.errors import UsageError
from arkbatch.core.job_sections import Files
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_directory import RunDirectory


def wall():
    return 1_790_000_000.0


@pytest.fixture
def job(tmp_path):
    return lambda lines, **changes: replace(job_of(prompts(tmp_path, *lines)), lane="files", **changes)


def exported(asked, tmp_path, form="openai"):
    with OpenRun(asked, wall=wall) as run:
        return export_run(run, all_forms()[form], tmp_path / "parts")


def collected(asked, *files):
    with OpenRun(asked, wall=wall) as run:
        return collect_files(run, files)


def requests(*files):
    return [orjson.loads(line) for file in files for line in Path(file.path).read_bytes().splitlines()]


def answered(request, text="fine", status=200, **more):
    body = {
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }
    if status != 200:
        body = {"error": {"code": "InvalidParameter", "message": "bad"}}
    response = {"status_code": status, "request_id": "r", "body": body}
    return {"id": "x", "custom_id": request["custom_id"], "response": response, "error": None, **more}


def written(path, lines):
    path.write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    return path


def test_what_came_of_an_export_is_recorded_row_by_row_at_the_batch_price(job, tmp_path):
    asked = job(rows(7), files=Files(rows=3))
    files = exported(asked, tmp_path).files
    assert [file.rows for file in files] == [3, 3, 1]
    lines = [answered(each) for each in reversed(requests(*files)[:6])]
    lines.append(answered(requests(*files)[6], status=400))
    found = collected(asked, written(tmp_path / "renamed by a colleague.txt", lines))
    assert (found.merged.done, found.merged.failed, found.parcels) == (6, 1, [1, 2, 3])
    assert rows_with_records(asked) == list(range(1, 8))
    assert usage_of_results(asked) == {"input": 60, "output": 30}
    assert {line["service_tier"] for line in results(asked)} == {"batch"}
    assert not parcels_of(asked).open_parcels


@pytest.mark.parametrize("form", ["lines", "gzip", "utf-16", "list", "list with mark", "CRLF and mark"])
def test_files_are_read_as_consoles_and_shells_write_them(job, tmp_path, form):
    asked = job(rows(3))
    lines = [answered(each) for each in requests(*exported(asked, tmp_path).files)]
    plain, path = b"\n".join(map(orjson.dumps, lines)), tmp_path / "output"
    path.write_bytes(
        {
            "lines": plain,
            "gzip": gzip.compress(plain),
            "utf-16": plain.decode().replace("\n", "\r\n").encode("utf-16"),
            "list": orjson.dumps(lines, option=orjson.OPT_INDENT_2),
            "list with mark": b"\xef\xbb\xbf" + orjson.dumps(lines),
            "CRLF and mark": b"\xef\xbb\xbf" + plain.replace(b"\n", b"\r\n"),
        }[form]
    )
    found = collected(asked, path)
    assert (found.merged.done, found.merged.unknown) == (3, 0)
    assert [each.name for each in RunDirectory(Path(asked.run_dir)).path.iterdir() if "collected" in each.name] == []


def test_odd_lines_are_told_and_cost_nobody_anything(job, tmp_path):
    asked = job(rows(5))
    sent = requests(*exported(asked, tmp_path).files)
    good = [orjson.dumps(answered(each)) for each in sent]
    lines = [*good[:3], good[0], b'{"custom_id":"nobody","response":null}', b"{}", good[3][:70]]
    path = tmp_path / "out.jsonl"
    path.write_bytes(b"\n".join(lines))
    found = collected(asked, path)
    merged = found.merged
    assert (merged.done, merged.doubled, merged.unknown, merged.missing) == (3, 1, 3, 2)
    assert rows_with_records(asked) == [1, 2, 3]
    with OpenRun(asked, wall=wall) as run:
        assert [row.number for row in run.rows()] == [4, 5], "a row without a line is still to be done"


def test_the_same_file_again_changes_nothing_and_says_so(job, tmp_path):
    asked = job(rows(3))
    path = written(tmp_path / "out.jsonl", [answered(each) for each in requests(*exported(asked, tmp_path).files)])
    collected(asked, path)
    before = results(asked)
    again = collected(asked, path)
    assert (again.merged.done, again.recorded) == (0, 3)
    assert results(asked) == before


def test_answers_of_another_run_are_no_answers_of_this_one(job, tmp_path):
    asked = job(rows(3))
    sent = requests(*exported(asked, tmp_path).files)
    foreign = [
        {**each, "custom_id": each["custom_id"].replace(each["custom_id"].split("-")[1], "0" * 8)} for each in sent
    ]
    found = collected(asked, written(tmp_path / "theirs.jsonl", [answered(each) for each in foreign]))
    assert (found.merged.unknown, found.merged.spent, found.parcels) == (3, 0, [])
    assert usage_of_results(asked) == {"input": 0, "output": 0}
    assert parcels_of(asked).open_parcels, "the answers of this run may still come"


def test_the_file_that_was_exported_is_not_taken_for_its_answers(job, tmp_path):
    asked = job(rows(3))
    [file] = exported(asked, tmp_path).files
    with pytest.raises(UsageError, match="holds requests"):
        collected(asked, Path(file.path))
    assert parcels_of(asked).open_parcels


def test_lines_with_the_rows_own_ids_are_joined_by_them_also_where_they_are_numbers(job, tmp_path):
    lines = [{"custom_id": name, "body": body} for name, body in zip(("7", "a", "a"), rows(3), strict=True)]
    asked = job(lines)
    found = collected(asked, written(tmp_path / "out.jsonl", [answered({"custom_id": name}) for name in (7, "a")]))
    assert (found.merged.done, found.ambiguous, found.merged.unknown) == (1, 1, 0)
    assert rows_with_records(asked) == [1]


def test_output_and_errors_may_come_one_after_the_other(job, tmp_path):
    asked = job(rows(4))
    sent = requests(*exported(asked, tmp_path).files)
    collected(asked, written(tmp_path / "out.jsonl", [answered(each) for each in sent[:3]]))
    found = collected(asked, written(tmp_path / "err.jsonl", [answered(sent[3], status=400)]))
    assert found.merged.failed == 1
    assert rows_with_records(asked) == [1, 2, 3, 4]
    assert len(failures(asked)) == 1


def test_rows_that_no_file_can_hold_are_left_out_with_the_reason(job, tmp_path):
    asked = job([*rows(1), {**rows(1)[0], "stream": True}])
    found = exported(asked, tmp_path)
    assert [row for row, _ in found.left_out] == [2]
    assert "stream" in found.left_out[0][1]


def test_rows_that_were_exported_go_nowhere_else_until_they_are_taken_back(job, tmp_path):
    asked = job(rows(3))
    exported(asked, tmp_path)
    assert exported(asked, tmp_path).files == []
    directory = RunDirectory(Path(asked.run_dir))
    assert take_back(directory, parcels_of(asked).open_parcels, wall) == 3
    assert sum(file.rows for file in exported(asked, tmp_path).files) == 3


def test_a_compressed_file_that_was_cut_off_is_refused_with_the_reason(job, tmp_path):
    asked = job(rows(1))
    exported(asked, tmp_path)
    (tmp_path / "out.gz").write_bytes(gzip.compress(b"x" * 10_000)[:40])
    with pytest.raises(UsageError, match=r"out\.gz is a damaged gzip file"):
        collected(asked, tmp_path / "out.gz")

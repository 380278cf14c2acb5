"""Whole runs whose answers must satisfy a schema."""

import subprocess
import sys

import orjson
import pytest
from fakes import SCRIPT, FakeTransport, answer
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import failures, results, scripted, worked
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.job_sections import Validate
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.retry_run import RetryRun, RetrySelection, chosen_kinds
from arkbatch.engine.session import Session
from arkbatch.simulator.server import Settings, serve

SCHEMA = {"type": "object", "properties": {"stars": {"type": "integer"}}, "required": ["stars"]}
STRUCTURED = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}


def job_with(folder, *rows, schema=SCHEMA, **flags):
    (folder / "s.json").write_bytes(orjson.dumps(schema))
    return job_of(prompts(folder, *rows), schema="s.json", concurrency=1, **flags)


def saying(*texts):
    """A transport that says one after the other, and the last for ever."""
    transport = FakeTransport(lambda *_: answer(texts[min(len(transport.calls), len(texts)) - 1]))
    return transport


def test_an_unfit_answer_is_asked_for_again_and_counted_as_thrown_away(tmp_path, monkeypatch):
    job = job_with(tmp_path, {"prompt": "a"})
    transport = saying("Sure!", '{"stars": "4"}', '{"stars": 4}')
    summary = scripted(job, transport, monkeypatch).summary
    (line,) = results(job)
    assert line["response"]["body"]["choices"][0]["message"]["content"] == '{"stars": 4}'
    assert (line["attempts"], line["usage"], line["discarded"]) == (
        3,
        {"input": 30, "output": 15},
        {"input": 20, "output": 10},
    )
    assert [(call["verdict"], call.get("code", "")) for call in line["calls"]] == [
        ("invalid_output", "not_json"),
        ("invalid_output", "schema"),
        ("done", ""),
    ]
    assert summary.succeeded == 1
    assert len({call.body for call in transport.calls}) == 1


def test_after_so_many_the_row_fails_with_the_reason_and_the_place(tmp_path, monkeypatch):
    job = job_with(tmp_path, {"prompt": "a"}, max_attempts=1)
    transport = saying('{"stars": "4"}')
    assert scripted(job, transport, monkeypatch).summary.failures == {"invalid_output": 1}
    (line,) = failures(job)
    assert line["error"]["code"] == "schema"
    assert "'4' is not of type 'integer' (at $.stars) (3 of 3 attempts spent)" in line["error"]["message"]
    assert (line["attempts"], line["usage"]) == (3, {"input": 30, "output": 15})
    assert line["response"]["body"]["choices"][0]["message"]["content"] == '{"stars": "4"}'


def test_other_failures_are_counted_apart(tmp_path, monkeypatch):
    """Two unfit answers and a timeout: neither purse is empty, though three calls failed."""
    job = job_with(tmp_path, {"prompt": "a"}, max_attempts=3)
    said = [answer("no"), SCRIPT["server_error"], answer("no"), SCRIPT["server_error"], answer('{"stars": 1}')]
    transport = FakeTransport(lambda *_: said[len(transport.calls) - 1])
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    assert results(job)[0]["attempts"] == 5


def test_prose_in_place_of_json_is_the_rows_own_failure_and_no_outage(tmp_path, monkeypatch):
    job = job_with(tmp_path, *({"prompt": str(number)} for number in range(12)))
    job = replace(job, validate=Validate(schema="s.json", attempts=2))
    transport = saying("Sure!")
    summary = scripted(job, transport, monkeypatch).summary
    assert (summary.ending, summary.failures) == ("finished", {"invalid_output": 12})
    assert (len(transport.calls), "seconds_away" in summary.session) == (24, False)


def test_rows_of_another_endpoint_are_not_looked_at(tmp_path):
    job = job_with(tmp_path, {"input": "embed me"}, {"prompt": "hi", "response_format": STRUCTURED})
    assert worked(job).summary.succeeded == 2


@pytest.mark.parametrize("stream", [False, True])
def test_against_the_simulator_streamed_or_not(tmp_path, stream):
    rows = [
        {"prompt": "fit", "response_format": STRUCTURED},
        {"prompt": "once [[fault:off_schema:1]]", "response_format": STRUCTURED},
        {"prompt": "cut off [[fault:length:1]]", "response_format": STRUCTURED},
        {"prompt": "prose"},
    ]
    job = job_with(tmp_path, *rows, stream=stream)
    assert worked(job).summary.failures == {"invalid_output": 1}
    assert {line["row"]: line["attempts"] for line in results(job)} == {1: 1, 2: 2, 3: 2}
    assert failures(job)[0]["row"] == 4


def test_a_mended_schema_is_used_by_a_retry(tmp_path):
    job = job_with(tmp_path, {"prompt": "as JSON", "response_format": {"type": "json_object"}}, schema={"type": "null"})
    wider = orjson.dumps({"type": ["null", "object"]}).decode()

    async def session():
        async with serve(Settings()) as url:
            ready = replace(job, base_url=url)
            with OpenRun(ready, wall=lambda: 0.0) as run:
                assert (await Session(run).work()).failures == {"invalid_output": 1}
            fixed = replace(ready, schema_text=wider)
            with RetryRun(fixed, RetrySelection(chosen_kinds("invalid_output")), wall=lambda: 0.0) as again:
                return await Session(again).work_again(again.rows())

    summary = run_virtual(session())
    assert (summary.succeeded, summary.failed) == (1, 0)
    assert results(job)[0]["attempts"] == 4


def test_another_schema_is_another_run(tmp_path):
    job = job_with(tmp_path, {"prompt": "a", "response_format": STRUCTURED})
    worked(job)
    with (
        pytest.raises(RunChanged, match=r"validate\.schema\.type"),
        OpenRun(replace(job, schema_text='{"type": "array"}'), wall=lambda: 0.0),
    ):
        pass


def test_the_path_is_relative_to_the_job_file_and_kept_complete(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/s.json").write_text("{}")
    prompts(tmp_path / "sub", {"prompt": "a"})
    (tmp_path / "sub/job.toml").write_text('input = "in.jsonl"\nmodel = "m"\n[validate]\nschema = "s.json"\n')
    job = resolve_job("sub/job.toml", {"simulate": True}, {}, tmp_path)
    assert (job.validate.schema, job.schema_text) == (str(tmp_path / "sub/s.json"), "{}")
    (tmp_path / "sub/s.json").write_text("{]")
    with pytest.raises(UsageError, match=r'^sub/job\.toml: validate\.schema = "s\.json" is no JSON'):
        resolve_job("sub/job.toml", {"simulate": True}, {}, tmp_path)


def test_a_wrong_schema_is_one_line_of_the_command(tmp_path):
    (tmp_path / "s.json").write_text('{"type": "strin"}')
    path = prompts(tmp_path, {"prompt": "a"})
    words = [sys.executable, "-m", "arkbatch", "run", str(path), "--simulate", "--schema", str(tmp_path / "s.json")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "is no JSON Schema: 'strin' is not valid" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "in.run").exists()


def test_the_example_keeps_to_its_schema(pytestconfig, tmp_path):
    file = pytestconfig.rootpath / "jobs/structured.toml"
    job = resolve_job(str(file), {"simulate": True, "run_dir": str(tmp_path / "a.run")}, {}, tmp_path)
    asked = orjson.loads(job.schema_text)
    del asked["$schema"]
    assert job.defaults["response_format"]["json_schema"]["schema"] == asked
    assert worked(job).summary.succeeded == 8


def test_a_slow_pattern_fails_its_row_and_stops_nothing(tmp_path, monkeypatch):
    """`^(a+)+$` takes a regular expression for ever on such a text, and nothing in Python interrupts it."""
    monkeypatch.setattr("arkbatch.engine.schema_process.LONGEST_CHECK_SECONDS", 0.5)
    slow = {"type": "object", "properties": {"word": {"pattern": "^(a+)+$"}}}
    ours = replace(job_with(tmp_path, *numbered(3), schema=slow), validate=Validate(attempts=1))

    def script(call, _):
        return answer('{"word": "%s"}' % ("a" * 40 + "!" if "-2-" in call.client_id else "a"))

    scripted(ours, FakeTransport(script), monkeypatch)
    assert [line["row"] for line in results(ours)] == [1, 3]
    (failure,) = failures(ours)
    assert (failure["row"], failure["error"]["kind"]) == (2, "invalid_output")
    assert "slow pattern" in failure["error"]["message"]

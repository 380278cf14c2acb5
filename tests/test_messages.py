"""What a tired person reads when something small is wrong: the thing by its own name, and what to do next."""

import asyncio
import re

import pytest
from aiohttp import ClientConnectorError, ClientSession
from click.testing import CliRunner
from msgspec.structs import replace
from runs import Told, answered, job_of, numbered, prompts, worked_off

from arkbatch.cli import arkbatch, exit_code_of
from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import JobError, RunChanged, RunDirectoryError, RunLocked, UsageError
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.resume_check import ResumeOptions
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.limits.pace_file import PaceNote
from arkbatch.monitor.progress import FoundRows
from arkbatch.reports.status.status_text import pace_text
from arkbatch.reports.text.summary import found_line, spent_text
from arkbatch.transport.transport_errors import error_detail


@pytest.mark.parametrize("command", ["status", "retry", "show", "report", "cost", "vectors"])
def test_a_job_file_in_the_place_of_its_run_directory_is_told_so(tmp_path, command):
    (tmp_path / "job.toml").write_text("")
    more = {"show": ["1"], "vectors": ["-o", str(tmp_path / "v.npy")]}.get(command, [])
    done = CliRunner().invoke(arkbatch, [command, str(tmp_path / "job.toml"), *more])
    assert isinstance(done.exception, RunDirectoryError)
    assert f"is a file, not a run directory: name the one that `arkbatch run` wrote, such as {tmp_path}/job.run" in str(
        done.exception
    )


def test_a_run_is_not_written_over_a_file(tmp_path):
    (tmp_path / "mine").write_text("x")
    with pytest.raises(RunDirectoryError, match=r"mine is a file, not a run directory\. Name another with -o"):
        RunDirectory(tmp_path / "mine").create()


def test_who_holds_a_run_is_told_with_the_order_that_ends_it(tmp_path):
    run = RunDirectory(tmp_path)
    with run.hold_lock(lambda: 0.0), pytest.raises(RunLocked) as told, run.hold_lock(lambda: 0.0):
        pass
    assert "since 1970-01-01 00:00:00 UTC" in str(told.value)
    assert str(told.value).endswith(f"arkbatch ctl {tmp_path} drain")


@pytest.mark.parametrize(
    ("first", "then", "said"),
    [
        (True, False, "holds made-up answers, and these would be real. Name another directory with -o, or run it with"),
        (False, True, "holds real answers, and these would be made-up. Name another directory with -o, or leave"),
    ],
)
def test_made_up_and_real_answers_are_told_apart_by_name(tmp_path, first, then, said):
    job = job_of(prompts(tmp_path, *numbered(2)))
    worked_off(replace(job, simulated=first), answered)
    with pytest.raises(RunChanged, match=said), OpenRun(replace(job, simulated=then), ResumeOptions(), wall=Told()):
        pass


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ('[hours]\nwindow = "22-8"', 'job.toml: hours.window = "22-8" is not a window: write it as'),
        ('[hours]\nwindow = "22:00-08:00 Mars"', "job.toml: Mars is no place that this machine knows"),
        (
            '[embeddings]\npack = "many"',
            'embeddings.pack = "many" is not allowed: it must be a whole number, or "auto"',
        ),
        ("[timeouts]\nread = 0", "timeouts.read = 0 is not allowed: it must be a number above 0 up to 259200"),
    ],
)
def test_a_mistake_in_a_job_file_names_file_key_value_and_what_is_allowed(tmp_path, toml, said):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\n{toml}\n')
    with pytest.raises(UsageError) as told:
        resolve_job(str(tmp_path / "job.toml"), {"simulate": True}, {}, tmp_path)
    assert said in str(told.value)


def test_a_mistake_in_a_flag_is_not_blamed_on_the_job_file(tmp_path):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text('input = "in.jsonl"\n')
    with pytest.raises(UsageError, match=r'^--window = "22-8" is not a window'):
        resolve_job(str(tmp_path / "job.toml"), {"simulate": True, "window": "22-8"}, {}, tmp_path)


def test_a_retry_that_chooses_no_row_says_that_and_not_that_all_is_well():
    found = FoundRows("a.run", done=1, failed=1, left=0, to_send=0, total=0, fresh=False, command="retry")
    assert found_line(found) == (
        "None of the 1 failed row in a.run is of those kinds or numbers: arkbatch status a.run"
    )


def test_a_refused_connection_is_told_without_the_words_of_a_library():
    async def refused():
        async with ClientSession() as session:
            await session.get("http://127.0.0.1:1/")

    with pytest.raises(ClientConnectorError) as told:
        asyncio.run(refused())
    assert error_detail(told.value) == "127.0.0.1:1 cannot be reached (Connection refused)"


@pytest.mark.parametrize(
    ("prices", "said"),
    [
        ("modell = 1", r"\[prices\]: modell is not a key of a price table: did you mean model\?"),
        ('map = { ep-1 = "doubao-sed" }', '"ep-1" is mapped to "doubao-sed", which is not in the price book'),
    ],
)
def test_check_meets_a_mistake_in_the_prices_before_the_run_does(tmp_path, prices, said):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\nmodel = "m"\n[prices]\n{prices}\n')
    done = CliRunner().invoke(arkbatch, ["check", str(tmp_path / "job.toml")])
    assert isinstance(done.exception, JobError)
    assert re.search(said, str(done.exception))


def test_the_run_that_check_proposes_has_the_lane_and_all_else_that_was_checked(tmp_path):
    path = prompts(tmp_path, b"{oops\n", {"prompt": "a"})
    flags = ["--model", "ep-bi-1", "--lane", "batch", "--no-stream"]
    done = CliRunner().invoke(arkbatch, ["check", str(path), *flags])
    assert "1 of 2 rows can be sent, 1 bad line." in done.output
    assert done.output.endswith(f"arkbatch run {path} --model ep-bi-1 --lane batch --no-stream\n")


def test_a_finished_run_does_not_say_that_the_service_is_away():
    note = PaceNote("m", "u", 0.0, reason="no limit met so far", away="the service is coming back", away_seconds=27.0)
    assert pace_text(note, over=False) == "no limit met so far; the service is coming back (27 s)"
    assert pace_text(note, over=True) == "no limit met so far"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runn"], "No such command 'runn'. Did you mean run?"),
        (["demo/job.toml"], "To run it: arkbatch run demo/job.toml"),
        (["zzz"], "`arkbatch --help` lists them."),
        (["run", "in.jsonl", "--rpm", "many"], "Invalid value for '--rpm': 'many' is not a valid number."),
    ],
)
def test_a_mistyped_command_line_is_answered_with_what_was_meant(words, said):
    done = CliRunner().invoke(arkbatch, words)
    assert (done.exit_code, done.stderr.rstrip().endswith(said)) == (2, True), done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["runn"], "错误：没有命令 'runn'。是否想写 run？"),
        (["run"], "错误：缺少参数 'INPUT|JOB.toml...'。"),
        (["run", "a.jsonl", "--rpm", "many"], "错误：'--rpm' 的值无效：'many' 不是有效的数。"),
        (["run", "a.jsonl", "--modl", "m"], "错误：没有选项 '--modl'。（是否想写其中之一："),
        (["answers", "x", "--only", "all"], "错误：'--only' 的值无效：'all' 不在可选值 'done', 'failed' 之中。"),
        (["status", "a", "b"], "错误：多余的参数（b）"),
        (["retry", "x", "--model"], "错误：选项 '--model' 需要一个值。"),
        (["retry", "x", "--kind", "timeou"], "arkbatch: --kind timeou 不是失败种类。是否想写 timeout？种类有："),
    ],
)
def test_a_mistake_in_the_command_line_is_told_in_the_users_language(words, said, monkeypatch, capsys):
    monkeypatch.setenv("ARKBATCH_LANG", "zh")
    assert exit_code_of(words) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(said)


@pytest.mark.parametrize("words", [["prices", "doubao-seed-1-6-250615"], ["providers"]])
def test_headings_are_in_the_users_language(words, monkeypatch, capsys):
    monkeypatch.setenv("ARKBATCH_LANG", "zh")
    assert exit_code_of(words) == 0
    headings = re.split(r" {2,}", capsys.readouterr().out.splitlines()[0])
    assert [each for each in headings if each.isascii()] == []


def test_what_has_no_price_would_have_cost_nothing_that_is_known():
    assert spent_text("1 row without a price", simulated=True) == ""
    assert spent_text("at most 0.50 CNY", simulated=True) == "at most 0.50 CNY, had it been real"

"""Whole runs whose models call tools: every round is a call of its own, and the record has all of the conversation."""

import subprocess
import sys

import orjson
import pytest
from fakes import SCRIPT, FakeTransport, answer, said
from msgspec.structs import replace
from runs import job_of, prompts
from sealed_runs import ran
from sessions import failures, results, scripted, worked
from virtual import run_virtual

from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.engine.session import Session
from arkbatch.estimate.estimate_text import forecast_line
from arkbatch.monitor.observer import Observer
from arkbatch.pricing.billed_usage import decode_billed, spent_of
from arkbatch.reports.cost.cost import read_costs
from arkbatch.reports.status.show import find_rows
from arkbatch.reports.status.show_text import show_text
from arkbatch.simulator.server import Settings, serve

MODULE = '''
import asyncio

async def look(word: str):
    """Look a word up."""
    if word == "bad":
        raise KeyError(word)
    await asyncio.sleep(1.0 if word == "slow" else 0.0)
    return {"word": word}

async def hang():
    await asyncio.sleep(10_000)
'''
ASKED = {"role": "user", "content": "hi"}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def job_with(folder, *rows, module=MODULE, **flags):
    (folder / "tools.py").write_text(module)
    rows = rows or ({"messages": [ASKED]},)
    return job_of(prompts(folder, *rows), tools="tools.py", **{"concurrency": 1, **flags})


def calls(*wanted, usage=USAGE):
    """A reply that calls tools."""
    made = [
        {"id": f"c{place}", "type": "function", "function": {"name": name, "arguments": arguments}}
        for place, (name, arguments) in enumerate(wanted)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": made}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return said({"id": "02", "model": "doubao-x", "choices": [choice], "usage": usage})


LOOK = calls(("look", '{"word": "a"}'))


def saying(*replies):
    transport = FakeTransport(lambda *_: replies[min(len(transport.calls), len(replies)) - 1])
    return transport


def bodies(transport):
    return [orjson.loads(call.body) for call in transport.calls]


def told(body):
    return [message["content"] for message in body["messages"] if message["role"] == "tool"]


def test_the_functions_run_and_the_model_is_asked_on(tmp_path, monkeypatch):
    job = job_with(tmp_path)
    transport = saying(calls(("look", '{"word": "a"}'), ("look", '{"word": "b"}')), LOOK, answer("done"))
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    first, second, third = bodies(transport)
    assert [tool["function"]["name"] for tool in first["tools"]] == ["look", "hang"]
    assert told(second) == ['{"word":"a"}', '{"word":"b"}']
    assert [message["role"] for message in third["messages"]] == [
        "user",
        "assistant",
        *["tool"] * 2,
        "assistant",
        "tool",
    ]
    (line,) = results(job)
    assert line["messages"] == third["messages"]
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "done"


def test_show_tells_what_was_called_and_what_came_back(tmp_path, monkeypatch):
    job = job_with(tmp_path)
    scripted(job, saying(calls(("look", '{"word": "a"}'), ("fly", "")), answer("done")), monkeypatch)
    text = show_text(find_rows(job.run_dir, "1"), job.run_dir)
    lines = [
        '  look({"word":"a"})',
        "  fly({})",
        '  -> {"word":"a"}',
        "  -> error: there is no tool fly; there are look, hang",
    ]
    assert "\n".join(["Tools:", *lines, "Answer"]) in text


def test_every_round_counts_and_none_is_thrown_away(tmp_path, monkeypatch):
    job = job_with(tmp_path)
    summary = scripted(job, saying(LOOK, LOOK, answer()), monkeypatch).summary
    (line,) = results(job)
    assert (line["usage"], line["attempts"]) == ({"input": 30, "output": 15}, 3)
    assert "discarded" not in line
    assert [(call["verdict"], call.get("tokens")) for call in line["calls"]] == [
        ("tools", {"input": 10, "output": 5}),
        ("tools", {"input": 10, "output": 5}),
        ("done", None),
    ]
    assert summary.usage == {"input": 30, "output": 15}


def test_each_round_is_priced_by_its_own_length(tmp_path, monkeypatch):
    """Three calls of 20,000 tokens each stay below the bracket that one of 60,000 would be in."""
    job = job_with(tmp_path, model="doubao-seed-1-6-251015")
    usage = {"prompt_tokens": 20_000, "completion_tokens": 100, "total_tokens": 20_100}
    model = "doubao-seed-1-6-251015"
    body = orjson.loads(calls(("look", '{"word": "a"}'), usage=usage).body) | {"model": model}
    scripted(job, saying(said(body), said(body), answer(usage=usage, model=model)), monkeypatch)
    (line,) = (tmp_path / "a.run/results.jsonl").read_bytes().splitlines()
    spent = spent_of(decode_billed(line))
    assert [each["input"] for each in spent.all_usages] == [20_000] * 3
    assert (spent.discarded, spent.kept) == ((), {"input": 20_000, "output": 100})
    once = job_of(prompts(tmp_path, {"prompt": "x"}, name="b.jsonl"), model=model, run_dir=str(tmp_path / "b.run"))
    scripted(once, saying(answer(usage=usage, model=model)), monkeypatch)
    whole, one = (read_costs([tmp_path / name]).cost.amounts["CNY"] for name in ("a.run", "b.run"))
    assert whole == 3 * one


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (("look", '{"word": '), "error: the arguments are no JSON"),
        (("look", '["a"]'), "error: the arguments are JSON, but no object"),
        (("look", "{}"), "error: look needs word"),
        (("fly", "{}"), "error: there is no tool fly; there are look, hang"),
        (("look", '{"word": "bad"}'), "error: KeyError: 'bad'"),
        (("hang", ""), "error: hang took longer than 60 s"),
    ],
)
def test_what_goes_wrong_is_told_to_the_model_and_logged_without_its_words(tmp_path, monkeypatch, call, text):
    job = job_with(tmp_path)
    transport = saying(calls(call), answer("I see"))
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    assert told(bodies(transport)[1])[0].startswith(text)
    log = (tmp_path / "a.run/run.log").read_text()
    assert f"row 1: tool {call[0]}: " in log
    assert "'bad'" not in log


def test_a_loop_that_does_not_end_fails_the_row_with_all_that_it_used(tmp_path, monkeypatch):
    job = job_with(tmp_path)
    job = replace(job, tools=replace(job.tools, max_rounds=2))
    transport = saying(LOOK)
    assert scripted(job, transport, monkeypatch).summary.failures == {"unfinished": 1}
    (line,) = failures(job)
    assert (line["error"]["code"], len(transport.calls)) == ("max_rounds", 3)
    assert "after 2 rounds" in line["error"]["message"]
    assert line["usage"] == {"input": 30, "output": 15}
    assert len(line["messages"]) == 5
    assert line["request"]["body"]["messages"] == [ASKED]


def test_a_round_that_fails_is_asked_again_from_where_it_stands(tmp_path, monkeypatch):
    """With attempts of its own: two fail before each of two rounds, of three allowed."""
    job = job_with(tmp_path, max_attempts=3)
    error = SCRIPT["server_error"]
    transport = saying(error, error, LOOK, error, error, answer())
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    assert [len(body["messages"]) for body in bodies(transport)] == [1, 1, 1, 3, 3, 3]


def test_a_forced_call_is_forced_once(tmp_path, monkeypatch):
    job = job_with(tmp_path, {"messages": [ASKED], "tool_choice": "required"})
    transport = saying(LOOK, answer())
    scripted(job, transport, monkeypatch)
    assert ["tool_choice" in body for body in bodies(transport)] == [True, False]


def test_a_row_keeps_the_tools_that_it_declares_itself(tmp_path, monkeypatch):
    own = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    job = job_with(tmp_path, {"messages": [ASKED], "tools": own})
    transport = saying(LOOK, answer())
    scripted(job, transport, monkeypatch)
    assert bodies(transport)[1]["tools"] == own
    assert told(bodies(transport)[1]) == ['{"word":"a"}']


def test_without_a_module_the_calls_are_the_answer(tmp_path, monkeypatch):
    job = job_of(prompts(tmp_path, {"prompt": "hi"}))
    transport = saying(LOOK)
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    assert "messages" not in results(job)[0]
    assert len(transport.calls) == 1


def test_the_answer_at_the_end_is_held_against_the_schema(tmp_path, monkeypatch):
    (tmp_path / "s.json").write_text('{"type": "array"}')
    job = job_with(tmp_path, schema="s.json")
    transport = saying(LOOK, answer("no"), answer("[]"))
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    (line,) = results(job)
    assert [call["verdict"] for call in line["calls"]] == ["tools", "invalid_output", "done"]
    assert (line["usage"], line["discarded"]) == ({"input": 30, "output": 15}, {"input": 10, "output": 5})
    spent = spent_of(decode_billed((tmp_path / "a.run/results.jsonl").read_bytes()))
    assert (len(spent.rounds), len(spent.discarded), spent.kept) == (1, 1, {"input": 10, "output": 5})


def test_a_stop_between_two_rounds_keeps_what_was_paid(tmp_path, monkeypatch):
    async def stop(session, work):
        import asyncio

        await asyncio.sleep(0.5)
        session.stop()
        await work

    job = job_with(tmp_path)
    heard = []

    class Hears(Observer):
        def stopping(self, in_flight):
            heard.append(in_flight)

    slow = saying(calls(("look", '{"word": "slow"}')))
    ended = scripted(job, slow, monkeypatch, meanwhile=stop, observer=Hears())
    assert heard == [1]
    assert ended.summary.ending == "stopped"
    (line,) = failures(job)
    assert (line["error"]["kind"], line["error"]["code"]) == ("unfinished", "stopped")
    assert line["usage"] == {"input": 10, "output": 5}
    assert ended.seconds < 3


def test_a_halt_in_a_later_round_keeps_what_was_paid(tmp_path, monkeypatch):
    job = job_with(tmp_path)
    assert scripted(job, saying(LOOK, SCRIPT["overdue"]), monkeypatch).summary.ending == "halted"
    (line,) = failures(job)
    assert (line["error"]["kind"], line["usage"]) == ("billing", {"input": 10, "output": 5})


def test_a_budget_ends_between_two_rounds(tmp_path, monkeypatch):
    job = job_with(tmp_path, {"messages": [ASKED], "max_completion_tokens": 100}, max_tokens=1_500)
    usage = {"prompt_tokens": 1_000, "completion_tokens": 50, "total_tokens": 1_050}
    transport = saying(calls(("look", '{"word": "a"}'), usage=usage), answer())
    summary = scripted(job, transport, monkeypatch).summary
    assert (summary.ending, len(transport.calls)) == ("halted", 1)
    assert failures(job)[0]["usage"] == {"input": 1_000, "output": 50}


def test_an_abandoned_conversation_is_begun_anew_and_recorded_once(tmp_path, monkeypatch):
    async def abandon(session, work):
        import asyncio

        await asyncio.sleep(0.5)
        work.cancel()

    job = job_with(tmp_path)
    scripted(job, saying(calls(("look", '{"word": "slow"}'))), monkeypatch, meanwhile=abandon)
    assert (results(job), [line["interrupted"] for line in failures(job)]) == ([], [True])
    transport = saying(LOOK, answer())
    assert scripted(job, transport, monkeypatch).summary.succeeded == 1
    assert failures(job) == []
    assert [len(body["messages"]) for body in bodies(transport)] == [1, 3]
    assert len(results(job)) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_against_the_simulator_streamed_or_not(tmp_path, stream):
    forced = {"tool_choice": "required"}
    rows = [
        {"messages": [ASKED], **forced},
        {"messages": [{"role": "user", "content": "[[fault:bad_arguments]]"}], **forced},
        {"messages": [{"role": "user", "content": "[[fault:unknown_tool]]"}], **forced},
        {"messages": [{"role": "user", "content": "[[fault:tool_loop]]"}], **forced},
    ]
    module = "def look(word: str):\n    return word\n"
    job = job_with(tmp_path, *rows, stream=stream, module=module, concurrency=4)
    assert worked(job).summary.failures == {"unfinished": 1}
    assert {line["row"]: line["attempts"] for line in results(job)} == {1: 2, 2: 2, 3: 2}
    assert failures(job)[0]["attempts"] == 11
    texts = {line["row"]: line["messages"][-1]["content"] for line in results(job)}
    assert texts[2].startswith("error: the arguments are no JSON")
    assert texts[3].startswith("error: there is no tool no_such_tool")


def test_a_retry_begins_the_conversation_anew_and_adds_what_was_paid(tmp_path):
    job = job_with(
        tmp_path, {"messages": [{"role": "user", "content": "[[fault:tool_loop]]"}], "tool_choice": "required"}
    )
    job = replace(job, tools=replace(job.tools, max_rounds=1))

    async def sessions():
        async with serve(Settings()) as url:
            with OpenRun(replace(job, base_url=url), wall=lambda: 0.0) as run:
                assert (await Session(run).work()).failures == {"unfinished": 1}
        async with serve(Settings()) as url:
            more = replace(job, base_url=url, tools=replace(job.tools, max_rounds=5))
            with RetryRun(more, RetrySelection(changes={"messages": [ASKED]}), wall=lambda: 0.0) as again:
                return await Session(again).work_again(again.rows())

    summary = run_virtual(sessions())
    assert (summary.succeeded, summary.failed) == (1, 0)
    (line,) = results(job)
    failed_with = line["before"][0]["usage"]
    assert line["usage"]["input"] > failed_with["input"] > 0
    assert len(line["before"][0]["calls"]) == 2


def test_another_set_of_functions_is_another_run(tmp_path, monkeypatch):
    job = job_with(tmp_path)
    scripted(job, saying(answer()), monkeypatch)
    changed = replace(job, functions=("look",))
    with pytest.raises(RunChanged, match="tools"), OpenRun(changed, wall=lambda: 0.0):
        pass


def test_a_module_is_found_beside_the_job_file_and_refused_in_one_line(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/mine.py").write_text("import gone_for_good\n")
    prompts(tmp_path / "sub", {"prompt": "a"})
    text = 'input = "in.jsonl"\nmodel = "m"\n[tools]\nmodule = "mine.py"\n'
    (tmp_path / "sub/job.toml").write_text(text)
    with pytest.raises(UsageError, match=r'^sub/job\.toml: tools\.module = "mine\.py", line 1: ModuleNotFoundError'):
        resolve_job("sub/job.toml", {"simulate": True}, {}, tmp_path)
    (tmp_path / "sub/mine.py").write_text("def f(): pass\n")
    assert resolve_job("sub/job.toml", {"simulate": True}, {}, tmp_path).functions == ("f",)
    (tmp_path / "sub/job.toml").write_text('endpoint = "embeddings"\n' + text)
    with pytest.raises(UsageError, match="works for chat and responses"):
        resolve_job("sub/job.toml", {"simulate": True}, {}, tmp_path)


def test_what_a_module_prints_does_not_break_the_summary(tmp_path):
    (tmp_path / "loud.py").write_text(
        "import sys\nprint('at import')\ndef f():\n    print('in a call')\n    sys.stdout.write('and more\\n')\n    return 1\n"
    )
    path = prompts(tmp_path, {"messages": [ASKED], "tool_choice": "required"})
    words = ["run", str(path), "--simulate", "--tools", str(tmp_path / "loud.py"), "--json"]
    done = subprocess.run([sys.executable, "-m", "arkbatch", *words], capture_output=True, text=True, check=False)
    assert orjson.loads(done.stdout)["succeeded"] == 1, done.stderr
    assert "at import" in done.stderr
    assert "in a call" in done.stderr


def test_an_estimate_names_no_ceiling_for_rows_that_may_have_many_calls(tmp_path):
    job = job_with(tmp_path, {"messages": [ASKED], "max_completion_tokens": 10}, model="doubao-seed-1-6-251015")
    assert "in the first round of tools" in forecast_line(job, job.input, 1, 0.0)
    assert "at most" not in forecast_line(job, job.input, 1, 0.0)
    assert "at most" in forecast_line(replace(job, functions=()), job.input, 1, 0.0)


def test_the_example_runs_on_the_simulator(pytestconfig, tmp_path):
    file = pytestconfig.rootpath / "jobs/tools.toml"
    job = resolve_job(str(file), {"simulate": True, "run_dir": str(tmp_path / "a.run")}, {}, tmp_path)
    assert worked(job).summary.succeeded == 8
    talked = [line for line in results(job) if "messages" in line]
    assert len(talked) > 2
    assert not [message for line in talked for message in line["messages"] if "error:" in str(message["content"])]


def test_a_sealed_run_tells_the_results_sealed(tmp_path):
    (tmp_path / "tools.py").write_text("def look(word: str):\n    return 'a secret that nobody reads'\n")
    row = {"messages": [ASKED], "tool_choice": "required"}
    summary, heard = ran(tmp_path, row, tools=str(tmp_path / "tools.py"))[:2]
    assert summary.succeeded == 1
    assert b"role" in heard
    assert b"a secret that" not in heard

"""Exact input counts by Ark's tokenization: in batches, under the job's limits, honest about what could not be counted."""

import asyncio

import orjson
import pytest
from click.testing import CliRunner
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from virtual import run_virtual

from arkbatch.cli import estimate
from arkbatch.core.errors import UsageError
from arkbatch.core.job import Limits, Secret
from arkbatch.core.types import Kind
from arkbatch.estimate import count_tokens as counting
from arkbatch.estimate.count_tokens import count_tokens
from arkbatch.estimate.input_sizes import Kinds, readable_rows
from arkbatch.protocol.endpoints.texts import texts_of
from arkbatch.simulator import tokens
from arkbatch.simulator.server import Counters, Settings, serve

SEED = "doubao-seed-1-6-251015"
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {}}}


@pytest.mark.parametrize(
    ("endpoint", "body", "texts"),
    [
        ("chat", {"messages": [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]}, ["a", "b"]),
        ("batch_chat", {"messages": [{"role": "user", "content": [{"type": "text", "text": "b"}, IMAGE]}]}, ["b"]),
        ("chat", {"messages": [{"role": "user", "content": ""}]}, []),
        ("chat", {"messages": [{"role": "user", "content": "b"}], "tools": [LOOK]}, ["b", '[[{"type":"function"']),
        ("embeddings", {"input": "a"}, ["a"]),
        ("embeddings", {"input": ["a", "b"]}, ["a", "b"]),
        ("multimodal_embeddings", {"input": [{"type": "text", "text": "a"}, IMAGE], "instructions": "i"}, ["a", "i"]),
        ("tokenization", {"text": ["a", "b"]}, ["a", "b"]),
    ],
)
def test_the_texts_of_a_row_are_those_that_its_model_reads(endpoint, body, texts):
    found = texts_of(endpoint, body)
    assert len(found) == len(texts)
    assert all(one.startswith(other) for one, other in zip(found, texts, strict=True))


def counted(job, rows=None, **settings):
    """What was told of each row, how it went, what the simulator saw, and the virtual seconds."""
    told, counters = {}, Counters()

    async def main():
        loop = asyncio.get_running_loop()
        async with serve(Settings(**settings), counters=counters) as url:
            ready, began = replace(job, base_url=url, api_key=Secret("any")), loop.time()
            tell = lambda row, tokens: told.setdefault(row.number, tokens)  # noqa: E731
            found = await count_tokens(ready, rows or readable_rows(job), tell, loop.time, lambda: 0.5)
            return found, loop.time() - began

    found, seconds = run_virtual(main())
    return told, found, counters, seconds


def asked(path, **flags):
    return replace(job_of(path, model=SEED), **flags)


def test_each_row_has_the_tokens_of_its_texts_and_many_share_a_call(tmp_path):
    told, found, _, _ = counted(asked(prompts(tmp_path, *numbered(200))))
    assert told == {number: tokens.of_text(f"question {number}") for number in range(1, 201)}
    assert (found.rows, found.failed, found.halt) == (200, 0, None)
    assert found.calls == -(-200 // counting.TEXTS)


def test_rows_without_a_text_need_no_call(tmp_path):
    path = prompts(tmp_path, {"messages": [{"role": "user", "content": [IMAGE]}]})
    told, found, _, _ = counted(asked(path))
    assert (told, found.calls) == ({1: 0}, 0)


def test_a_call_asks_about_one_model(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "x"}], "model": f"m-{n % 3}"} for n in range(30)]
    told, found, _, _ = counted(asked(prompts(tmp_path, *rows)))
    assert (len(told), found.calls) == (30, 3)


def test_many_models_are_not_all_kept_waiting_for_a_full_call(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "x"}], "model": f"m-{n}"} for n in range(200)]
    told, found, _, _ = counted(asked(prompts(tmp_path, *rows)))
    assert (len(told), found.calls) == (200, 200)


def test_long_texts_fill_a_call_sooner(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "CHARACTERS", 100)
    told, found, _, _ = counted(asked(prompts(tmp_path, *({"prompt": "x" * 60} for _ in range(10)))))
    assert (len(told), found.calls) == (10, 5)


def test_a_call_that_fails_for_a_while_is_made_again(tmp_path):
    path = prompts(tmp_path, *numbered(10), {"prompt": "[[fault:server_error:2]]"})
    told, found, _, _ = counted(asked(path))
    assert None not in told.values()
    assert (found.failed, found.calls) == (0, 3)


def test_rows_that_cannot_be_counted_are_told_as_such_and_the_others_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "TEXTS", 1)
    path = prompts(tmp_path, *numbered(3), {"prompt": "[[fault:server_error]]"}, *numbered(3))
    told, found, _, _ = counted(asked(path))
    assert [number for number, tokens in told.items() if tokens is None] == [4]
    assert (found.rows, found.failed, found.cause.kind, found.halt) == (7, 1, Kind.SERVER_ERROR, None)


def test_the_limits_of_the_job_hold(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "TEXTS", 1)
    job = asked(prompts(tmp_path, *numbered(60)), limits=Limits(concurrency=4, rpm=30))
    told, _, counters, seconds = counted(job, rpm=30)
    assert len(told) == 60
    assert counters.most_in_flight <= 4
    assert set(counters.outcomes) == {"ok"}
    assert seconds > 60


def test_a_model_that_has_no_tokenizer_ends_the_count_with_the_reason(tmp_path):
    job = replace(asked(prompts(tmp_path, *numbered(10))), model="unknown-model")
    _, found, _, _ = counted(job)
    assert found.halt.kind is Kind.NOT_FOUND


def test_a_service_that_is_away_ends_the_count_within_minutes(tmp_path):
    job = asked(prompts(tmp_path, *numbered(1000)), limits=Limits(concurrency=8))
    _, found, _, seconds = counted(job, faults={"server_error": 1.0})
    assert found.halt is not None or found.failed == 1000
    assert seconds < 600


def test_memory_holds_the_calls_under_way_and_not_the_rows(tmp_path):
    """Rows are pulled as calls go out: never more of them than the calls in flight, and one that is being filled."""
    pulled, most = [], 0

    def rows(job):
        nonlocal most
        for row in readable_rows(job):
            pulled.append(row.number)
            yield row

    job = asked(prompts(tmp_path, *numbered(2000)), limits=Limits(concurrency=2))
    told = []

    async def main():
        nonlocal most

        def tell(row, _):
            nonlocal most
            most = max(most, len(pulled) - len(told))
            told.append(row.number)

        async with serve(Settings(latency=0.1)) as url:
            ready = replace(job, base_url=url, api_key=Secret("any"))
            await count_tokens(ready, rows(job), tell, lambda: 0.0, lambda: 0.5)

    run_virtual(main())
    assert len(told) == 2000
    assert most <= 4 * counting.TEXTS


def test_rows_that_were_not_counted_go_by_the_rule_as_it_is_off_in_those_that_were(tmp_path):
    path = prompts(tmp_path, *numbered(10), {"prompt": "y" * 1000})
    kinds = Kinds()
    for row in kinds.wanted(readable_rows(job_of(path))):
        kinds.add(row, 2 * 0.3 * len(row.body["messages"][0]["content"]) if row.number < 11 else None)
    (inputs,) = kinds.found.values()
    groups = list(inputs.left(0, 1).groups())
    assert max(group.tokens for group in groups) == pytest.approx(2 * 0.3 * 1000)
    assert sum(group.rows for group in groups) == 11


def invoke(path, *words):
    where = [str(path), "--model", SEED, "--set", "max_completion_tokens=800", "--tokenize", *words]
    return CliRunner().invoke(estimate.command, where, standalone_mode=False, catch_exceptions=False)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr("arkbatch.cli.session.SIMULATED_LATENCY", 0.0)


@pytest.mark.usefixtures("quick")
def test_the_estimate_counts_every_row_and_says_how(tmp_path):
    path = prompts(tmp_path, *({"prompt": "x " * n} for n in range(1, 101)))
    said = invoke(path, "--simulate", "--json")
    (found,) = orjson.loads(said.stdout)
    exact = sum(tokens.of_text("x " * n) for n in range(1, 101))
    assert found["estimate"]["input"] == {"low": exact, "expected": exact + 4000, "high": exact + 10_000}
    assert "Counted 100 rows by Ark's tokenization, in 2 calls." in said.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.usefixtures("quick")
def test_with_a_sample_the_input_is_known_almost_exactly(tmp_path):
    """What is put around a request shows in the sample, and the texts are counted: hardly anything is left to guess."""
    path = prompts(tmp_path, *({"prompt": "蓝天 why 123 " * (n % 50 + 1)} for n in range(200)))
    said = invoke(path, "--simulate", "--sample", "20", "--json")
    (found,) = orjson.loads(said.stdout.splitlines()[-1])
    assert said.stderr.count("Simulated:") == 1
    assert found["estimate"]["sampled"] == 20
    each = [tokens.of_text("蓝天 why 123 " * (n % 50 + 1)) for n in range(200)]
    around = (found["estimate"]["input"]["expected"] - sum(each)) / 200
    assert 60 < around < 100  # the same for each


@pytest.mark.usefixtures("quick")
def test_rows_that_could_not_be_counted_are_named_with_the_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(counting, "TEXTS", 1)
    path = prompts(tmp_path, *numbered(5), {"prompt": "[[fault:server_error]]"})
    said = invoke(path, "--simulate", "--max-attempts", "1")
    assert "Counted 5 rows" in said.stderr
    assert "1 row could not be counted (server_error" in said.stderr
    assert "1 of 6 rows by characters" in said.stdout


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--base-url", "http://127.0.0.1:9/v1"], "asks Ark's tokenizer, which http://127.0.0.1:9/v1 is not"),
        (["--simulate", "--encrypt"], "would send the prompts in clear"),
        (["--simulate", "--lane", "batch", "--model", "ep-bi-1"], "makes online calls, which ep-bi-1 does not take"),
    ],
)
def test_what_is_no_job_for_arks_tokenizer_is_refused_in_one_line(tmp_path, words, reason):
    with pytest.raises(UsageError, match=reason) as refused:
        invoke(prompts(tmp_path, *numbered(3)), *words)
    assert "\n" not in str(refused.value)


@pytest.mark.usefixtures("quick")
def test_a_refused_count_is_a_refused_estimate(tmp_path):
    with pytest.raises(UsageError, match="the tokens could not be counted: not_found"):
        invoke(prompts(tmp_path, *numbered(3)), "--simulate", "--model", "unknown-model")


def test_the_command_that_runs_it_counts_nothing():
    words = ["estimate", "a.jsonl", "--sample", "20", "--tokenize", "--model", "m"]
    assert estimate._run("a.jsonl", words) == "arkbatch run a.jsonl --model m"


def test_an_input_that_cannot_be_read_is_told_as_it_is(tmp_path):
    def rows():
        yield from ()
        raise UsageError("it is no text")

    with pytest.raises(UsageError, match="it is no text"):
        run_virtual(count_tokens(job_of(prompts(tmp_path, {"prompt": "a"})), rows(), lambda *_: None, lambda: 0.0))

"""Whole sessions whose rows of embeddings go together in calls."""

import asyncio

import orjson
import pytest
from fakes import SCRIPT, FakeTransport, refusal, said
from msgspec.structs import replace
from runs import job_of, prompts
from sessions import failures, results, scripted, worked
from virtual import run_virtual

from arkbatch.core.job_sections import Embeddings, RetryPolicy
from arkbatch.engine import periodic_sync as durable
from arkbatch.engine.retry_run import RetryRun, RetrySelection
from arkbatch.engine.session import Session
from arkbatch.simulator.server import Counters, Settings, serve

MODEL = "doubao-embedding-large-text-250515"


@pytest.fixture(autouse=True)
def _syncs_are_rare(monkeypatch):
    monkeypatch.setattr(durable, "SYNC_SECONDS", 120.0)


def job(folder, *texts, pack="auto", **flags):
    rows = [{"custom_id": f"t-{number}", "input": text} for number, text in enumerate(texts, 1)]
    made = job_of(prompts(folder, *rows), model=MODEL, endpoint="embeddings", set=("dimensions=64",), **flags)
    return replace(made, embeddings=Embeddings(pack=pack))


def numbers(lines):
    return sorted(line["row"] for line in lines)


def vectors(ours):
    return {line["row"]: line["response"]["body"]["data"] for line in results(ours)}


def usage(lines):
    return sum(line["usage"].get("input", 0) for line in lines)


def test_each_row_has_the_vectors_that_it_has_alone_in_a_quarter_of_the_calls(tmp_path):
    (tmp_path / "alone").mkdir()
    texts = [f"text {number}" for number in range(1, 41)]
    alone, ours = job(tmp_path / "alone", *texts, pack=1), job(tmp_path, *texts)
    one_by_one, together = worked(alone), worked(ours)
    assert vectors(ours) == vectors(alone)
    assert (one_by_one.counters.calls, together.counters.calls) == (40, 10)
    assert usage(results(ours)) == together.counters.usage["input"] == together.summary.usage["input"]
    assert all(line["response"]["body"]["usage"]["prompt_tokens"] == line["usage"]["input"] for line in results(ours))


def test_the_row_for_which_a_call_is_refused_fails_alone(tmp_path):
    texts = [f"text {number}" for number in range(1, 17)]
    texts[5] += " [[fault:refuse]]"
    ours = job(tmp_path, *texts, pack=8)
    ended = worked(ours)
    assert (numbers(results(ours)), numbers(failures(ours))) == ([*range(1, 6), *range(7, 17)], [6])
    (failed,) = failures(ours)
    assert (failed["error"]["code"], failed["request"]["body"]["input"]) == ("InvalidParameter", texts[5])
    assert (failed["attempts"], len(failed["calls"]), ended.counters.calls) == (4, 4, 2 + 2 + 2 + 2)
    assert len({call["id"] for line in [*results(ours), *failures(ours)] for call in line["calls"]}) == 8


def test_where_each_row_is_refused_the_run_halts_and_leaves_them_undone(tmp_path):
    ours = job(tmp_path, *(f"text {number} [[fault:refuse]]" for number in range(1, 61)))
    ended = worked(ours)
    assert (ended.summary.ending, results(ours), failures(ours)) == ("halted", [], [])


@pytest.mark.parametrize("fault", ["server_error:2", "drop_inside:1", "garbled:1", "no_choices:1", "rate_rpm:3"])
def test_a_passing_fault_strikes_all_of_a_call_and_none_is_lost(tmp_path, fault):
    texts = [f"text {number}" for number in range(1, 9)]
    texts[2] += f" [[fault:{fault}]]"
    ours = job(tmp_path, *texts)
    worked(ours)
    assert (numbers(results(ours)), failures(ours)) == (list(range(1, 9)), [])


def test_a_call_that_fails_for_ever_is_taken_apart_too(tmp_path):
    texts = ["a", "b", "c [[fault:no_choices]]", "d"]
    ours = job(tmp_path, *texts, max_attempts=2)
    ended = worked(ours)
    assert (numbers(results(ours)), numbers(failures(ours))) == ([1, 2, 4], [3])
    assert usage([*results(ours), *failures(ours)]) == ended.counters.usage["input"]


def test_a_stop_leaves_whole_rows_and_the_rest_is_done_on_resuming(tmp_path):
    ours = job(tmp_path, *(f"text {number}" for number in range(1, 81)), concurrency=2)

    async def stop(session, _):
        await asyncio.sleep(3)
        session.stop()

    first = worked(ours, meanwhile=stop, latency=1.0)
    assert 0 < first.summary.succeeded < 80
    second = worked(ours)
    assert numbers(results(ours)) == list(range(1, 81))
    assert first.counters.calls + second.counters.calls == 20


def test_rows_of_other_endpoints_go_alone_beside_them(tmp_path):
    rows = [{"input": "a"}, {"input": "b"}, {"messages": [{"role": "user", "content": "c"}]}, {"input": "d"}]
    path = prompts(tmp_path, *rows, b"{oops\n", {"input": ["e", "f"]})
    ours = replace(job_of(path, model=MODEL, endpoint="embeddings"), embeddings=Embeddings(pack=3))
    ended = worked(ours)
    assert (numbers(results(ours)), numbers(failures(ours)), ended.counters.calls) == ([1, 2, 3, 4, 6], [5], 4)
    by_row = {line["row"]: line["response"]["body"] for line in results(ours)}
    assert len(by_row[6]["data"]) == 2


def test_every_row_of_a_call_leads_to_it(tmp_path):
    ours = job(tmp_path, "a", "b", "c", "d")
    worked(ours)
    assert len({orjson.dumps(line["calls"][0]["id"]) for line in results(ours)}) == 1
    assert len({line["response"]["request_id"] for line in results(ours)}) == 1


def test_rows_that_all_name_a_model_of_their_own_which_is_not_there_end_the_run(tmp_path, monkeypatch):
    rows = [{"input": f"text {number}", "model": "gone"} for number in range(1, 101)]
    ours = replace(
        job_of(prompts(tmp_path, *rows), model=MODEL, endpoint="embeddings", concurrency=4),
        embeddings=Embeddings(pack=4),
    )
    transport = FakeTransport(lambda *_: refusal(404, "InvalidEndpointOrModel.NotFound", "no such model"))
    ended = scripted(ours, transport, monkeypatch)
    assert (ended.summary.ending, failures(ours)) == ("halted", [])
    assert len(transport.calls) < 12


def test_a_call_that_waited_too_long_for_the_rate_is_not_taken_apart(tmp_path, monkeypatch):
    ours = replace(job(tmp_path, *"abcdefgh", pack=8), retry=RetryPolicy(patience=60.0))
    transport = FakeTransport(lambda *_: SCRIPT["rate_rpm"])
    assert scripted(ours, transport, monkeypatch).summary.failures == {"rate_limited": 8}
    assert len({call.body for call in transport.calls}) == 1


@pytest.mark.parametrize("seconds", [0.5, 8.0])
def test_a_stop_between_two_halves_forgets_no_bill(tmp_path, monkeypatch, seconds):
    """The whole was billed and discarded; then one half is under way, and the other waits."""
    ours = job(tmp_path, *"abcdefgh", pack=8, max_attempts=1, concurrency=1)
    transport = FakeTransport(
        lambda *_: said({"id": "02", "model": "e", "data": [], "usage": {"prompt_tokens": 80}}, seconds=1.0)
    )

    async def stop(session, _):
        await asyncio.sleep(seconds)
        session.stop()

    scripted(ours, transport, monkeypatch, meanwhile=stop)
    assert usage(failures(ours)) == 80 * len(transport.calls)


def vectors_for(call):
    texts = orjson.loads(call.body)["input"]
    count = 1 if isinstance(texts, str) else len(texts)
    data = [{"object": "embedding", "index": index, "embedding": [0.5] * 64} for index in range(count)]
    return said({"id": "02", "model": "e", "data": data, "usage": {"prompt_tokens": count, "total_tokens": count}})


def test_a_pack_that_was_sent_ahead_in_an_outage_is_halved_though_the_workers_have_ended(tmp_path, monkeypatch):
    """Nobody but who sent the pack is left to send its halves."""

    def script(call, attempt):
        if asyncio.get_running_loop().time() < 1_030:
            return SCRIPT["bad_gateway"]
        return refusal(400, "InvalidParameter", seconds=50) if b'"text 28"' in call.body else vectors_for(call)

    ours = job(tmp_path, *(f"text {number}" for number in range(1, 41)), pack=4, concurrency=4)
    summary = scripted(ours, FakeTransport(script), monkeypatch).summary
    assert (summary.ending, summary.left) == ("finished", 0)
    assert (len(results(ours)), numbers(failures(ours))) == (39, [28])


def test_failed_rows_go_together_again(tmp_path):
    ours = job(tmp_path, *(f"text {number}" for number in range(1, 9)))
    worked(ours, faults={"refuse": 1.0})
    assert numbers(failures(ours)) == list(range(1, 9))
    counters = Counters()

    async def main():
        async with serve(Settings(), counters=counters) as url:
            with RetryRun(replace(ours, base_url=url), RetrySelection(), wall=lambda: 0.0) as again:
                return await Session(again).work_again(again.rows())

    run_virtual(main())
    assert (numbers(results(ours)), failures(ours), counters.calls) == (list(range(1, 9)), [], 2)
    assert {line["attempts"] for line in results(ours)} == {4}

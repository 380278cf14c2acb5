"""Shards that are worked off one by one, killed and taken over come out as one local run."""

import asyncio
from pathlib import Path

import orjson
import pytest
from clusters import in_cluster, planned, run_one
from runs import BEGAN, job_of, numbered, prompts
from sessions import lines_of, worked

from arkbatch.cluster.merge import merge, set_shards_aside
from arkbatch.cluster.shard_attempt import begin_attempt
from arkbatch.journal.run_directory import FAILURES, RESULTS
from arkbatch.journal.shard_files import ShardDirectory

CHANGING = {"id", "calls", "seconds", "finished_at", "response"}


def comparable(lines):
    """Records without what differs from call to call, in input order."""
    kept = [{key: value for key, value in line.items() if key not in CHANGING} for line in lines]
    return sorted(kept, key=lambda line: line["row"])


def content(line):
    return line["response"]["body"]["choices"][0]["message"]["content"]


@pytest.fixture
def job(tmp_path):
    rows = [*numbered(30), b"\n", b"{oops\n", *({"prompt": f"nameless {n}"} for n in range(10))]
    return job_of(prompts(tmp_path, *rows))


def run_all(job, shards, **settings):
    async def main(url, counters):
        for shard in shards.read_plan().all_shards():
            result = await run_one(job, url, shards, shard)
            assert result.is_finished

    return in_cluster(main, **settings)[1]


def test_a_shard_of_rows_that_cannot_be_sent_or_of_empty_lines_is_finished_as_in_a_local_run(tmp_path):
    rows = [*numbered(30), *(b'{"nothing": 1}\n' for _ in range(150)), *(b"\n" for _ in range(900)), *numbered(3)]
    job = job_of(prompts(tmp_path, *rows))
    shards = planned(job, Path(job.run_dir))
    run_all(job, shards)
    merged = merge(Path(job.run_dir), lambda: BEGAN)
    assert merged.is_complete
    assert (merged.done, merged.failed) == (33, 150)


def test_the_merged_run_holds_the_records_of_a_local_run(job, tmp_path):
    local = job_of(Path(job.input), run_dir=str(tmp_path / "local.run"))
    worked(local)
    shards = planned(job, Path(job.run_dir))
    assert shards.read_plan().count > 4
    run_all(job, shards)
    merged = merge(Path(job.run_dir), lambda: BEGAN)
    assert merged.is_complete
    assert merged.rows == 41
    for name in (RESULTS, FAILURES):
        ours, theirs = lines_of(Path(job.run_dir), name), lines_of(Path(local.run_dir), name)
        assert comparable(ours) == comparable(theirs)
        assert [line["row"] for line in ours] == sorted(line["row"] for line in ours)
    assert len({line["id"] for line in lines_of(Path(job.run_dir), RESULTS)}) == 40
    assert merged.doubled_rows == 0
    assert merged.billed == merged.delivered


def test_merging_twice_gives_equal_bytes(job):
    run = Path(job.run_dir)
    run_all(job, planned(job, run))
    merge(run, lambda: BEGAN)
    names = (RESULTS, FAILURES, "run.json", "usage.json", "shards/merged.json")
    first = [(run / name).read_bytes() for name in names]
    for name in (RESULTS, FAILURES, "usage.json", "ledger.bin", "shards/merged.json"):
        (run / name).unlink()
    merge(run, lambda: BEGAN)
    assert [(run / name).read_bytes() for name in names] == first


def test_a_shard_that_was_abandoned_goes_on_where_it_stood_and_sends_nothing_twice(job):
    run = Path(job.run_dir)
    shards = planned(job, run, shard_bytes=1_000)
    shard = next(iter(shards.read_plan().all_shards()))

    async def main(url, counters):
        from msgspec.structs import replace

        slow = replace(job, limits=replace(job.limits, concurrency=2))
        first = asyncio.ensure_future(run_one(slow, url, shards, shard))
        await asyncio.sleep(4.6)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        recorded = len(lines_of(shards.attempt_path(0, 1), RESULTS))
        assert recorded
        result = await run_one(job, url, shards, shard)
        assert result.is_finished
        assert result.attempt == 2
        return recorded

    recorded, counters = in_cluster(main, latency=1.0)
    merged = merge(run, lambda: BEGAN)
    sent = [line["custom_id"] for line in lines_of(run, RESULTS)]
    assert len(sent) == len(set(sent))
    assert recorded < len(sent)
    assert counters.outcomes.total() <= len(sent) + 2  # those in flight at the end of the first attempt
    assert merged.finished == 1


def test_what_a_worker_wrote_that_was_given_up_for_dead_is_counted_and_not_delivered_twice(job):
    run = Path(job.run_dir)
    shards = planned(job, run, shard_bytes=10_000)
    shard = next(iter(shards.read_plan().all_shards()))

    async def main(url, counters):
        await asyncio.gather(run_one(job, url, shards, shard), run_one(job, url, shards, shard))

    _, counters = in_cluster(main)
    merged = merge(run, lambda: BEGAN)
    rows = [line["row"] for line in lines_of(run, RESULTS)]
    assert len(rows) == len(set(rows)) == 40
    assert merged.doubled_rows == 40
    assert counters.outcomes.total() == 80
    assert merged.billed == {meter: 2 * count for meter, count in merged.delivered.items()}
    usage = orjson.loads((run / "usage.json").read_bytes())
    assert usage["discarded"] == merged.delivered


def test_a_local_session_goes_on_where_the_shards_stand(job):
    run = Path(job.run_dir)
    shards = planned(job, run)

    async def some(url, counters):
        for shard in list(shards.read_plan().all_shards())[1::2]:
            await run_one(job, url, shards, shard)

    in_cluster(some)
    merged = merge(run, lambda: BEGAN)
    assert 0 < merged.left < 41
    assert not merged.is_complete
    set_shards_aside(run, lambda: BEGAN)
    ended = worked(job)
    assert ended.summary.left == 0
    assert ended.counters.outcomes.total() <= merged.left
    assert len({line["row"] for line in lines_of(run, RESULTS)}) == 40


def test_an_input_that_changed_since_the_plan_is_refused(job):
    shards = planned(job, Path(job.run_dir))
    with open(job.input, "ab") as file:
        file.write(b'{"prompt": "more"}\n')
    with pytest.raises(Exception, match="changed since the run was planned"):
        begin_attempt(shards, next(iter(shards.read_plan().all_shards())))


def test_two_processes_never_get_the_same_attempt(tmp_path):
    shards = ShardDirectory(tmp_path / "a.run")
    assert [shards.claim_number(3, 1) for _ in range(4)] == [1, 2, 3, 4]

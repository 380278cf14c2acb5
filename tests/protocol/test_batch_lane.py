"""The batch lane: other paths, other ids, calls that are held open for days, and a line that is often full."""

import asyncio
import socket

import orjson
import pytest
from aiohttp import web
from runs import numbered, prompts
from virtual import run_virtual

from arkbatch.api.jobs import arun
from arkbatch.config.resolve import resolve_job
from arkbatch.core.calls import Call
from arkbatch.core.errors import JobError, RunChanged, UsageError
from arkbatch.core.job_sections import Timeouts
from arkbatch.core.row import Row
from arkbatch.core.secret import Secret
from arkbatch.rows.parse import RowReader
from arkbatch.simulator.server import Counters, Settings, serve
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

BATCH_ID = "ep-bi-20260101000000-abcde"
ONLINE_ID = "ep-20260101000000-abcde"
KEY = {"ARK_API_KEY": "k"}
DAY = 86_400


def job_of(path, **flags):
    return resolve_job(str(path), {"model": BATCH_ID, "lane": "batch", **flags}, KEY, path.parent)


def ran(folder, rows, settings=(), **flags):
    counters = Counters()

    async def main():
        path = prompts(folder, *rows)
        async with serve(Settings(**dict(settings)), counters=counters) as url:
            return await arun(job_of(path, base_url=url, **flags)), asyncio.get_running_loop().time() - 1000

    return *run_virtual(main()), counters


def test_rows_go_to_the_batch_lane_and_their_records_say_so(tmp_path):
    rows = [
        {"prompt": "a"},
        {"input": ["a", "b"]},
        {"custom_id": "c", "url": "/v1/chat/completions", "body": {"messages": [{"role": "user", "content": "x"}]}},
    ]
    summary, _, _ = ran(tmp_path, rows)
    assert (summary.succeeded, summary.failed) == (3, 0)
    lines = map(orjson.loads, (tmp_path / "in.run/results.jsonl").read_bytes().splitlines())
    assert sorted(line["endpoint"] for line in lines) == ["batch_chat", "batch_chat", "batch_embeddings"]


def test_a_line_that_is_often_full_is_waited_out(tmp_path):
    """Four slots of some five minutes each for forty rows; who finds the line full is told nothing."""
    settings = {"batch_hold": 300.0, "batch_slots": 4, "batch_queue": 8}
    summary, seconds, counters = ran(tmp_path, numbered(40), settings, concurrency=30)
    assert (summary.succeeded, summary.failed) == (40, 0)
    assert seconds > 1200
    assert counters.outcomes["ServerOverloaded"] < seconds  # there is a floor under each delay


def test_a_pause_that_the_service_asks_for_is_kept_and_no_attempt_is_spent(tmp_path):
    settings = {"batch_hold": 60.0, "batch_slots": 2, "batch_queue": 0, "batch_retry_after": 30}
    summary, _, counters = ran(tmp_path, numbered(20), settings, concurrency=8, max_attempts=1)
    assert (summary.succeeded, summary.failed) == (20, 0)
    assert counters.outcomes["ServerOverloaded"] < 400


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"model": ONLINE_ID}, "is an endpoint for online calls; the batch lane takes batch endpoints"),
        ({"lane": "online"}, 'is a batch endpoint; it is called with lane = "batch"'),
        ({"stream": True}, "does not stream"),
        ({"base_url": "https://api.openai.com/v1"}, r"Ark's own, and https://api\.openai\.com"),
    ],
)
def test_what_is_on_the_wrong_lane_is_refused_before_the_first_call(tmp_path, flags, said):
    with pytest.raises(UsageError, match=said):
        resolve_job(
            str(prompts(tmp_path, {"prompt": "a"})),
            {"model": BATCH_ID, "lane": "batch", **flags},
            KEY | {"OPENAI_API_KEY": "k"},
            tmp_path,
        )


@pytest.mark.parametrize(
    ("lane", "row", "said"),
    [
        ("batch", {"model": ONLINE_ID}, "online calls"),
        ("batch", {"stream": True}, "does not stream"),
        ("online", {"model": BATCH_ID}, "batch endpoint"),
    ],
)
def test_so_is_a_row(tmp_path, lane, row, said):
    path = prompts(tmp_path, {"prompt": "a", **row})
    read = RowReader(job_of(path, lane=lane, model="m")).read_row(1, 0, path.read_bytes())
    assert not isinstance(read, Row)
    assert said in read.reason


def test_a_line_of_a_batch_file_for_the_other_lane_says_which_flag_is_missing(tmp_path):
    path = prompts(
        tmp_path,
        {
            "custom_id": "a",
            "url": "/api/v3/batch/chat/completions",
            "body": {"messages": [{"role": "user", "content": "x"}]},
        },
    )
    assert "--lane batch" in RowReader(job_of(path, lane="online", model="m")).read_row(1, 0, path.read_bytes()).reason
    assert RowReader(job_of(path)).read_row(1, 0, path.read_bytes()).endpoint == "batch_chat"


def test_what_is_left_out_suits_the_lane_and_what_is_said_stands(tmp_path):
    path = prompts(tmp_path, {"prompt": "a"})
    job = job_of(path)
    assert (job.limits.concurrency, job.timeouts.read, job.retry.patience) == (1000, 3 * DAY, 7 * DAY)
    assert job.timeouts.connect == 10.0  # a dead host is not waited for
    job = job_of(path, concurrency=7, timeout=60)
    assert (job.limits.concurrency, job.timeouts.read) == (7, 60)


def test_defaults_of_the_job_are_meant_for_its_rows_on_either_lane(tmp_path):
    path = prompts(tmp_path, {"prompt": "a"})
    job = job_of(path, set=["temperature=0"])
    assert RowReader(job).read_row(1, 0, path.read_bytes()).body["temperature"] == 0


def test_a_run_does_not_change_its_lane_unless_that_is_meant(tmp_path):
    ran(tmp_path, [{"prompt": "a"}], model="m", settings={"lanes": False})
    with pytest.raises(RunChanged, match="lane"):
        ran(tmp_path, [{"prompt": "a"}, {"prompt": "b"}], model="m", lane="online", settings={"lanes": False})


def test_a_held_connection_shows_signs_of_life():
    seen = []

    async def main():
        async def answer(_):
            return web.json_response({})

        app = web.Application()
        app.router.add_post("/batch/chat/completions", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        async with open_transport(url, ApiKey(Secret("k")), Timeouts(), 4) as transport:
            await transport.send(Call("c", "batch_chat", "/batch/chat/completions", b"{}"))
            for _, held in transport._posts._kept._waiting:
                made = held.transport.get_extra_info("socket")
                seen.append(made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        await runner.cleanup()

    run_virtual(main())
    assert seen == [1]


def test_a_job_file_may_say_it_all(tmp_path):
    prompts(tmp_path, {"prompt": "a"})
    (tmp_path / "job.toml").write_text(f'input = "in.jsonl"\nmodel = "{BATCH_ID}"\nlane = "batch"\nstream = true\n')
    with pytest.raises(JobError, match="does not stream"):
        resolve_job(str(tmp_path / "job.toml"), {}, KEY, tmp_path)

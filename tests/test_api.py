import asyncio

import orjson
import pytest
from msgspec.structs import replace
from runs import numbered, prompts
from virtual import run_virtual

import arkbatch
from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.job import Secret
from arkbatch.simulator.server import Settings, serve


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("ARK_API_KEY", "ARK_BASE_URL", "ARK_MODEL", "OPENAI_API_KEY", "OPENAI_BASE_URL", "MODEL_NAME"):
        monkeypatch.delenv(name, raising=False)


def load(folder, count=5, **flags):
    path = prompts(folder, *numbered(count))
    return arkbatch.load_job(path, **({"model": "m", "base_url": "http://127.0.0.1:9/v1"} | flags))


def against_simulator(job, observer=None, **how):
    async def main():
        async with serve(Settings()) as url:
            return await arkbatch.arun(replace(job, base_url=url, api_key=Secret("k")), observer, **how)

    return run_virtual(main())


def test_a_job_runs_and_its_results_are_read(tmp_path):
    summary = against_simulator(load(tmp_path))
    assert (summary.ending, summary.succeeded, summary.exit_code) == ("finished", 5, 0)
    assert [line["custom_id"] for line in arkbatch.iter_results(summary.run_dir)] == [f"task-{n}" for n in range(1, 6)]


def test_running_it_again_sends_nothing(tmp_path):
    job = load(tmp_path)
    against_simulator(job)

    async def again():
        run = orjson.loads((tmp_path / "in.run" / "run.json").read_bytes())
        return await arkbatch.arun(replace(job, base_url=run["asked"]["base_url"]))

    assert run_virtual(again()).ending == "nothing left"


def test_what_is_said_to_be_meant_is_passed_on(tmp_path):
    job = load(tmp_path)
    against_simulator(job)
    with pytest.raises(RunChanged):
        against_simulator(job)
    assert against_simulator(job, mixed=True).ending == "nothing left"
    prompts(tmp_path, *reversed(numbered(5)))
    with pytest.raises(RunChanged):
        against_simulator(job, mixed=True)
    assert against_simulator(job, mixed=True, rebase=True).succeeded == 5


def test_an_observer_hears_the_session(tmp_path):
    class Counts(arkbatch.Observer):
        count = 0

        def recorded(self, outcome):
            self.count += 1

    observer = Counts()
    against_simulator(load(tmp_path), observer)
    assert observer.count == 5


def test_run_works_without_a_loop_and_failed_rows_do_not_raise(tmp_path):
    prompts(tmp_path, b"{bad\n")
    job = arkbatch.load_job(tmp_path / "in.jsonl", model="m", base_url="http://127.0.0.1:9/v1")
    summary = arkbatch.run(job)
    assert (summary.failed, summary.exit_code) == (1, 3)


def test_run_inside_a_loop_says_what_to_do(tmp_path):
    job = load(tmp_path)

    async def notebook():
        arkbatch.run(job)

    with pytest.raises(UsageError, match=r"await arkbatch\.arun"):
        asyncio.run(notebook())


def test_a_simulated_job_is_refused_where_no_simulator_is(tmp_path):
    with pytest.raises(UsageError, match="arkbatch run --simulate"):
        arkbatch.run(load(tmp_path, simulate=True))


def test_the_public_names_are_there_and_no_others():
    for name in arkbatch.__all__:
        assert getattr(arkbatch, name)
    with pytest.raises(AttributeError):
        arkbatch.nothing  # noqa: B018

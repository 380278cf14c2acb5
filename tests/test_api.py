import asyncio
import signal

import orjson
import pytest
from msgspec.structs import replace
from runs import numbered, prompts
from virtual import run_virtual

import arkbatch
from arkbatch.core.errors import RunChanged, UsageError
from arkbatch.core.secret import Secret
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
    prompts(tmp_path, b"{bad\n", *numbered(1))
    job = arkbatch.load_job(tmp_path / "in.jsonl", model="m", simulate=True)
    summary = arkbatch.run(job)
    assert (summary.failed, summary.exit_code) == (1, 3)


def test_run_works_inside_a_running_loop_as_in_a_notebook(tmp_path):
    job = load(tmp_path, simulate=True)

    async def notebook():
        return arkbatch.run(job, progress=False)

    assert asyncio.run(notebook()).succeeded == 5


def test_a_simulated_job_brings_its_simulator(tmp_path):
    summary = arkbatch.run(prompts(tmp_path, *numbered(3)), model="m", simulate=True, progress=False)
    assert (summary.succeeded, summary.simulated) == (3, True)


def test_a_halt_raises_with_the_run_directory(tmp_path):
    async def main():
        async with serve(Settings(faults={"unauthorized": 1.0})) as url:
            return await arkbatch.arun(replace(load(tmp_path), base_url=url, api_key=Secret("k")))

    with pytest.raises(arkbatch.errors.Halted) as raised:
        run_virtual(main())
    assert raised.value.run_dir == str(tmp_path / "in.run")
    assert raised.value.summary.left == 5
    assert raised.value.run_dir in str(raised.value)


def test_the_first_interrupt_waits_for_calls_in_flight_and_the_run_resumes(tmp_path):
    path = prompts(tmp_path, *numbered(40))

    class Interrupts(arkbatch.Observer):
        recorded_rows = 0

        def recorded(self, outcome):
            self.recorded_rows += 1
            if self.recorded_rows == 5:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        arkbatch.run(path, Interrupts(), model="m", simulate=True, concurrency=4, progress=False)
    recorded = len(list(arkbatch.iter_results(tmp_path / "in.run")))
    assert 4 < recorded < 40
    summary = arkbatch.run(path, model="m", simulate=True, progress=False)
    assert (summary.succeeded, summary.session["recorded"]) == (40, 40 - recorded)


def test_parameters_are_a_dict(tmp_path):
    job = load(tmp_path, parameters={"temperature": 0.2, "thinking": {"type": "disabled"}, "stop": ["\n"], "user": "7"})
    assert job.defaults == {"temperature": 0.2, "thinking": {"type": "disabled"}, "stop": ["\n"], "user": "7"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"concurency": 3}, r"concurency is not an option\. Did you mean concurrency\?"),
        ({"temperature": 1}, r"temperature is not an option\. Request parameters: parameters={'temperature': 1}"),
        ({"modle": "m"}, r"modle is not an option\. Did you mean model\?"),
        ({"limit": 0}, r"^limit 0 is not allowed"),
        ({"timeout": "5 parsecs"}, r'^timeout = "5 parsecs" .* in seconds, or a text such as "90s", "5m"'),
    ],
)
def test_what_is_wrong_is_said_in_the_words_of_python(tmp_path, options, said):
    with pytest.raises(UsageError, match=said):
        load(tmp_path, **options)


def test_the_missing_model_is_named_as_a_parameter(tmp_path):
    with pytest.raises(UsageError, match="give model") as raised:
        load(tmp_path, model=None)
    assert "--" not in str(raised.value)


def test_the_public_names_are_there_and_no_others():
    for name in arkbatch.__all__:
        assert getattr(arkbatch, name)
    assert set(arkbatch.__all__) == set(dir(arkbatch))
    with pytest.raises(AttributeError):
        arkbatch.nothing  # noqa: B018

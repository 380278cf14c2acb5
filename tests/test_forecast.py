"""`arkbatch estimate` says what a job will take, and a sample's rows are the run's own."""

import orjson
import pytest
from click.testing import CliRunner
from runs import job_of, numbered, prompts

from arkbatch.cli import estimate, run
from arkbatch.core.errors import ExitCode, UsageError
from arkbatch.reports.cost import read_costs
from arkbatch.reports.forecast import sample_of

SEED = "doubao-seed-1-6-251015"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("arkbatch.cli.session.SIMULATED_LATENCY", 0.0)
    # The rows of a sample hang on the run's id, and one sample in twenty may be an odd one.
    monkeypatch.setattr("arkbatch.engines.opening.secrets.token_hex", lambda _: "abcd1234")


def invoke(command, path, *words, model=SEED):
    where = ["--simulate", "--model", model, "--set", "max_completion_tokens=800"]
    return CliRunner().invoke(command, [str(path), *where, *words], standalone_mode=False, catch_exceptions=False)


def varied(folder, count=200):
    return prompts(folder, *({"prompt": "why " * (1 + number * 7 % 60)} for number in range(count)))


def test_without_a_sample_nothing_is_sent_and_only_the_ceiling_is_known(tmp_path):
    said = invoke(estimate.command, varied(tmp_path), "--json")
    (found,) = orjson.loads(said.stdout)
    assert found["estimate"]["output"] == {"low": None, "expected": None, "high": 200 * 800}
    assert found["batch"]["ceiling"] == pytest.approx(found["estimate"]["ceiling"] / 2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_sample_is_part_of_the_run_and_its_input_is_the_run_s(tmp_path):
    """No bound is asked for here: one answer in many is of a dearer tier, and a sample of 20 often meets none."""
    path = varied(tmp_path)
    (found,) = orjson.loads(invoke(estimate.command, path, "--sample", "20", "--json").stdout.splitlines()[-1])
    assert found["estimate"]["sampled"] == 20
    done = orjson.loads(invoke(run.command, path, "--json").stdout.splitlines()[0])
    assert (done["succeeded"], done["session"]["recorded"]) == (200, 180)
    given = found["estimate"]["input"]
    assert given["low"] * 0.95 <= done["usage"]["input"] <= given["high"] * 1.05


def test_a_sample_of_all_rows_is_the_cost_itself(tmp_path):
    path = varied(tmp_path, 10)
    (found,) = orjson.loads(invoke(estimate.command, path, "--sample", "20", "--json").stdout.splitlines()[-1])
    cost = float(read_costs([str(tmp_path / "in.run")]).cost.amounts["CNY"])
    assert list(found["estimate"]["cost"].values()) == [pytest.approx(cost)] * 3


def test_asking_again_sends_nothing_and_says_the_same(tmp_path):
    path = varied(tmp_path, 60)
    first = invoke(estimate.command, path, "--sample", "8")
    records = (tmp_path / "in.run" / "results.jsonl").read_bytes()
    again = invoke(estimate.command, path, "--sample", "8")
    assert again.stdout == first.stdout
    assert (tmp_path / "in.run" / "results.jsonl").read_bytes() == records


def test_the_sample_is_spread_over_the_file(tmp_path):
    rows = sample_of(job_of(prompts(tmp_path, *numbered(100))), "abcd", 10)
    assert [(row.number - 1) // 10 for row in rows] == list(range(10))


def test_an_unknown_price_is_said_and_tokens_are_estimated_all_the_same(tmp_path):
    said = invoke(estimate.command, varied(tmp_path), model="nobody-knows").stdout
    assert "The cost is not known: nobody-knows is not in the price book" in said
    assert "input tokens" in said


def test_rows_of_several_models_are_estimated_apart(tmp_path):
    path = prompts(tmp_path, *numbered(3), {"messages": [{"role": "user", "content": "x"}], "model": "other"})
    said = invoke(estimate.command, path).stdout
    assert "3 rows for doubao-seed-1-6-251015 (chat):" in said
    assert "1 rows for other (chat):" in said


def test_a_new_run_begins_with_a_line_of_it(tmp_path):
    path = varied(tmp_path, 20)
    first, again = invoke(run.command, path).stderr, invoke(run.command, path).stderr
    assert "Estimate: about" in first
    assert "CNY in all" in first
    assert "Estimate:" not in again


def test_standard_input_is_refused(tmp_path):
    with pytest.raises(UsageError, match="save standard input"):
        invoke(estimate.command, "-")


def test_the_exit_code_is_0_also_when_rows_are_left(tmp_path):
    assert invoke(estimate.command, varied(tmp_path), "--sample", "5").return_value == ExitCode.OK


def test_the_run_is_this_command_without_the_sample():
    words = ["estimate", "a.jsonl", "--sample", "20", "--model", "m", "--json"]
    assert estimate._run("a.jsonl", words) == "arkbatch run a.jsonl --model m"

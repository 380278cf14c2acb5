"""`arkbatch estimate` says what a job will take, and a sample's rows are the run's own."""

import re
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest
from click import BadParameter
from click.testing import CliRunner
from runs import job_of, numbered, prompts

from arkbatch.cli import estimate, run
from arkbatch.config.resolve import resolve_job
from arkbatch.core.errors import ExitCode, UsageError
from arkbatch.estimate.build_estimate import Question, bills_of, make_forecasts
from arkbatch.estimate.input_sizes import by_kind, sample_of
from arkbatch.estimate.measured_rows import read_records
from arkbatch.reports.cost.cost import read_costs

QUICKSTART = Path(__file__).parents[2] / "jobs" / "quickstart.toml"
AT = datetime(2026, 11, 21, tzinfo=UTC)
SEED = "doubao-seed-1-6-251015"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
    # The rows of a sample hang on the run's id, and one sample in twenty may be an odd one.
    monkeypatch.setattr("arkbatch.engine.open_run.secrets.token_hex", lambda _: "abcd1234")


def invoke(command, path, *words, model=SEED):
    where = ["--simulate", "--model", model, "--set", "max_completion_tokens=800"]
    return CliRunner().invoke(command, [str(path), *where, *words], standalone_mode=False, catch_exceptions=False)


def varied(folder, count=200):
    return prompts(folder, *({"prompt": "why " * (1 + number * 7 % 60)} for number in range(count)))


def test_without_a_sample_nothing_is_sent_and_only_the_ceiling_is_known(tmp_path):
    said = invoke(estimate.command, varied(tmp_path), "--json")
    (found,) = orjson.loads(said.stdout)
    assert found["estimate"]["output"] == {"low": None, "expected": None, "high": 200 * 800}
    assert (found["lane"], found["other_lane"]) == ("online", "batch")
    assert found["other"]["ceiling"] == pytest.approx(found["estimate"]["ceiling"] / 2)
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_sample_is_part_of_the_run_and_its_input_is_the_run_s(tmp_path):
    path = varied(tmp_path)
    (found,) = orjson.loads(invoke(estimate.command, path, "--sample", "20", "--json").stdout.splitlines()[-1])
    assert found["estimate"]["sampled"] == 20
    done = orjson.loads(invoke(run.command, path, "--json").stdout.splitlines()[0])
    assert (done["succeeded"], done["session"]["recorded"]) == (200, 180)
    for name in ("input", "output"):
        span = found["estimate"][name]
        assert span["low"] <= done["usage"][name] <= span["high"]
    cost = found["estimate"]["cost"]
    assert cost["low"] <= float(done["cost"]["amounts"]["CNY"]) <= cost["high"]


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


def test_without_a_sample_the_answers_of_the_run_are_said_to_be_left_out(tmp_path):
    path = varied(tmp_path)
    assert "Note:" not in invoke(estimate.command, path).stderr
    invoke(estimate.command, path, "--sample", "8")
    said = invoke(estimate.command, path)
    assert "Note: 8 answers in " in said.stderr
    assert "were not looked at; --sample measures, and asks for none of them again." in said.stderr
    assert "How: no answer was looked at: " in said.stdout


@pytest.mark.parametrize(("flag", "tokens"), [("--input-tpm", "input"), ("--output-tpm", "output")])
def test_the_limits_of_input_and_output_tokens_decide_the_time(tmp_path, flag, tokens):
    path = varied(tmp_path)
    invoke(estimate.command, path, "--sample", "20")  # else these would keep to the limit
    said = invoke(estimate.command, path, "--sample", "20", "--json", flag, "1000").stdout.splitlines()[-1]
    (found,) = orjson.loads(said)
    sent = found["estimate"]["recorded"] / found["estimate"]["rows"]
    minutes = found["estimate"]["seconds"]["expected"] / 60
    assert minutes == pytest.approx(found["estimate"][tokens]["expected"] * (1 - sent) / 1000, rel=0.35)


def test_the_sample_is_spread_over_the_sizes_and_over_the_file(tmp_path):
    alike = sample_of(job_of(prompts(tmp_path, *numbered(100))), "abcd", 10)
    assert [(row.number - 1) // 10 for row in alike] == list(range(10))
    long = [{"prompt": "why " * (1000 if number % 10 == 3 else 1)} for number in range(100)]
    several = sample_of(job_of(prompts(tmp_path, *long)), "abcd", 10)
    assert [row.number % 10 == 4 for row in several].count(True) == 1


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """The quickstart job, all of it answered by the simulator."""
    run_dir = tmp_path_factory.mktemp("quickstart") / "all.run"
    where = [str(QUICKSTART), "--simulate", "-o", str(run_dir)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
        CliRunner().invoke(run.command, where, standalone_mode=False, catch_exceptions=False)
    return run_dir


def sampled(quickstart, seed, folder):
    """The estimate that a sample of 20 rows of the quickstart job gives, without asking the simulator again."""
    job = resolve_job(str(QUICKSTART), {"simulate": True, "run_dir": str(folder)}, {}, folder)
    numbers = {row.number for row in sample_of(job, seed, 20)}
    lines = (quickstart / "results.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "results.jsonl").write_bytes(b"".join(line for line in lines if orjson.loads(line)["row"] in numbers))
    records = read_records(str(folder), job.model, numbers, lambda kind: bills_of(job, kind))
    (found,) = make_forecasts(Question(job, AT, records, seed=seed), by_kind(job, numbers, records.ledger))
    return found.estimate


def test_the_estimate_of_the_quickstart_job_brackets_its_cost_nine_times_of_ten(quickstart, tmp_path):
    cost = float(read_costs([str(quickstart)]).cost.amounts["CNY"])
    found = [sampled(quickstart, f"{seed}", tmp_path).cost for seed in range(6)]
    assert sum(each.low <= cost <= each.high for each in found) >= 5
    assert all(each.high < 2 * each.low for each in found)


def test_a_run_of_the_quickstart_job_costs_what_its_sample_of_20_said(quickstart, tmp_path):
    """The two commands, as the first page of the README has them."""
    where = [str(QUICKSTART), "--simulate", "-o", str(tmp_path / "a.run")]
    asked = [*where, "--sample", "20", "--json"]
    said = CliRunner().invoke(estimate.command, asked, standalone_mode=False, catch_exceptions=False)
    (found,) = orjson.loads(said.stdout.splitlines()[-1])
    done = CliRunner().invoke(run.command, [*where, "--json"], standalone_mode=False, catch_exceptions=False)
    cost = float(orjson.loads(done.stdout.splitlines()[0])["cost"]["amounts"]["CNY"])
    assert found["estimate"]["cost"]["low"] <= cost <= found["estimate"]["cost"]["high"]
    assert cost == float(read_costs([str(quickstart)]).cost.amounts["CNY"])


def test_rows_that_were_sent_before_count_as_what_they_cost(tmp_path):
    path = varied(tmp_path, 60)
    invoke(run.command, path, "--limit", "50")
    cost = float(read_costs([str(tmp_path / "in.run")]).cost.amounts["CNY"])
    (found,) = orjson.loads(invoke(estimate.command, path, "--sample", "8", "--json").stdout.splitlines()[-1])
    recorded = found["estimate"]["recorded"]
    assert 50 <= recorded <= 58
    assert found["estimate"]["cost"]["low"] >= cost
    assert found["estimate"]["sampled"] == 8
    assert found["other"]["cost"]["expected"] == pytest.approx(found["estimate"]["cost"]["expected"] / 2)


def test_rows_of_the_sample_that_fail_lower_what_is_expected(tmp_path):
    """A moderated prompt is refused by the simulator and costs nothing."""
    rows = [{"prompt": f"[[fault:blocked]] {n}" if n % 2 else f"why {n}"} for n in range(40)]
    (found,) = orjson.loads(
        invoke(estimate.command, prompts(tmp_path, *rows), "--sample", "20", "--json").stdout.splitlines()[-1]
    )
    done = orjson.loads(invoke(run.command, tmp_path / "in.jsonl", "--json").stdout.splitlines()[0])
    cost = found["estimate"]["cost"]
    assert done["failed"] == 20
    assert cost["low"] <= float(done["cost"]["amounts"]["CNY"]) <= cost["high"]


def test_an_unknown_price_is_said_and_tokens_are_estimated_all_the_same(tmp_path):
    said = invoke(estimate.command, varied(tmp_path), model="nobody-knows").stdout
    assert "The cost is not known: nobody-knows is not in the price book" in said
    assert "input tokens" in said


def test_rows_of_several_models_are_estimated_apart(tmp_path):
    path = prompts(tmp_path, *numbered(3), {"messages": [{"role": "user", "content": "x"}], "model": "other"})
    said = invoke(estimate.command, path).stdout
    assert "3 rows for doubao-seed-1-6-251015 (chat):" in said
    assert "1 rows for other (chat):" in said
    assert "All of them:" not in said  # one of them has no price


def test_the_cost_of_several_models_is_added(tmp_path):
    other = {"messages": [{"role": "user", "content": "x"}], "model": "doubao-seed-1-6-flash-250828"}
    path = prompts(tmp_path, *numbered(30), *[other] * 10)
    assert "All of them:" in invoke(estimate.command, path).stdout
    said = invoke(estimate.command, path, "--sample", "20", "--json").stdout.splitlines()[-1]
    assert sum(each["estimate"]["sampled"] for each in orjson.loads(said)) == 20
    assert min(each["estimate"]["sampled"] for each in orjson.loads(said)) >= 5


def test_the_online_price_stands_beside_that_of_a_job_on_the_batch_lane(tmp_path):
    said = invoke(estimate.command, varied(tmp_path), "--lane", "batch", model="ep-bi-1").stdout
    assert said.count("no price ") == 4, "an endpoint id has no price; how long answers take is told all the same"
    said = invoke(estimate.command, varied(tmp_path), "--lane", "batch").stdout
    assert "online (--lane online)" in said


def ways_in(said):
    (found,) = orjson.loads(said.stdout)
    return {way["name"]: way for way in found["ways"]}, found


def test_all_ways_to_send_the_rows_stand_side_by_side_with_price_and_waiting_time(tmp_path):
    ways, found = ways_in(invoke(estimate.command, varied(tmp_path), "--json"))
    assert list(ways) == ["online", "flex", "batch", "job"]
    ceiling = found["estimate"]["ceiling"]
    assert ways["online"]["estimate"]["ceiling"] == ceiling
    assert ways["batch"]["estimate"]["ceiling"] == ways["job"]["estimate"]["ceiling"] == pytest.approx(ceiling / 2)
    assert "no price" in ways["flex"]["no_price"], "what the book does not have is not guessed"
    assert "1 day" in ways["job"]["waits"]


def test_the_estimate_of_batch_files_and_jobs_is_at_the_batch_price(tmp_path):
    _, online = ways_in(invoke(estimate.command, varied(tmp_path), "--json"))
    for lane in ("files", "job"):
        _, found = ways_in(invoke(estimate.command, varied(tmp_path), "--lane", lane, "--json"))
        assert (found["lane"], found["other_lane"]) == ("batch", "online")
        assert found["estimate"]["ceiling"] == pytest.approx(online["estimate"]["ceiling"] / 2)


def test_other_providers_have_the_ways_of_their_form(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "any")
    for host, names in (("api.openai.com", ["online", "flex", "files"]), ("api.groq.com/openai", ["online", "files"])):
        words = [str(varied(tmp_path)), "--model", "m", "--base-url", f"https://{host}/v1", "--json"]
        said = CliRunner().invoke(estimate.command, words, standalone_mode=False, catch_exceptions=False)
        ways, _ = ways_in(said)
        assert list(ways) == names
        assert "24 h" in ways["files"]["waits"]
        assert "50%" in ways["files"]["no_price"], "as the provider says"
        assert ways["files"]["estimate"] is None, "no cost is counted by it"


def test_ways_without_a_price_stand_beside_the_others_with_the_reason(tmp_path):
    said = invoke(estimate.command, varied(tmp_path)).stdout
    assert re.search(r"^ *flex \(--set service_tier=flex\) .*no price +as online", said, re.MULTILINE)
    assert "  No price for flex: doubao-seed-1-6-251015" in said


def test_a_new_run_begins_with_a_line_of_it(tmp_path):
    path = varied(tmp_path, 20)
    first, again = invoke(run.command, path).stderr, invoke(run.command, path).stderr
    assert "Estimate: about" in first
    assert "CNY in all (" in first
    assert "on the batch lane)" in first
    assert "Estimate:" not in again


def test_standard_input_is_refused(tmp_path):
    with pytest.raises(UsageError, match="save standard input"):
        invoke(estimate.command, "-")


def test_the_exit_code_is_0_also_when_rows_are_left(tmp_path):
    assert invoke(estimate.command, varied(tmp_path), "--sample", "5").return_value == ExitCode.OK


def test_the_run_is_this_command_without_the_sample():
    words = ["estimate", "a.jsonl", "--sample", "20", "--model", "m", "--json"]
    assert estimate._run_command("a.jsonl", words) == "arkbatch run a.jsonl --model m"
    words = ["estimate", "a.jsonl", "--sample", "--model", "m"]
    assert estimate._run_command("a.jsonl", words) == "arkbatch run a.jsonl --model m"


def test_a_sample_is_of_20_rows_unless_it_is_said_how_many(tmp_path):
    path = varied(tmp_path, 60)
    (found,) = orjson.loads(invoke(estimate.command, path, "--json", "--sample").stdout.splitlines()[-1])
    assert found["estimate"]["sampled"] == 20
    with pytest.raises(BadParameter, match="give --sample after the input"):
        estimate.command.main(["--sample", str(path)], standalone_mode=False)


def test_a_sample_that_is_too_small_for_bounds_says_so(tmp_path):
    said = invoke(estimate.command, varied(tmp_path, 60), "--sample", "3").stdout
    assert "bounds take a sample of 5 or more" in said
    assert "High takes" not in said


def test_embeddings_are_told_nothing_of_answers(tmp_path):
    path = prompts(tmp_path, *({"input": "why " * (n + 1)} for n in range(60)))
    words = [str(path), "--simulate", "--model", "doubao-embedding-large-text-250515", "--endpoint", "embeddings"]
    words += ["--sample", "10"]
    said = CliRunner().invoke(estimate.command, words, standalone_mode=False, catch_exceptions=False).stdout
    assert "cost (CNY)" in said
    assert "thinking" not in said
    assert "kind of answer" not in said

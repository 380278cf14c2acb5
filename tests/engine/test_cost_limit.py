"""A budget ends a run before it is passed, and holds across sessions."""

from decimal import Decimal

import orjson
import pytest
from builders import row
from click.testing import CliRunner
from msgspec.structs import replace
from runs import answered, job_of, numbered, prompts, worked_off
from virtual import run_virtual

from arkbatch.cli.run import command
from arkbatch.cli.session import _with_budget
from arkbatch.core.calls import Cause
from arkbatch.core.errors import ExitCode, UsageError
from arkbatch.core.row import Size
from arkbatch.engine.cost_limit import CostLimit, build_cost_limit
from arkbatch.engine.open_run import OpenRun
from arkbatch.engine.session import Session
from arkbatch.journal.ledger import Ledger
from arkbatch.pricing.price_files import packaged_prices
from arkbatch.pricing.pricer import Pricer
from arkbatch.pricing.run_cost import Bill
from arkbatch.reports.cost.cost import read_costs
from arkbatch.simulator.server import serve
from arkbatch.simulator.settings import Settings

SEED = "doubao-seed-1-6-251015"
PLAIN = "doubao-1-5-pro-32k-250115"


def session(job, **settings):
    async def main():
        async with serve(Settings(latency=2.0, **settings)) as url:
            with OpenRun(replace(job, base_url=url), wall=lambda: 1.79e9) as run:
                return await Session(run).work()

    return run_virtual(main())


def budgeted(folder, count=600, *, parameters=("max_completion_tokens=500",), **flags):
    path = folder / "in.jsonl"
    if not path.exists():
        prompts(folder, *numbered(count))
    return job_of(path, model=SEED, concurrency=500, set=list(parameters), **flags)


def spent(job):
    return read_costs([job.run_dir]).cost.amounts["CNY"]


def test_500_calls_of_unknown_length_under_a_ceiling_never_pass_the_budget(tmp_path):
    job = budgeted(tmp_path, max_cost=0.2)
    summary = session(job)
    assert (summary.ending, summary.halt.code) == ("halted", "max_cost")
    # No more is left unused than one call may cost at most: 500 tokens of output at 8, and its input.
    assert Decimal("0.19") < spent(job) <= Decimal("0.2")
    assert summary.left > 0
    assert summary.exit_code is ExitCode.HALTED


def test_it_holds_across_sessions_and_a_larger_one_goes_on(tmp_path):
    job = budgeted(tmp_path, max_cost=0.1)
    first = session(job)
    again = session(job)
    assert again.succeeded <= first.succeeded + 2
    assert spent(job) <= Decimal("0.1")
    more = session(budgeted(tmp_path, max_cost=0.2))
    assert more.succeeded > first.succeeded
    assert Decimal("0.1") < spent(job) <= Decimal("0.2")


def test_without_a_ceiling_it_is_passed_by_no_more_than_answers_outdo_the_longest_so_far(tmp_path):
    job = budgeted(tmp_path, parameters=(), max_cost=0.3)
    session(job)
    assert spent(job) <= Decimal("0.3") + Decimal("0.05")


def test_tokens_are_kept_within_their_limit_too(tmp_path):
    job = budgeted(tmp_path, max_tokens=60_000)
    summary = session(job)
    assert summary.halt.code == "max_tokens"
    assert 50_000 < summary.usage["input"] + summary.usage["output"] <= 60_000


def test_a_budget_that_is_large_enough_changes_nothing(tmp_path):
    summary = session(budgeted(tmp_path, 40, max_cost=100))
    assert (summary.ending, summary.succeeded) == ("finished", 40)


def test_billed_answers_between_two_tries_are_recorded_when_the_budget_ends(tmp_path):
    """Without that, the next session would not know of them."""
    job = budgeted(tmp_path, 100, max_cost=0.03)
    summary = session(job, faults={"empty": 0.5})
    assert summary.halt.code == "max_cost"
    assert spent(job) <= Decimal("0.03")


def test_a_model_of_unknown_price_is_refused_before_anything_is_sent(tmp_path):
    prompts(tmp_path, *numbered(2))
    job = job_of(tmp_path / "in.jsonl", model="nobody-knows", max_cost=1)
    with pytest.raises(UsageError, match=r"nobody-knows is not in the price book.*--prices FILE"):
        session(job)
    mine = tmp_path / "mine.toml"
    mine.write_text('[map]\nnobody-knows = "doubao-1.5-pro-32k"\n')
    known = job_of(tmp_path / "in.jsonl", model="nobody-knows", max_cost=1, prices=str(mine))
    assert session(known).ending == "finished"


def test_a_row_of_unknown_price_ends_the_run(tmp_path):
    rows = [{"messages": [{"role": "user", "content": "x"}], "model": "nobody-knows"}]
    job = job_of(prompts(tmp_path, *rows), model=SEED, max_cost=1)
    summary = session(job)
    assert (summary.halt.code, summary.left) == ("no_price", 1)


def test_a_row_s_own_endpoint_is_not_held_at_the_price_of_the_job_s(tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text('[map]\nep-1 = "doubao-1.5-pro-32k"\n')
    rows = [{"messages": [{"role": "user", "content": "x"}], "model": model} for model in ("ep-1", "ep-2")]
    job = job_of(prompts(tmp_path, *rows), model="ep-1", max_cost=1, concurrency=1, prices=str(mine))
    summary = session(job)
    assert (summary.succeeded, summary.halt.code, summary.left) == (1, "no_price", 1)
    assert "ep-2 is not in the price book" in summary.halt.message


def test_records_without_a_price_are_refused(tmp_path):
    prompts(tmp_path, *numbered(2))
    job = job_of(tmp_path / "in.jsonl", model=SEED, max_cost=1)
    worked_off(job, lambda row: answered(row, model="nobody-knows") if row.number == 1 else None)
    with pytest.raises(UsageError, match="1 row without a price"):
        session(job)


def keeper(**limits):
    job = job_of_limits(**limits)
    return CostLimit(job, Ledger(), Bill(Pricer(packaged_prices().only_provider("ark"))), lambda: 1.79e9)


def job_of_limits(**limits):
    from arkbatch.core.job import Job
    from arkbatch.core.job_sections import Limits
    from arkbatch.core.secret import Secret

    return Job(
        input="-",
        run_dir="x",
        endpoint="chat",
        model=PLAIN,
        base_url="http://localhost",
        api_key=Secret("k"),
        limits=Limits(**limits),
    )


def asking(**body):
    return row(body={"model": PLAIN, "messages": [], **body})


@pytest.mark.parametrize(
    ("body", "ceiling", "tokens"),
    [
        ({"max_completion_tokens": 100}, 100, 100),
        ({"max_tokens": 100, "thinking": {"type": "disabled"}}, 100, 100),
        ({"max_tokens": 100}, 100, 4096),
        ({"max_tokens": 9000}, 9000, 9000),
        ({}, None, 4096),
    ],
)
def test_what_a_call_may_answer_at_most(body, ceiling, tokens):
    spending = keeper(max_total_tokens=10**6)
    hold = run_virtual(spending.admit(asking(**body), Size(10, 10, 0, ceiling), 50))
    assert hold.tokens == 500 + 10 + 30 + tokens


@pytest.mark.parametrize("at_ark", [True, False])
def test_where_the_tokens_of_an_image_are_not_known_the_first_row_with_one_goes_alone(at_ark):
    job = replace(job_of_limits(max_total_tokens=10**6), at_ark=at_ark)
    spending = CostLimit(job, Ledger(), Bill(Pricer(packaged_prices().only_provider("ark"))), lambda: 1.79e9)
    part = {"type": "image_url", "image_url": {"url": "https://x/a.png"}}
    image, size = asking(messages=[{"role": "user", "content": [part]}]), Size(10, 0, 1, 100)
    first = spending.admit_now(image, size, 50)
    assert (spending.admit_now(image, size, 50) is not None) is at_ark
    used = {"input": 20_000, "output": 10}
    spending.settle(first, image, used, model=PLAIN, service_tier="default", answered=True)
    assert spending.admit_now(image, size, 50).tokens >= (20_000 if not at_ark else 6_000)


def test_a_call_that_can_never_fit_says_what_is_spent():
    cause = run_virtual(keeper(max_cost=0.0001).admit(asking(), Size(10, 0, 0, 100), 50))
    assert isinstance(cause, Cause)
    assert cause.message.startswith("the budget of 0.00010 CNY ends here: 0.00 CNY are spent")


def test_no_budget_has_no_keeper():
    assert build_cost_limit(job_of_limits(), Ledger(), Bill(Pricer(packaged_prices())), lambda: 0.0) is None


def test_the_next_command_has_a_larger_budget(monkeypatch):
    monkeypatch.setattr("sys.argv", ["arkbatch", "run", "a b.jsonl", "--max-cost", "50", "--rpm", "9"])
    assert _with_budget("--max-cost", "100") == "arkbatch run 'a b.jsonl' --max-cost 100 --rpm 9"
    monkeypatch.setattr("sys.argv", ["arkbatch", "run", "a.jsonl", "--max-tokens=1000"])
    assert _with_budget("--max-tokens", "2000") == "arkbatch run a.jsonl --max-tokens 2000"
    monkeypatch.setattr("sys.argv", ["arkbatch", "run", "job.toml"])
    assert _with_budget("--max-cost", "0.5") == "arkbatch run job.toml --max-cost 0.5"


LARGE = {"custom_id": "large", "prompt": "many words " * 20_000}


@pytest.mark.parametrize(
    "limit", [{"max_cost": 0.0001}, {"max_cost": 0.02}, {"max_tokens": 10}, {"max_tokens": 20_000}]
)
@pytest.mark.parametrize("parameters", [(), ("max_completion_tokens=500",)])
def test_the_budget_that_is_proposed_lets_the_run_go_on(tmp_path, limit, parameters):
    """Also where a row that was too dear for the rest is the first of the next session, and short answers were known."""
    prompts(tmp_path, *numbered(30), LARGE, *numbered(5))
    first = session(budgeted(tmp_path, parameters=parameters, **limit))
    assert (first.halt.code, f" {first.budget} or more" in first.halt.advice) == (next(iter(limit)), True)
    more = {name: float(first.budget) if name == "max_cost" else int(first.budget) for name in limit}
    again = session(budgeted(tmp_path, parameters=parameters, **more))
    assert again.succeeded > first.succeeded
    assert Decimal(first.budget) >= 2 * Decimal(str(next(iter(limit.values()))))


def test_from_the_command_line(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
    prompts(tmp_path, *numbered(50))
    words = [str(tmp_path / "in.jsonl"), "--simulate", "--model", SEED, "--max-cost", "0.01", "--json"]
    result = CliRunner().invoke(command, [*words, "--set", "max_completion_tokens=300"], standalone_mode=False)
    assert result.return_value == ExitCode.HALTED, result.output
    summary = orjson.loads(result.stdout.splitlines()[0])
    assert Decimal(summary["cost"]["amounts"]["CNY"]) <= Decimal("0.01")
    assert "Resume with a larger budget:" in result.stderr

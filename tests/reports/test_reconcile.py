"""Runs beside a bill, from real records to what the command prints."""

from decimal import Decimal

import orjson
import pytest
from builders import before
from click.testing import CliRunner
from msgspec.structs import replace
from runs import Told, answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli.cost import command
from arkbatch.core.errors import UsageError
from arkbatch.reports.cost.reconcile import read_reconciliation

SEED = "doubao-seed-1-6-251015"
HEADINGS = "SplitItemID,BillingDate,Count,Unit,Currency,OriginalBillAmount,PayableAmount"
DAY = "2026-09-21"  # of tests.runs.BEGAN, in Beijing
LATE = 1_790_006_380.0  # 2026-09-21 23:59:40 in Beijing, 15:59:40 in UTC


def bill_of(folder, *lines):
    path = folder / "bill.csv"
    path.write_text("\n".join([HEADINGS, *lines]) + "\n", encoding="utf-8")
    return path


def run_of(folder, *, model="ep-1", name="a.run", rows=3, wall=None, simulate=True, **outcome):
    """Each row costs 0.0056 CNY: 1,000 in at 0.80 and 600 out at 8.00."""
    job = job_of(prompts(folder, *numbered(rows)), run_dir=str(folder / name), model=model)
    given = {"model": SEED, "usage": {"input": 1000, "output": 600}} | outcome
    return worked_off(job, lambda row: answered(row, **given), wall=wall)


def invoke(*words):
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_run_whose_bill_is_right_differs_by_nothing(tmp_path):
    run = run_of(tmp_path)
    bill = bill_of(tmp_path, f"ep-1,{DAY},3.0,千tokens,CNY,0.0024,0.0012", f"ep-1,{DAY},1.8,千tokens,CNY,0.0144,0.0072")
    (pair,) = read_reconciliation([str(run)], bill).sides.pairs
    assert (pair.tokens_over, pair.cost_over) == (0, {"CNY": Decimal(0)})
    assert pair.billed.payable["CNY"] == Decimal("0.0084")


def test_rows_with_endpoints_of_their_own_stand_beside_those(tmp_path):
    path = prompts(
        tmp_path, {"prompt": "a"}, {"body": {"model": "ep-2", "messages": [{"role": "user", "content": "b"}]}}
    )
    job = job_of(path, model="ep-1")
    run = worked_off(job, lambda row: answered(row, model=SEED))
    found = read_reconciliation([str(run)], bill_of(tmp_path, f"ep-2,{DAY},1,tokens,CNY,0,0"))
    assert [(pair.item, pair.side) for pair in found.sides.pairs] == [("ep-1", "only ours"), ("ep-2", "both")]


def test_days_are_those_of_beijing(tmp_path):
    run = run_of(tmp_path, rows=40, wall=Told(LATE))
    found = read_reconciliation([str(run)], bill_of(tmp_path))
    assert [pair.day for pair in found.sides.pairs] == [DAY, "2026-09-22"]


def test_answers_thrown_away_and_earlier_tries_are_ours_too(tmp_path):
    earlier = before(usage={"input": 500, "output": 0}, model=SEED)

    def again(row):
        return answered(replace(row, before=(earlier,)), model=SEED, usage={"input": 1000, "output": 600})

    job = job_of(prompts(tmp_path, *numbered(1)), model="ep-1")
    found = read_reconciliation([str(worked_off(job, again))], bill_of(tmp_path))
    assert sum(pair.ours.tokens for pair in found.sides.pairs) == 2100


def test_several_runs_add_up(tmp_path):
    one, two = run_of(tmp_path), run_of(tmp_path, name="b.run")
    (pair,) = read_reconciliation([str(one), str(two)], bill_of(tmp_path)).sides.pairs
    assert (pair.ours.tokens, pair.ours.cost.amounts) == (9600, {"CNY": Decimal("0.0336")})


def test_records_that_do_not_say_the_endpoint_go_by_the_job_and_that_is_told(tmp_path):
    run = run_of(tmp_path)
    results = run / "results.jsonl"
    results.write_bytes(results.read_bytes().replace(b'"asked_model":"ep-1",', b""))
    (run / "ledger.bin").unlink()
    bill = bill_of(tmp_path)
    (pair,) = read_reconciliation([str(run)], bill).sides.pairs
    assert (pair.item, pair.ours.tokens) == ("ep-1", 4800)
    assert "4,800 tokens are of records that do not say which endpoint was asked" in invoke(run, "--bill", bill)


def test_the_table_tells_the_difference_and_what_it_cannot_know(tmp_path):
    run = run_of(tmp_path)
    bill = bill_of(
        tmp_path,
        f'ep-1,{DAY},"5.0",千tokens,CNY,0.02,0.01',
        f"ep-other,{DAY},1,千tokens,CNY,1,1",
        f"apikey-a,{DAY},1,千tokens,CNY,1,1",
        f"bucket,{DAY},1,GB,CNY,2,2",
    )
    said = invoke(run, "--bill", bill)
    table = {line.split()[0]: line for line in said.splitlines() if line}
    assert table["ep-1"].split()[2:] == ["4,800", "5,000", "+200", "0.017", "0.020", "+0.0032", "0.010"]
    assert "only billed" in table["ep-other"]
    for part in (
        "Days are Beijing's",
        "other programs' too",
        "never add the two",
        "Simulated, so that no bill can hold its calls",
        "Left out: 1 line of the bill",
    ):
        assert part in said, part


def test_calls_by_model_id_ask_for_the_key(tmp_path):
    run, bill = run_of(tmp_path, model=SEED), bill_of(tmp_path, f"apikey-a,{DAY},4.8,千tokens,CNY,0.0168,0.01")
    assert "--key apikey-... (on this bill: apikey-a)" in invoke(run, "--bill", bill)
    said = invoke(run, "--bill", bill, "--key", "apikey-a")
    assert "All calls are taken to have gone with apikey-a" in said
    assert "only" not in said.splitlines()[1]
    assert "no line of apikey-b; its keys are apikey-a" in invoke(run, "--bill", bill, "--key", "apikey-b")


def test_rows_without_a_price_make_the_difference_not_whole(tmp_path):
    run = run_of(tmp_path, model="ep-1")
    more = job_of(tmp_path / "in.jsonl", run_dir=str(tmp_path / "b.run"), model="ep-1")
    other = worked_off(more, lambda row: answered(row, model="nobody-knows"))
    said = invoke(run, other, "--bill", bill_of(tmp_path, f"ep-1,{DAY},1,tokens,CNY,1,1"))
    assert "3 without a price" in said
    assert "not whole" in said


def test_json_and_csv_carry_every_digit(tmp_path):
    run, bill = run_of(tmp_path), bill_of(tmp_path, f"ep-1,{DAY},4.7995,千tokens,CNY,0.01679999,0.01")
    (line,) = orjson.loads(invoke(run, "--bill", bill, "--json"))["lines"]
    assert line["difference"] == {"tokens": "-0.5", "cost": {"CNY": "-0.00000001"}}
    headings, row = (each.split(",") for each in invoke(run, "--bill", bill, "--csv").splitlines())
    values = dict(zip(headings, row, strict=True))
    assert (values["tokens_ours"], values["tokens_billed"], values["tokens_difference"]) == ("4800", "4799.5", "-0.5")
    assert (values["cost_ours"], values["difference"], values["payable"]) == ("0.01680000", "-0.00000001", "0.01")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bill", "b.csv", "--by", "day"], "neither --by nor --compare"),
        (["--bill", "b.csv", "--compare", "x"], "neither --by nor --compare"),
        (["--key", "apikey-a"], "give the bill too"),
        (["--bill", "b.csv", "--key", "sk-very-secret"], "never the key itself"),
    ],
)
def test_what_makes_no_sense_together_is_refused(tmp_path, words, said):
    with pytest.raises(UsageError, match=said) as refused:
        invoke(run_of(tmp_path), *words)
    assert "secret" not in str(refused.value)


def test_a_run_without_a_billed_call_says_so(tmp_path):
    run = worked_off(job_of(prompts(tmp_path, *numbered(2))), failed)
    assert "Neither side has a call." in invoke(run, "--bill", bill_of(tmp_path))

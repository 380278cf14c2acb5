"""Costs are added up call by call, and come out the same however the records are read."""

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest
from builders import before, failure, row, success
from click.testing import CliRunner
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from runs import answered, failed, job_of, numbered, prompts, worked_off

from arkbatch.cli.cost import command
from arkbatch.core.calls import Kind
from arkbatch.core.errors import UsageError
from arkbatch.core.input_info import Position
from arkbatch.core.outcomes import Attempt
from arkbatch.core.usage import add_usage
from arkbatch.journal.journal import Journal, read_ledger
from arkbatch.journal.ledger import Ledger
from arkbatch.journal.record_format import before_of, decode_retryable, encode
from arkbatch.journal.run_directory import LEDGER, RunDirectory
from arkbatch.pricing.amounts import Money
from arkbatch.pricing.billed_usage import decode_billed
from arkbatch.pricing.price_files import packaged_prices
from arkbatch.pricing.pricer import Pricer
from arkbatch.pricing.run_cost import Bill
from arkbatch.pricing.run_price_file import name_of
from arkbatch.reports.cost.cost import read_costs

SEED = "doubao-seed-1-6-251015"
AT = 1_790_000_000.0
WRITTEN = datetime.fromtimestamp(AT, UTC)


def ark_prices(names):
    """The packaged prices, which all tests share, with names of their own."""
    return replace(packaged_prices().only_provider("ark"), names=names)


def new_bill(**how):
    # By this name a reply of an unknown model is priced, if the row asked for it.
    return Bill(Pricer(ark_prices({"ep-1": "doubao-1.5-pro-32k"})), **how)


def cost_of(*outcomes):
    bill = new_bill()
    for outcome in outcomes:
        bill.record(outcome, AT)
    return bill.total_cost()


def thrown(*usages, number=1, kind=Kind.EMPTY, model=SEED, served=(), **changes):
    """A failure whose answers were all billed and discarded. `served`: the models that gave them."""
    calls = [
        Attempt(f"c-{place}", str(kind), 0.1, tokens=usage, model=served[place] if served else None)
        for place, usage in enumerate(usages)
    ]
    return failure(
        number, kind=kind, usage=add_usage(*usages), calls=calls, model=model, service_tier="default", **changes
    )


# seed-1.6 by hand: [0,32k] and up to 200 out 0.80/2.00; over 200 out 0.80/8.00; (32k,128k] 1.20/16.00; (128k,256k]
# 2.40/24.00; cached 0.16 throughout. CNY per million tokens.
@pytest.mark.parametrize(
    ("given_", "cached", "out", "expected"),
    [
        (200_000, 0, 14_000, "0.816"),
        (32_000, 0, 200, "0.026"),
        (32_000, 0, 201, "0.027208"),
        (32_001, 0, 200, "0.0416012"),
        (128_000, 0, 200, "0.1568"),
        (128_001, 0, 200, "0.3120024"),
        (1_000, 400, 200, "0.000944"),
    ],
)
def test_each_call_is_priced_by_its_own_tier(given_, cached, out, expected):
    usage = {"input": given_, "output": out} | ({"cached": cached} if cached else {})
    assert cost_of(success(model=SEED, usage=usage)).amounts == {"CNY": Decimal(expected)}


def test_many_rows_cost_the_sum_of_each_to_the_last_digit():
    sizes = [(31_999 + 7 * n, 150 + n) for n in range(100)]
    each = [cost_of(success(1, model=SEED, input=size, output=out)).amounts["CNY"] for size, out in sizes]
    rows = [success(n, model=SEED, input=size, output=out) for n, (size, out) in enumerate(sizes, 1)]
    assert cost_of(*rows).amounts["CNY"] == sum(each)


def test_answers_thrown_away_are_priced_one_by_one_and_told_apart():
    """Two calls of 20k input are two calls of the short tier, not one of the long tier."""
    bill = new_bill()
    bill.record(thrown({"input": 20_000, "output": 100}, {"input": 20_000, "output": 100}), AT)
    assert bill.total_cost() == bill.discarded_cost() == Money({"CNY": Decimal("0.0324")})


def test_a_success_after_an_empty_answer_costs_both_and_says_which_was_lost():
    calls = [Attempt("a", "empty", 0.1, tokens={"input": 1000, "output": 100}), Attempt("b", "done", 0.1)]
    outcome = success(
        model=SEED,
        calls=calls,
        usage={"input": 2000, "output": 400},
        discarded={"input": 1000, "output": 100},
    )
    bill = new_bill()
    bill.record(outcome, AT)
    assert bill.total_cost().amounts["CNY"] == Decimal("0.0008") * 2 + Decimal("0.0002") + Decimal("0.0024")
    assert bill.discarded_cost().amounts["CNY"] == Decimal("0.001")


def test_unknown_is_never_nothing_and_a_failure_that_billed_nothing_is_not_unknown():
    cost = cost_of(success(1, model="nobody-knows"), success(2, model=SEED, usage={}), failure(3))
    assert (cost.amounts, cost.unpriced) == ({}, 2)


def test_the_job_s_mapped_endpoint_prices_a_reply_of_unknown_model():
    book = ark_prices({"ep-1": "doubao-seed-1.6"})
    bill = Bill(Pricer(book), "ep-1")
    bill.record(success(model="ft-2026", input=1000, output=100, row=asking("ep-1")), AT)
    assert bill.total_cost().amounts == {"CNY": Decimal("0.001")}


def asking(model, number=1, **changes):
    return row(number, body={"model": model, "messages": []}, **changes)


def test_a_row_s_own_endpoint_is_priced_by_what_the_map_says_of_it_and_by_no_other():
    book = packaged_prices().only_provider("ark")
    book.names.update({"ep-job": "doubao-seed-1.6", "ep-row": "doubao-1.5-pro-32k"})
    bill = Bill(Pricer(book), "ep-job")
    for number, asked in enumerate(["ep-row", "ep-job", "ep-unmapped"], 1):
        bill.record(success(number, model="ft-2026", input=1000, output=100, row=asking(asked, number)), AT)
    assert bill.total_cost() == Money({"CNY": Decimal("0.001") + Decimal("0.001")}, unpriced=1)
    assert [(charge.model, charge.cost.unpriced) for charge in bill.charges] == [("ft-2026", 1)]


def test_a_thrown_away_answer_is_priced_by_the_model_that_gave_it():
    """Fell back from seed-1.6 to a model at another price, as servers that reroute do."""
    calls = [
        Attempt("a", "empty", 0.1, tokens={"input": 1000, "output": 100}, model=SEED, service_tier="default"),
        Attempt("b", "done", 0.1),
    ]
    usage, discarded = {"input": 2000, "output": 200}, {"input": 1000, "output": 100}
    bill = new_bill()
    bill.record(success(model="deepseek-v3-250324", calls=calls, usage=usage, discarded=discarded), AT)
    assert bill.discarded_cost().amounts["CNY"] == Decimal("0.001")
    assert bill.total_cost().amounts["CNY"] == Decimal("0.001") + Decimal("0.0028")


def test_a_line_without_the_asked_model_goes_by_the_job_s():
    """Lines written before it was kept."""
    line = orjson.loads(
        encode(success(model="ft-2026", input=1000, output=100), run_id="r", finished_at=WRITTEN, url="")
    )
    del line["asked_model"]
    book = ark_prices({"ep-job": "doubao-seed-1.6"})
    bill = Bill(Pricer(book), "ep-job")
    bill.fold(decode_billed(orjson.dumps(line)), Ledger())
    assert bill.total_cost().amounts == {"CNY": Decimal("0.001")}


USAGES = st.builds(
    lambda size, out, cached: {"input": size, "output": out} | ({"cached": min(cached, size)} if cached else {}),
    st.integers(1, 300_000),
    st.integers(0, 5_000),
    st.sampled_from([0, 0, 7, 40_000]),
)
MODELS = st.sampled_from([SEED, "doubao-1-5-pro-32k-250115", "deepseek-v4-pro", "nobody-knows"])


@dataclass
class Story:
    """What happens to rows, one step at a time: a row fails, or is interrupted, with billed answers of several models,
    or succeeds.
    """

    steps: list


STORIES = st.builds(
    Story,
    st.lists(
        st.tuples(
            st.integers(1, 5),
            st.sampled_from(["succeeds", "fails", "is interrupted"]),
            st.lists(USAGES, min_size=1, max_size=3),
            MODELS,
            st.sampled_from(["ep-1", "ep-2", SEED]),
            st.lists(st.one_of(st.none(), MODELS), min_size=3, max_size=3),
        )
    ),
)


def played(journal, story, cut):
    """Record the story, as sessions and retries would; a snapshot is taken at step `cut`."""
    last = {}
    for step, (number, how, usages, model, asked, served) in enumerate(story.steps):
        if number in journal.ledger.done:
            continue
        earlier = before_of(decode_retryable(last[number])) if number in last else ()
        outcome = (
            success(number, usage=usages[0], model=model, row=asking(asked, number, before=earlier))
            if how == "succeeds"
            else thrown(
                *usages,
                number=number,
                model=model,
                served=served,
                row=asking(asked, number, before=earlier),
                interrupted=how == "is interrupted",
            )
        )
        last[number] = encode(outcome, run_id="r", finished_at=WRITTEN, url="/chat")
        journal.record(outcome)
        if step == cut:
            journal.take_snapshot(Position())()


def opened(path):
    path.mkdir(exist_ok=True)
    bill = new_bill()
    return Journal(RunDirectory(path), "r", lambda: AT, lambda name: f"/{name}", bill, prices="one")


@settings(
    max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)
@given(story=STORIES, cut=st.integers(0, 12))
def test_the_cost_is_the_same_fresh_read_back_and_compacted(tmp_path_factory, story, cut):
    path = tmp_path_factory.mktemp("run")
    journal = opened(path)
    played(journal, story, cut)
    expected = (journal.bill.total_cost(), journal.bill.discarded_cost())
    journal.close_files()  # as after a kill: the snapshot is behind the files
    assert money_of(read_back(path)) == expected
    opened(path).close()  # compacts
    assert money_of(read_back(path)) == expected
    (path / LEDGER).unlink()
    assert money_of(read_back(path))[0].amounts == expected[0].amounts


def read_back(path):
    bill = new_bill()
    read_ledger(RunDirectory(path), bill)
    return bill


def money_of(bill):
    return bill.total_cost(), bill.discarded_cost()


def test_a_bill_at_other_prices_is_not_taken_over(tmp_path):
    journal = opened(tmp_path)
    journal.record(success(1, model=SEED, input=1000, output=100))
    journal.close()
    book = packaged_prices().only_provider("ark")
    dearer = Bill(Pricer(book))
    assert not dearer.restore(journal.ledger.bill, "another")
    assert dearer.restore(journal.ledger.bill, "one")


def test_usage_json_tells_the_cost_in_decimals_and_the_prices_used(tmp_path):
    run = priced_run(tmp_path)
    usage = orjson.loads((run / "usage.json").read_bytes())
    assert usage["cost"] == {"amounts": {"CNY": "0.01680000"}, "unpriced": 0, "at_most": 0}
    assert [row["family"] for row in usage["prices"]["rows"]] == ["doubao-seed-1.6"]
    assert usage["by_model"][0]["lane"] == "online"


def priced_run(folder, name="a.run", tokens=1000, **how):
    job = job_of(prompts(folder, *numbered(3)), run_dir=str(folder / name))
    usage = {"input": tokens, "output": 600}
    return worked_off(job, lambda row: answered(row, model=SEED, usage=usage | how.get("more", {})))


def test_a_later_price_leaves_the_past_alone(tmp_path):
    run = priced_run(tmp_path)
    mine = tmp_path / "mine.toml"
    mine.write_text(
        'currency = "CNY"\n[[model]]\nfamily = "doubao-seed-1.6"\nprice.online = { input = 1, cached = 1, output = 1 }\n'
    )
    job = job_of(tmp_path / "in.jsonl", prices=str(mine))
    worked_off(job, lambda row: None)
    assert read_costs([str(run)]).cost.amounts["CNY"] == 3 * Decimal("0.0056")
    assert read_costs([str(run)], reprice=True, prices=mine).cost.amounts["CNY"] == Decimal("0.0048")


def test_a_price_that_is_given_later_prices_what_had_none(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(2)))
    run = worked_off(job, lambda row: answered(row, model="mine-1", usage={"input": 10, "output": 0}))
    assert str(read_costs([str(run)]).cost) == "2 rows without a price"
    mine = tmp_path / "mine.toml"
    mine.write_text('[[model]]\nfamily = "mine-1"\ncurrency = "CNY"\nprice.online = { input = 1, output = 1 }\n')
    worked_off(job_of(tmp_path / "in.jsonl", prices=str(mine)), lambda row: None)
    assert read_costs([str(run)]).cost.amounts == {"CNY": Decimal("0.00002")}


@pytest.mark.parametrize(("by", "names"), [("day", ["2026-09-21"]), ("prefix", ["task"]), ("model", [SEED])])
def test_groups_add_up_to_the_total(tmp_path, by, names):
    run = priced_run(tmp_path)
    costs = read_costs([str(run)], by)
    assert [line.name for line in costs.lines] == names
    assert costs.cost == read_costs([str(run)]).cost


def invoke(*words):
    result = CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
    return result.output


def test_the_command_adds_up_runs_and_says_what_is_missing(tmp_path):
    one, two = priced_run(tmp_path), priced_run(tmp_path, "b.run")
    job = job_of(tmp_path / "in.jsonl", run_dir=str(tmp_path / "c.run"))
    three = worked_off(job, lambda row: answered(row, model="nobody-knows"))
    said = invoke(one, two, three)
    assert "Total: 0.034 CNY + 3 rows without a price" in said
    assert "nobody-knows is not in the price book" in said
    assert invoke(one, "--csv").splitlines()[1].split(",")[6:] == ["CNY", "0.01680000", "0", "0"]


def test_two_runs_stand_side_by_side_with_the_difference(tmp_path):
    one, two = priced_run(tmp_path), priced_run(tmp_path, "b.run", tokens=2000)
    assert "+0.0024 CNY" in invoke(one, "--compare", two)


def test_prices_without_reprice_is_refused(tmp_path):
    (tmp_path / "p.toml").touch()
    with pytest.raises(UsageError, match="--reprice"):
        invoke(priced_run(tmp_path), "--prices", tmp_path / "p.toml")


def test_a_row_tried_again_in_a_later_session_keeps_what_it_cost_before():
    earlier = before(Kind.EMPTY, model=SEED, usage={"input": 1000, "output": 100})
    line = encode(success(1, model=SEED, before=(earlier,)), run_id="r", finished_at=WRITTEN, url="")
    assert orjson.loads(line)["before"][0].keys() >= {"kind", "usage"}
    assert "at" not in orjson.loads(line)["before"][0]


def test_a_row_without_a_price_counts_once_however_many_sessions_billed_it():
    used = {"input": 9, "output": 9}
    first = thrown(used, model="nobody-knows")
    again = thrown(used, model="nobody-knows", before=(before(Kind.EMPTY, model="nobody-knows", usage=used),))
    twice = (before(Kind.EMPTY, model="nobody-knows", usage=used),) * 2
    answered_at_last = success(1, model="nobody-knows", before=twice)
    bill = new_bill()
    for outcome in (first, again, answered_at_last, success(2, model="nobody-knows")):
        bill.record(outcome, AT)
    assert (bill.total_cost().unpriced, bill.discarded_cost().unpriced) == (2, 1)
    assert cost_of(first, success(1, model=SEED, before=(twice[0],))).unpriced == 1


def test_failed_rows_of_a_run_cost_nothing_when_nothing_was_billed(tmp_path):
    job = job_of(prompts(tmp_path, *numbered(2)))
    run = worked_off(job, failed)
    assert "nothing was billed" in invoke(run)


def test_what_a_run_keeps_of_the_prices_does_not_make_its_saved_bill_another(tmp_path):
    """Else each run of ten million rows would be read again when it is resumed."""
    book = packaged_prices().only_provider("ark")
    pricer = Pricer(book)
    pricer.tariff(SEED, "online", "")
    assert name_of(pricer.used_prices().laid_over(book)) == name_of(book)


def test_a_killed_run_s_usage_json_is_what_the_records_add_up_to_where_it_ends(tmp_path):
    journal = opened(tmp_path)
    for number in range(1, 8):
        journal.record(success(number, model=SEED, input=1000, output=100))
        if number == 5:
            journal.take_snapshot(Position())()
    journal.close_files()
    usage = orjson.loads((tmp_path / "usage.json").read_bytes())
    part = (tmp_path / "results.jsonl").read_bytes()[: usage["stands_for"]["results.jsonl"]]
    assert part.count(b"\n") == usage["rows"]["succeeded"] == 5
    assert Decimal(usage["cost"]["amounts"]["CNY"]) == 5 * Decimal("0.001")
    opened(tmp_path).close()
    usage = orjson.loads((tmp_path / "usage.json").read_bytes())
    assert Decimal(usage["cost"]["amounts"]["CNY"]) == 7 * Decimal("0.001")

"""A budget that workers share: together they never pass it, and it is used up only when nothing can come back."""

from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.limits.shared_budget import BudgetAnswer, SharedBudget


def test_a_call_that_fits_is_granted_with_some_more():
    budget = SharedBudget(1_000)
    assert budget.extend_share(0, 1, 10) is BudgetAnswer.GRANTED
    share = budget.report_spending(0, 1, 0, 0, gives_back=False)
    assert 10 <= share <= 100


def test_it_is_used_up_only_when_nobody_holds_what_could_come_back():
    budget = SharedBudget(100)
    budget.extend_share(0, 1, 90)
    budget.report_spending(0, 1, 10, 80, gives_back=False)
    assert budget.extend_share(1, 1, 50) is BudgetAnswer.WAIT
    budget.report_spending(0, 1, 60, 0, gives_back=True)
    assert budget.extend_share(1, 1, 50) is BudgetAnswer.USED_UP
    assert budget.extend_share(1, 1, 40) is BudgetAnswer.GRANTED


def test_the_share_of_a_worker_that_died_stays_charged():
    budget = SharedBudget(100)
    budget.extend_share(0, 1, 100)
    budget.lose_attempt(0)
    assert budget.extend_share(0, 2, 1) is BudgetAnswer.USED_UP


def test_an_attempt_that_ended_leaves_only_what_it_spent_charged():
    budget = SharedBudget(100)
    budget.extend_share(0, 1, 100)
    budget.end_attempt(0, 1, 30)
    assert budget.left == 70


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 60), st.sampled_from(["call", "call", "end", "die", "return"])),
        max_size=200,
    )
)
def test_all_workers_together_never_commit_more_than_the_budget(steps):
    budget, most = SharedBudget(500), 500
    workers = {place: {"attempt": 1, "spent": 0, "held": [], "share": 0} for place in range(4)}
    gone = 0  # spent, or perhaps spent, by workers that died
    for place, amount, kind in steps:
        worker = workers[place]
        held = sum(worker["held"])
        if kind == "call":
            if worker["spent"] + held + amount > worker["share"]:
                budget.report_spending(place, worker["attempt"], worker["spent"], held, gives_back=False)
                budget.extend_share(place, worker["attempt"], amount)
                worker["share"] = budget.report_spending(
                    place, worker["attempt"], worker["spent"], held, gives_back=False
                )
            if worker["spent"] + held + amount <= worker["share"]:
                worker["held"].append(amount)
        elif kind == "end" and worker["held"]:
            worker["spent"] += worker["held"].pop() * amount // 60
        elif kind == "return":
            worker["share"] = budget.report_spending(place, worker["attempt"], worker["spent"], held, gives_back=True)
        elif kind == "die":
            gone += held
            budget.lose_attempt(place)
            workers[place] = {"attempt": worker["attempt"] + 1, "spent": worker["spent"], "held": [], "share": 0}
        assert gone + sum(each["spent"] + sum(each["held"]) for each in workers.values()) <= most

"""What stands beside what when a bill is compared, and that nothing is lost or counted twice on the way."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from arkbatch.pricing.amounts import Money
from arkbatch.pricing.reconcile import BillLine, Ours, Side, reconcile

DAY, NEXT = "2026-09-21", "2026-09-22"


def billed(item="ep-1", day=DAY, tokens="1000", listed="1.5", payable="1.2", **more):
    return BillLine(item, day, "CNY", Decimal(listed), Decimal(payable), Decimal(tokens), **more)


def ours(model="ep-1", day=DAY, tokens=1000, cost="1.5", unpriced=0):
    return model, day, Ours(tokens, Money({"CNY": Decimal(cost)}, unpriced))


def sides(found):
    return {(pair.item, pair.day): pair.side for pair in found.pairs}


def test_lines_of_an_endpoint_and_day_stand_beside_the_calls_that_named_it():
    found = reconcile([ours(tokens=900), ours(tokens=50)], [billed(tokens="400"), billed(tokens="600.5")])
    (pair,) = found.pairs
    assert (pair.side, pair.ours.tokens, pair.billed.tokens) == (Side.BOTH, 950, Decimal("1000.5"))
    assert (pair.tokens_over, pair.cost_over) == (Decimal("50.5"), {"CNY": Decimal(0)})
    assert pair.billed.payable == {"CNY": Decimal("2.4")}


def test_what_is_on_one_side_only_stays_in_the_list_with_its_whole_difference():
    found = reconcile([ours(), ours(day=NEXT)], [billed(), billed("ep-of-others")])
    assert sides(found) == {("ep-1", DAY): Side.BOTH, ("ep-1", NEXT): Side.OURS, ("ep-of-others", DAY): Side.BILLED}
    assert [pair.tokens_over for pair in found.pairs] == [0, -1000, 1000]


def test_calls_by_model_id_stand_alone_until_the_key_is_named():
    """No record knows its key, and no endpoint's line holds such calls."""
    calls, bill = [ours("doubao-seed-1-6-251015"), ours("ep-1")], [billed("apikey-a"), billed("ep-1")]
    assert sides(reconcile(calls, bill)) == {
        ("ep-1", DAY): Side.BOTH,
        ("apikey-a", DAY): Side.BILLED,
        ("doubao-seed-1-6-251015", DAY): Side.OURS,
    }
    found = reconcile(calls, bill, "apikey-a")
    assert sides(found) == {("ep-1", DAY): Side.BOTH, ("apikey-a", DAY): Side.BOTH}
    assert found.pairs[1].ours.tokens == 2000  # both kinds of call went with it, and the bill says so too


def test_a_bill_by_key_alone_has_no_place_for_endpoints():
    assert sides(reconcile([ours("ep-1")], [billed("apikey-a")], "apikey-a")) == {("apikey-a", DAY): Side.BOTH}


def test_items_that_are_no_calls_are_added_up_apart():
    found = reconcile([], [billed("bucket-1", payable="2"), billed("cdn.example.com", payable="3")])
    assert found.pairs == []
    assert (found.apart.lines, found.apart.payable) == (2, {"CNY": Decimal(5)})


def test_uses_that_are_no_tokens_are_kept_by_their_unit():
    (pair,) = reconcile([], [billed(tokens="0", unit="张", count=Decimal(3))]).pairs
    assert (pair.billed.tokens, pair.billed.others) == (0, {"张": Decimal(3)})


def test_days_add_up_to_their_item():
    (item,) = reconcile([ours(), ours(day=NEXT)], [billed(), billed(day=""), billed(day=NEXT)]).items
    assert (item.ours.tokens, item.billed.tokens, item.billed.lines) == (2000, 3000, 3)


def test_the_bill_says_which_days_it_has():
    assert reconcile([ours(day="2026-01-01")], [billed(day=NEXT), billed(), billed(day="")]).days == (DAY, NEXT)
    assert reconcile([ours()], []).days == ("", "")


ITEMS = st.sampled_from(["ep-1", "ep-2", "apikey-a", "apikey-b", "doubao-x", "bucket"])
DAYS = st.sampled_from([DAY, NEXT, ""])


@given(
    st.lists(st.tuples(ITEMS.filter(lambda item: not item.startswith("apikey")), DAYS, st.integers(0, 99))),
    st.lists(st.tuples(ITEMS, DAYS, st.decimals(0, 99, places=3))),
    st.sampled_from(["", "apikey-a", "apikey-missing"]),
)
def test_no_token_is_lost_and_none_is_counted_twice_for_an_item(calls, lines, key):
    found = reconcile(
        [ours(model, day, tokens) for model, day, tokens in calls],
        [billed(item, day, str(tokens)) for item, day, tokens in lines],
        key,
    )
    assert sum(pair.billed.tokens for pair in found.pairs if pair.billed) + (
        found.apart.tokens if found.apart else 0
    ) == sum(tokens for *_, tokens in lines)
    of_item = {item.item: item.ours.tokens for item in found.items if item.ours}
    for model in {model for model, *_ in calls if not key}:
        assert of_item[model] == sum(tokens for name, _, tokens in calls if name == model)
    if key and calls:
        assert of_item[key] == sum(tokens for *_, tokens in calls)

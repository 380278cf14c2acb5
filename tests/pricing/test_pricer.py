"""Costs against the price page's own example, tables made by hand, and properties that any bill has."""

from datetime import UTC, date, datetime, time
from decimal import Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.pricing.amounts import Cost, Money, Unknown
from arkbatch.pricing.price_book import Peak, PriceBook, PriceRow, Rates, Tier
from arkbatch.pricing.price_files import packaged_prices
from arkbatch.pricing.pricer import Pricer, column_of
from arkbatch.pricing.tariff import version_edges

AT = datetime(2026, 11, 21, 20, tzinfo=UTC)
BOOK = packaged_prices()
ARK = Pricer(BOOK.only_provider("ark"))
SEED = "doubao-seed-1-6-250615"


def cost(usage, model=SEED, lane="online", tier="default", at=AT, pricer=ARK):
    return pricer.cost_of_call(usage, model=model, lane=lane, service_tier=tier, at=at)


def amount(*args, **kwargs):
    return cost(*args, **kwargs).amount


def test_the_price_page_s_example_every_token_at_the_dearest_tier():
    """200k in and 14k out on seed-1.6 are all billed at 2.4 and 24, not in graduated brackets."""
    assert amount({"input": 200_000, "output": 14_000}) == Decimal("0.816")


@pytest.mark.parametrize(
    ("model", "given_", "answered", "rates"),
    [
        ("doubao-seed-1.6", 32_000, 200, ("0.80", "2.00")),
        ("doubao-seed-1.6", 32_000, 201, ("0.80", "8.00")),
        ("doubao-seed-1.6", 32_001, 200, ("1.20", "16.00")),
        ("doubao-seed-1.6", 128_000, 1, ("1.20", "16.00")),
        ("doubao-seed-1.6", 128_001, 1, ("2.40", "24.00")),
        ("doubao-seed-1.6", 256_000, 1, ("2.40", "24.00")),
        ("doubao-seed-1.8", 1, 200, ("0.80", "2.00")),
        ("doubao-seed-1.8", 1, 201, ("0.80", "8.00")),
        ("doubao-seed-1.6-lite", 32_000, 200, ("0.30", "0.60")),
        ("doubao-seed-1.6-lite", 32_000, 201, ("0.30", "2.40")),
        ("doubao-seed-1.6-flash", 32_000, 201, ("0.15", "1.50")),
        ("doubao-seed-1.6-flash", 32_001, 201, ("0.30", "3.00")),
        ("doubao-seed-2.0-pro", 32_000, 1, ("3.2", "16")),
        ("doubao-seed-2.0-pro", 32_001, 1, ("4.8", "24")),
        ("doubao-seed-2.0-pro", 128_001, 1, ("9.6", "48")),
        ("glm-4.7", 32_000, 200, ("2", "8")),
        ("glm-4.7", 32_000, 201, ("3", "14")),
        ("glm-4.7", 32_001, 1, ("4", "16")),
        ("deepseek-v3.2", 32_000, 1, ("2", "3")),
        ("deepseek-v3.2", 32_001, 1, ("4", "6")),
        ("doubao-seed-2.1-pro", 1_024_000, 1, ("6", "30")),
    ],
)
def test_an_edge_belongs_to_the_tier_below_it(model, given_, answered, rates):
    expected = (given_ * Decimal(rates[0]) + answered * Decimal(rates[1])) / 1_000_000
    assert amount({"input": given_, "output": answered}, model) == expected


def test_the_last_tier_ends_where_the_window_does():
    assert amount({"input": 262_144, "output": 0}) == Decimal("0.6291456")
    assert cost({"input": 262_145, "output": 0}) == Unknown(f"{SEED} (online) has no price for 262145 tokens of input")


MIXED = [  # model, lane, service tier, usage, CNY worked out by hand
    (SEED, "online", "default", {"input": 200_000, "output": 14_000}, "0.816"),
    (SEED, "online", "", {"input": 1000, "cached": 400, "output": 200, "reasoning": 150}, "0.000944"),
    (SEED, "online", "", {"input": 1000, "cached": 400, "output": 201}, "0.002152"),
    (SEED, "batch", "", {"input": 1000, "cached": 400, "output": 201}, "0.001108"),
    ("doubao-seed-2-0-pro-260215", "online", "fast", {"input": 32_001, "cached": 1, "output": 10}, "0.46152288"),
    (
        "doubao-seed-2-0-lite-260428",
        "online",
        "default",
        {"input": 5000, "audio_input": 3000, "cached": 1000, "audio_cached": 500, "output": 100},
        "0.02472",
    ),
    ("glm-4-7-251222", "online", "default", {"input": 10_000, "output": 201}, "0.032814"),
    ("doubao-embedding-vision-250615", "online", "", {"input": 2000, "image_input": 1312, "output": 0}, "0.0028432"),
    ("doubao-seed-2-1-turbo-260628", "online", "flex", {"input": 1000, "output": 100}, "0.00225"),
    ("deepseek-v4-pro-260425", "online", "default", {"input": 1000, "cached": 500, "output": 100}, "0.00735"),
    ("doubao-pro-32k-241215", "batch", "", {"input": 1000, "output": 100}, "0.001"),
    ("doubao-seed-1-6-flash-250828", "batch", "default", {"input": 7, "output": 3}, "0.000002775"),
]


@pytest.mark.parametrize(("model", "lane", "tier", "usage", "expected"), MIXED)
def test_a_row_of_a_mixed_job_to_the_last_digit(model, lane, tier, usage, expected):
    found = cost(usage, model, lane, tier)
    assert (found.amount, found.currency) == (Decimal(expected), "CNY")


def test_a_mixed_job_adds_up_to_the_last_digit():
    total = Money()
    for model, lane, tier, usage, _ in MIXED:
        total.add_cost(cost(usage, model, lane, tier))
    assert total.amounts == {"CNY": Decimal("1.352706855")}
    assert (total.unpriced, total.at_most) == (0, 1)


@pytest.mark.parametrize(
    ("usage", "model", "lane", "tier", "reason"),
    [
        ({"input": 1, "output": 1}, "gpt-4o", "online", "", "gpt-4o is not in the price book for this server"),
        (
            {"input": 1, "output": 1},
            "",
            "online",
            "",
            "a reply without a model is not in the price book for this server",
        ),
        ({"input": 1, "output": 1}, "doubao-seed-code", "batch", "", "doubao-seed-code (batch) has no price"),
        ({"input": 1, "output": 1}, SEED, "online", "fast", f"{SEED} (fast) has no price"),
        ({"input": 1, "output": 1}, SEED, "batch", "fast", f"{SEED} (batch, fast) has no price"),
        ({"input": 1, "output": 1}, SEED, "online", "scale", f"{SEED} (scale) is prepaid"),
        ({}, SEED, "online", "", "the reply did not count its tokens"),
        ({"input": 0, "output": 0}, SEED, "online", "", "the reply did not count its tokens"),
        (
            {"input": 2, "audio_input": 1, "output": 1},
            SEED,
            "online",
            "",
            f"{SEED} (online) has no price for the meter audio_input",
        ),
        (
            {"input": 2, "cached": 1, "output": 1},
            "doubao-1.5-vision-pro",
            "online",
            "",
            "doubao-1.5-vision-pro (online) has no price for the meter cached",
        ),
        (
            {"input": 1, "output": 2, "audio_output": 1},
            SEED,
            "online",
            "",
            f"{SEED} (online) has no price for the meter audio_output",
        ),
        (
            {"input": 1, "cached": 2, "output": 1},
            SEED,
            "online",
            "",
            "the usage contradicts itself: a part of the input is larger than the whole",
        ),
    ],
)
def test_what_is_not_known_is_unknown_and_says_why(usage, model, lane, tier, reason):
    assert cost(usage, model, lane, tier) == Unknown(reason)


@pytest.mark.parametrize(
    ("lane", "tier", "column"),
    [
        ("online", "", "online"),
        ("online", "auto", "online"),
        ("online", "Default", "online"),
        ("online", "flex", "low"),
        ("online", "low_priority", "low"),
        ("batch", "default", "batch"),
        ("batch", "flex", "batch"),
        ("online", "scale", "scale"),
        ("online", "something-new", "something-new"),
    ],
)
def test_the_column_of_a_lane_and_service_tier(lane, tier, column):
    assert column_of(lane, tier) == column


def test_images_and_video_without_a_price_of_their_own_are_ordinary_input():
    plain = {"input": 1000, "output": 10}
    assert amount(plain | {"image_input": 700, "video_input": 100}) == amount(plain)


def test_a_prepaid_pack_can_be_priced_by_the_user():
    row = PriceRow("m", "CNY", (Tier({"scale": Rates(Decimal(0), Decimal(0))}),))
    usage = {"input": 5, "output": 5, "provisioned_input": 5, "provisioned_output": 5}
    assert amount(usage, "m", tier="scale", pricer=Pricer(PriceBook((row,)))) == 0


@pytest.mark.parametrize(
    ("at", "expected", "at_most"),
    [
        (datetime(2026, 8, 27, 15, 59, tzinfo=UTC), 12_000_000, False),
        (datetime(2026, 8, 27, 16, tzinfo=UTC), 9_000_000, True),
        (datetime(2020, 1, 1, tzinfo=UTC), 12_000_000, False),
    ],
)
def test_a_new_price_holds_from_its_day_on_in_beijing(at, expected, at_most):
    found = cost({"input": 1_000_000, "output": 0}, "deepseek-v4-pro", at=at)
    assert (found.amount * 1_000_000, found.at_most) == (expected, at_most)


WEEKDAYS = Peak((1, 2, 3, 4, 5), ((time(9), time(12)), (time(14), time(18))))


@pytest.mark.parametrize(
    ("hour", "day", "expected"),
    [(8.99, 16, 1), (9, 16, 2), (11.99, 16, 2), (12, 16, 1), (14, 16, 2), (18, 16, 1), (10, 21, 1), (10, 22, 1)],
)
def test_with_known_hours_the_clock_of_beijing_picks_the_price(hour, day, expected):
    tier = Tier({"online": Rates(Decimal(2), Decimal(4)), "off_peak": Rates(Decimal(1), Decimal(2))})
    pricer = Pricer(PriceBook((PriceRow("m", "CNY", (tier,), peak=WEEKDAYS),)))
    at = datetime.fromisoformat(f"2026-11-{day}T{int(hour):02}:{round(hour % 1 * 60):02}:00+08:00")
    found = cost({"input": 1_000_000, "output": 0}, "m", at=at.astimezone(UTC), pricer=pricer)
    assert (found.amount, found.at_most) == (expected, False)


def test_a_time_without_a_zone_is_refused_where_the_time_matters():
    with pytest.raises(ValueError, match="zone"):
        cost({"input": 1, "output": 1}, "deepseek-v4-pro", at=AT.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("total", "text"),
    [
        (Money(), "0.00"),
        (Money({"CNY": Decimal("12.4")}), "12.40 CNY"),
        (Money({"CNY": Decimal("12.4")}, unpriced=310), "12.40 CNY + 310 rows without a price"),
        (Money({}, unpriced=1), "1 row without a price"),
        (Money({}, unpriced=2310), "2,310 rows without a price"),
        (Money({"USD": Decimal("0.00042"), "CNY": Decimal(3)}), "3.00 CNY + 0.00042 USD"),
        (Money({"CNY": Decimal("1.005")}, at_most=2), "at most 1.01 CNY"),
        (Money({"CNY": Decimal("1234567.891")}), "1234567.89 CNY"),
    ],
)
def test_a_total_says_what_it_leaves_out_and_never_looks_free(total, text):
    assert str(total) == text


def test_a_total_survives_as_plain_data():
    total = Money({"CNY": Decimal("1E-7"), "USD": Decimal("0.10")}, 3, 1)
    assert total.to_builtins() == {"amounts": {"CNY": "0.0000001", "USD": "0.10"}, "unpriced": 3, "at_most": 1}
    assert Money.from_builtins(total.to_builtins()) == total


MODELS = sorted({row.family for row in BOOK.only_provider("ark").rows})
USAGES = st.tuples(st.integers(0, 262_144), st.integers(0, 65_536), st.floats(0, 1)).map(
    lambda t: {"input": t[0], "output": t[1], "cached": int(t[0] * t[2])}
)
COSTS = st.builds(cost, USAGES, st.sampled_from([*MODELS, "nobody-s-model"]), st.sampled_from(["online", "batch"]))


@given(st.lists(COSTS, max_size=20), st.randoms())
def test_cost_is_additive_and_independent_of_order(costs, random):
    """However the rows are ordered and cut into runs, the total has the same digits, and no unknown row is lost."""
    straight, first, second = Money(), Money(), Money()
    for each in costs:
        straight.add_cost(each)
    shuffled = random.sample(costs, len(costs))
    for index, each in enumerate(shuffled):
        (first if index % 2 else second).add_cost(each)
    first.add_total(second)
    assert first.to_builtins() == straight.to_builtins()
    assert straight.unpriced == sum(isinstance(each, Unknown) for each in costs)


@given(USAGES, st.sampled_from(MODELS), st.sampled_from(["online", "batch"]))
def test_cached_tokens_never_cost_more(usage, model, lane):
    with_cache, without = cost(usage, model, lane), cost(usage | {"cached": 0}, model, lane)
    if isinstance(with_cache, Cost):
        assert with_cache.amount <= without.amount


@given(USAGES, st.sampled_from(MODELS))
def test_a_cost_is_never_0_for_tokens_that_were_billed(usage, model):
    found = cost(usage, model)
    if isinstance(found, Cost) and usage["input"]:
        assert found.amount > 0


@given(USAGES, st.integers(0, 4096), st.sampled_from(MODELS))
def test_no_shorter_answer_costs_more_than_the_ceiling(usage, more, model):
    limit = ARK.highest_cost(
        model=model, lane="online", service_tier="", at=AT, given=usage["input"], answered=usage["output"] + more
    )
    found = cost(usage, model)
    if isinstance(found, Cost):
        assert found.amount <= limit.amount
        assert limit.at_most


def test_the_ceiling_sees_that_a_longer_answer_can_be_cheaper():
    tiers = (
        Tier({"online": Rates(Decimal(1), Decimal(100))}, to_output=Decimal("0.2")),
        Tier({"online": Rates(Decimal(1), Decimal(1))}),
    )
    pricer = Pricer(PriceBook((PriceRow("m", "CNY", tiers),)))
    limit = pricer.highest_cost(model="m", lane="online", service_tier="", at=AT, given=0, answered=300)
    assert limit.amount == Decimal("0.02")
    assert version_edges(pricer.tariff("m", "online").version_on(AT)) == ((), (200,))


def test_the_edges_of_a_tariff_are_tokens():
    assert version_edges(ARK.tariff(SEED, "online").version_on(AT)) == ((32_000, 128_000), (200,))


def test_the_precision_of_the_program_around_us_changes_nothing():
    with localcontext(prec=3):
        assert amount({"input": 200_001, "output": 14_001}) == Decimal("0.8160264")


def test_batch_halves_input_and_output_but_not_the_cached_price():
    for row in BOOK.only_provider("ark").rows:
        for tier in row.tiers:
            if "batch" in tier.price and row.family != "doubao-pro-32k":
                online, batch = tier.price["online"], tier.price["batch"]
                assert (batch.input * 2, batch.output * 2) == (online.input, online.output), row.family
                assert batch.cached == online.cached or online.cached is None


def test_the_rows_used_are_remembered_with_all_their_days():
    pricer = Pricer(PriceBook(BOOK.only_provider("ark").rows, {"ep-1": "deepseek-v4-pro"}))
    cost({"input": 1, "output": 1}, "ep-1", pricer=pricer)
    cost({"input": 1, "output": 1}, "no-such-model", pricer=pricer)
    kept = pricer.used_prices()
    assert [row.effective_from for row in kept.rows] == [None, date(2026, 8, 28)]
    assert kept.names == {"ep-1": "deepseek-v4-pro"}


def test_a_price_of_one_s_own_for_flex_goes_before_that_of_low_priority():
    prices = {name: Rates(Decimal(rate), Decimal(rate)) for name, rate in (("online", 4), ("flex", 2), ("low", 1))}
    own = Pricer(PriceBook((PriceRow("m", "USD", (Tier(prices),)),)))
    million = {"input": 1_000_000, "output": 0}
    assert amount(million, "m", tier="flex", pricer=own) == 2
    assert amount(million, "m", tier="low_priority", pricer=own) == 1


def test_calls_of_built_in_tools_and_writes_to_a_cache_leave_the_price_of_the_tokens():
    plain = {"input": 1_000, "output": 100}
    assert amount({**plain, "web_searches": 3, "mcp_calls": 1}) == amount(plain)
    assert amount({**plain, "cache_write": 500}) == amount(plain), "a write without a price of its own is input"
    assert isinstance(cost({**plain, "unheard_of": 3}), Unknown)

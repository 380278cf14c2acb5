"""Which price a model's name means, what a user may lay over the book, and that a snapshot loses no digit."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.errors import JobError
from arkbatch.pricing.price_book import PriceBook, PriceRow, Rates, Tier, provider_of
from arkbatch.pricing.price_files import from_table, packaged_prices, price_book, prices_at, read_price_file
from arkbatch.pricing.pricer import Pricer

BOOK = packaged_prices()
FAMILIES = [  # tables 1.1 and 1.3 of the reference
    "doubao-seed-2.1-pro doubao-seed-evolving doubao-seed-2.1-turbo doubao-seed-2.1-lite doubao-seed-2.0-pro",
    "doubao-seed-2.0-code doubao-seed-2.0-lite doubao-seed-2.0-mini doubao-seed-1.8 doubao-seed-1.6",
    "doubao-seed-1.6-thinking doubao-seed-1.6-vision doubao-seed-1.6-lite doubao-seed-1.6-flash doubao-seed-code",
    "doubao-seed-character doubao-seed-translation doubao-1.5-pro-32k doubao-1.5-lite-32k doubao-1.5-vision-pro",
    "doubao-1.5-vision-lite doubao-1.5-pro-256k doubao-1.5-thinking-pro doubao-1.5-thinking-vision-pro doubao-pro-32k",
    "doubao-lite-32k doubao-lite-4k deepseek-r1 deepseek-v3 deepseek-v3.1 deepseek-v3.2 deepseek-v4-flash",
    "deepseek-v4-pro glm-4.7 glm-5.2 kimi-k2 doubao-embedding doubao-embedding-large doubao-embedding-vision",
]
ABROAD = (
    "seed-1.8 seed-1.6 seed-1.6-flash seed-2.0-pro seed-2.0-lite seed-2.0-mini seed-2.0-code dola-seed-2.1-turbo "
    "deepseek-v4.1-flash glm-5.2 kimi-k2 deepseek-v3.1 deepseek-r1 deepseek-v3 gpt-oss-120b"
)


def test_every_model_of_the_reference_is_in_the_book():
    assert {row.family for row in BOOK.rows if row.provider == "ark"} == set(" ".join(FAMILIES).split())
    assert {row.family for row in BOOK.rows if row.provider == "byteplus"} == set(ABROAD.split())


def test_every_row_says_where_it_comes_from_and_when_it_was_read():
    for row in BOOK.rows:
        assert row.source.startswith("https://"), row.family
        assert row.checked_on, row.family
        assert row.confidence in {"A", "B", "C", "D"}, row.family
        assert row.currency == {"ark": "CNY", "byteplus": "USD"}[row.provider]


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("doubao-seed-1-6-250615", "doubao-seed-1.6"),
        ("doubao-seed-1-6", "doubao-seed-1.6"),
        ("Doubao-Seed-1.6", "doubao-seed-1.6"),
        ("doubao-seed-1-6-flash-250828", "doubao-seed-1.6-flash"),
        ("doubao-seed-1-6-lite-251015", "doubao-seed-1.6-lite"),
        ("doubao-seed-1-6-vision-250815", "doubao-seed-1.6-vision"),
        ("doubao-seed-1-6-thinking-250715", "doubao-seed-1.6-thinking"),
        ("doubao-seed-2-0-code-preview-260215", "doubao-seed-2.0-code"),
        ("doubao-seed-code-preview-251028", "doubao-seed-code"),
        ("doubao-1-5-pro-32k-character-250715", "doubao-1.5-pro-32k"),
        ("doubao-1-5-vision-pro-32k-250115", "doubao-1.5-vision-pro"),
        ("kimi-k2-thinking-251104", "kimi-k2"),
        ("deepseek-v3-1-terminus", "deepseek-v3.1"),
        ("doubao-embedding-large-text-250515", "doubao-embedding-large"),
        ("doubao-embedding-text-240715", "doubao-embedding"),
        ("doubao-seed-1-6-new-kind", None),
        ("doubao-seed-1-6-2506155", None),
        ("doubao-seed-1", None),
        ("ep-20250101-abcde", None),
        ("", None),
    ],
)
def test_an_id_means_a_family_only_whole_or_without_its_date(model, family):
    found = BOOK.only_provider("ark").rows_of(model)
    assert (found[0].family if found else None) == family


def test_one_id_at_two_providers_is_two_prices():
    assert BOOK.only_provider("ark").rows_of("deepseek-r1-250528")[0].currency == "CNY"
    assert BOOK.only_provider("byteplus").rows_of("deepseek-r1-250528")[0].currency == "USD"
    assert BOOK.only_provider("").rows_of("deepseek-r1-250528") == ()


@pytest.mark.parametrize(
    ("url", "provider"),
    [
        ("https://ark.cn-beijing.volces.com/api/v3", "ark"),
        ("https://ark.ap-southeast.bytepluses.com/api/v3", "byteplus"),
        ("https://notvolces.com/api/v3", ""),
        ("https://api.openai.com/v1", ""),
        ("http://127.0.0.1:8000/v1", ""),
        ("", ""),
    ],
)
def test_the_address_says_whose_prices_hold(url, provider):
    assert provider_of(url) == provider


FLAT = {"family": "mine", "currency": "CNY", "price": {"online": {"input": 1, "output": 2}}}


def test_a_user_s_row_goes_over_ours_for_its_ids_and_no_others():
    own = from_table({"model": [FLAT | {"family": "doubao-seed-2-0-code-preview-260215"}]}, "own")
    book = own.laid_over(BOOK.only_provider("ark"))
    assert book.rows_of("doubao-seed-2-0-code-preview-260215")[0].provider == ""
    assert book.rows_of("doubao-seed-2-0-code-preview-260999")[0].provider == "ark"


def test_a_user_s_family_replaces_ours_and_keeps_its_ids():
    book = from_table({"model": [FLAT | {"family": "kimi-k2"}]}, "own").laid_over(BOOK)
    assert [row.provider for row in book.rows if row.family == "kimi-k2"] == [""]
    assert book.only_provider("ark").rows_of("kimi-k2-thinking-251104")[0].tiers[0].price["online"].input == 1


def test_a_user_s_id_without_a_date_beats_ours_with_one():
    ours = PriceBook((PriceRow("a", "CNY", (), match=("b-260101",)),))
    own = PriceBook((PriceRow("b", "CNY", ()),))
    assert own.laid_over(ours).rows_of("b-260101")[0].family == "b"


def test_an_endpoint_id_is_mapped_to_a_family(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text('[map]\n"ep-20250101-abcde" = "doubao-seed-1.6"\n', encoding="utf-8")
    assert price_book(file).only_provider("ark").rows_of("ep-20250101-abcde")[0].family == "doubao-seed-1.6"
    assert price_book(None, {"map": {"ep-1": "kimi-k2"}}).rows_of("ep-1")[0].family == "kimi-k2"


def test_a_file_of_prices_goes_over_the_job_s(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(
        '[[model]]\nfamily="mine"\ncurrency="USD"\nprice.online={input=0.1, output=0.3}\n', encoding="utf-8"
    )
    rates = price_book(file, {"model": [FLAT]}).rows_of("mine")[0].tiers[0].price["online"]
    assert rates == Rates(Decimal("0.1"), Decimal("0.3"))
    assert prices_at("", file).rows_of("mine")


OF_ANOTHER = FLAT | {"provider": "byteplus"}


def test_prices_that_cannot_hold_at_this_server_are_refused_and_not_passed_over():
    with pytest.raises(JobError, match=r"those of byteplus, and this server has those of ark.*provider = "):
        prices_at("ark", None, {"model": [OF_ANOTHER]})
    assert prices_at("byteplus", None, {"model": [OF_ANOTHER]}).rows_of("mine")
    assert not prices_at("ark", None, {"model": [OF_ANOTHER]}, may_be_unused=True).rows_of("mine")


def test_at_a_server_without_a_list_the_prices_of_a_user_hold_whatever_provider_they_name():
    assert prices_at("", None, {"model": [OF_ANOTHER]}).rows_of("mine")
    assert not prices_at("", None, {"model": [OF_ANOTHER]}).rows_of("doubao-seed-1-6-251015")


def test_a_name_may_be_mapped_to_a_family_whose_price_does_not_hold_here():
    assert prices_at("", None, {"map": {"ep-1": "kimi-k2"}}).rows_of("ep-1") == ()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"model": [FLAT | {"price": {"online": {"input": 1}}}]}, r"\(mine\) is not a whole price.*`output`"),
        ({"model": [FLAT | {"price": {"online": {"output": 1}}}]}, "`input`"),
        ({"model": [{k: v for k, v in FLAT.items() if k != "currency"}]}, "`currency`"),
        ({"model": [{k: v for k, v in FLAT.items() if k != "family"}]}, "`family`"),
        ({"model": [{k: v for k, v in FLAT.items() if k != "price"}]}, "`tier`"),
        ({"model": [FLAT | {"price": {"online": {"input": 1, "output": 1, "hit": 1}}}]}, "hit"),
        ({"model": [FLAT | {"price": {"online": {"input": -1, "output": 1}}}]}, "price.online.input is -1"),
        ({"model": [FLAT | {"price": {"online": {"input": float("nan"), "output": 1}}}]}, "NaN"),
        ({"model": [FLAT | {"currency": "¥"}]}, "not a code"),
        ({"model": [FLAT | {"k": 0}]}, "k is 0"),
        ({"model": [FLAT | {"tier": []}]}, "with and without tiers"),
        ({"model": [FLAT, FLAT]}, "stands twice"),
        ({"model": [FLAT, FLAT | {"family": "other", "match": ["mine"]}]}, "mine belongs to other and to mine"),
        ({"model": FLAT}, r"\[\[model\]\]"),
        ({"model": ["mine"]}, "not a table"),
        ({"map": {"ep-1": 3}}, "from a name to a family"),
        ({"map": []}, r"\[map\]"),
        ({"modell": []}, "modell is not a key"),
    ],
)
def test_a_half_set_or_wrong_override_is_refused_by_name(table, message):
    with pytest.raises(JobError, match=message):
        from_table(table, "own.toml")


@pytest.mark.parametrize(
    "tiers",
    [
        [{"to_input": 128}, {"to_input": 32}],
        [{}, {"to_input": 32}],
        [{"to_input": 32}, {"to_input": 32, "to_output": 0.2}],
        [{"to_input": 32, "to_output": 0.2}, {"to_input": 32, "to_output": 0.2}],
    ],
)
def test_tiers_that_would_never_be_used_are_refused(tiers):
    priced = [tier | {"price": FLAT["price"]} for tier in tiers]
    with pytest.raises(JobError, match="never be used"):
        from_table({"model": [{"family": "m", "currency": "CNY", "tier": priced}]}, "own")


def test_a_name_mapped_to_nothing_is_refused():
    with pytest.raises(JobError, match='"ep-1" is mapped to "no-such", which is not in the price book'):
        price_book(None, {"map": {"ep-1": "no-such"}})


@pytest.mark.parametrize(("text", "message"), [("[[", "not TOML"), (None, "cannot read")])
def test_a_file_that_cannot_be_read_is_named(tmp_path, text, message):
    file = tmp_path / "p.toml"
    if text:
        file.write_text(text, encoding="utf-8")
    with pytest.raises(JobError, match=message):
        read_price_file(file)


def test_a_snapshot_of_the_whole_book_comes_back_equal_to_the_digit():
    back = PriceBook.from_builtins(json.loads(json.dumps(BOOK.to_builtins())))
    assert back == BOOK
    assert str(back.rows[0].tiers[0].price["online"].input) == "6.00"


PRICES = st.decimals(0, 1000, places=6)
RATES = st.builds(Rates, PRICES, PRICES, st.none() | PRICES)
ROWS = st.builds(
    PriceRow, st.just("m"), st.just("CNY"), st.tuples(st.builds(Tier, st.fixed_dictionaries({"online": RATES})))
)


@given(ROWS, st.integers(1, 10**6), st.integers(0, 10**6))
def test_a_kept_snapshot_gives_the_same_digits_after_any_change_of_price(row, given_, answered):
    at = datetime(2026, 11, 21, tzinfo=UTC)
    question = {"model": "m", "lane": "online", "service_tier": "", "at": at}
    pricer = Pricer(PriceBook((row,)))
    before = pricer.cost_of_call({"input": given_, "output": answered}, **question)
    kept = PriceBook.from_builtins(json.loads(json.dumps(pricer.used_prices().to_builtins())))
    newer = PriceBook((PriceRow("m", "USD", (Tier({"online": Rates(Decimal(7), Decimal(7))}),)),))
    after = Pricer(kept.laid_over(newer)).cost_of_call({"input": given_, "output": answered}, **question)
    assert (str(after.amount), after.currency) == (str(before.amount), before.currency)

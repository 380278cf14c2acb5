import pytest

from arkbatch.core.text import count_text, duration_text, number_text, short_number


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (940, "940"),
        (9_999, "9999"),
        (9_999.7, "10k"),
        (12_345, "12.3k"),
        (999_499, "999k"),
        (999_500, "1M"),
        (4_560_000, "4.56M"),
        (999_600_000, "1G"),
        (1e9, "1G"),
        (12.4e9, "12.4G"),
        (0.4, "0"),
    ],
)
def test_a_count_in_a_few_characters(number, text):
    assert short_number(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (3_661, "1 h 01 min"),
        (172_799, "47 h 59 min"),
        (172_800, "2 d 0 h"),
        (300_000, "3 d 11 h"),
    ],
)
def test_a_duration_in_the_two_units_that_matter(seconds, text):
    assert duration_text(seconds) == text


def test_large_counts_are_grouped():
    assert number_text(1_234_567) == "1,234,567"


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows"), (1, "1 row"), (2_000, "2,000 rows")])
def test_one_thing_is_no_many(number, text):
    assert count_text(number, "row") == text

from hypothesis import given
from hypothesis import strategies as st

from arkbatch.journal.bitmap import Bitmap

NUMBERS = st.integers(min_value=0, max_value=5000)


@given(st.lists(st.tuples(st.booleans(), NUMBERS)))
def test_behaves_as_a_set_of_row_numbers(steps):
    bitmap, model = Bitmap(), set()
    for add, number in steps:
        (bitmap.add if add else bitmap.discard)(number)
        (model.add if add else model.discard)(number)
    assert bitmap.count == len(model)
    assert all((number in bitmap) == (number in model) for _, number in steps)
    for last in (0, 7, 8, 2500, 6000):
        assert bitmap.count_until(last) == sum(number <= last for number in model)


@given(st.sets(NUMBERS))
def test_survives_as_bytes(numbers):
    bitmap = Bitmap()
    for number in numbers:
        bitmap.add(number)
    again = Bitmap(bytes(bitmap))
    assert again == bitmap
    assert again.count == len(numbers)


@given(st.sets(NUMBERS), st.sets(st.integers(0, 3000)), st.integers(0, 40))
def test_takes_in_another_set_behind_its_own_numbers(numbers, others, gap):
    first, second = Bitmap(), Bitmap()
    for number in numbers:
        first.add(number)
    for number in others:
        second.add(number)
    shift = max(numbers, default=-1) + 1 + gap
    first.absorb(second, shift)
    assert first.count == len(numbers) + len(others)
    together = numbers | {number + shift for number in others}
    assert all((number in first) == (number in together) for number in range(shift + 3010))


def test_ten_million_rows_stay_under_two_megabytes():
    bitmap = Bitmap()
    for number in range(0, 10_000_001, 9973):
        bitmap.add(number)
    assert len(bytes(bitmap)) < 1_600_000

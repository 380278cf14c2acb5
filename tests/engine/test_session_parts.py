"""Rows come as they came, some of them read at a time."""

import pytest
from builders import bad_row, row
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from arkbatch.core.errors import UsageError
from arkbatch.engine.session_parts import read_in_groups


@given(st.lists(st.integers(0, 1 << 20)))
def test_no_row_is_lost_or_moved(offsets):
    rows = [replace(row(number), offset=offset) for number, offset in enumerate(offsets, start=1)]
    assert list(read_in_groups(iter(rows))) == rows


@pytest.mark.parametrize(("size", "most"), [(100, 16), (1 << 14, 5), (20 << 20, 2)])
def test_large_rows_do_not_wait_for_each_other_in_memory(size, most):
    read = 0

    def rows():
        nonlocal read
        for read in range(1, 100):
            yield replace(row(read), offset=read * size)

    waiting = [read - given for given, _ in enumerate(read_in_groups(rows()), start=1)]
    assert max(waiting) == most - 1


def test_what_was_read_before_an_error_comes_before_it():
    def rows():
        yield from (row(1), bad_row(2))
        raise UsageError("damaged")

    together, given = read_in_groups(rows()), []
    with pytest.raises(UsageError, match="damaged"):
        given.extend(each.number for each in together)
    assert given == [1, 2]

"""Numbers keep the digits that they were written with, wherever they stand."""

import copy
import json
import pickle

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.core.json_numbers import (
    NOT_STRICT,
    WrittenNumber,
    dumps_as_written,
    loads_as_written,
    loads_strict,
    raw_number,
)

WHOLE = st.from_regex(r"-?(0|[1-9][0-9]{0,60})", fullmatch=True)
FRACTION = st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
NUMBER = WHOLE | FRACTION
NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
# JSON as text, so that each number has the digits that were drawn.
TEXT = st.recursive(
    NUMBER | st.sampled_from(["null", "true"]) | NAMES.map(json.dumps),
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda parts: f"[{','.join(parts)}]")
        | st.dictionaries(NAMES, inner, max_size=4).map(
            lambda parts: "{" + ",".join(f"{json.dumps(name)}:{each}" for name, each in parts.items()) + "}"
        )
    ),
    max_leaves=8,
)


def numbers_of(text):
    """Every number of a JSON text, digit by digit."""
    found = []
    json.loads(text, parse_float=found.append, parse_int=found.append)
    return found


@given(st.lists(TEXT, max_size=4).map(lambda parts: f"[{','.join(parts)}]"))
def test_what_is_read_and_written_again_has_the_same_digits(text):
    value = loads_strict(text.encode())
    assert numbers_of(dumps_as_written(value)) == numbers_of(text)
    assert numbers_of(msgspec.json.encode(value, enc_hook=raw_number)) == numbers_of(text)


@pytest.mark.parametrize("text", ["1.0", "0.7", "12", "-1", "1e-7", "18446744073709551615"])
def test_a_number_that_is_written_the_same_by_itself_stays_a_plain_one(text):
    assert type(loads_as_written(text.encode())) in (int, float)


@pytest.mark.parametrize(
    "text", ["0.70", "1E5", "1e5", "1e+22", "1e22", "-0", "0.1000000000000000055511151231257827", "1.0e0"]
)
def test_a_number_that_would_change_remembers_its_text_when_it_is_copied(text):
    number = loads_as_written(text.encode())
    assert type(number) is WrittenNumber
    for again in (copy.deepcopy(number), pickle.loads(pickle.dumps(number))):
        assert (again.text, again == float(text)) == (text, True)


@pytest.mark.parametrize(
    "text", ["{'a': 1}", '{"a": NaN}', '{"a": 01}', '"\\ud800"', '{"a": 1} 2', "", '"\x01"', "[" * 5000 + "]" * 5000]
)
def test_what_is_no_strict_json_is_refused(text):
    with pytest.raises(NOT_STRICT):
        loads_strict(text.encode())


def test_what_is_no_json_is_still_refused():
    with pytest.raises(TypeError, match="set"):
        dumps_as_written({"a": {1}})
    with pytest.raises(TypeError):
        dumps_as_written("\ud800")

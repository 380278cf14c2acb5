"""Rows of embeddings that go together in one call, and their parts of its reply."""

import orjson
import pytest
from builders import bad_row, failure, reply, row, success
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from arkbatch.core.outcomes import Attempt
from arkbatch.rows.packing import (
    ADVISED,
    Pack,
    Packer,
    Packing,
    halve_pack,
    pack_rows,
    packing_of,
    share_usage,
    split_outcome,
)

MOST = Packing(inputs=4, tokens=1_000)


def texts(number, *inputs, **more):
    asked = inputs[0] if len(inputs) == 1 else list(inputs)
    return row(number, endpoint="embeddings", body={"model": "e", "input": asked, **more})


def packed(*rows, most=MOST):
    """The numbers of the rows in each unit of work."""
    units = list(Packer(iter(rows), most))
    return [[each.number for each in unit.rows] if isinstance(unit, Pack) else [unit.number] for unit in units]


def test_rows_that_follow_one_another_go_together_up_to_the_most():
    assert packed(*(texts(number, "a") for number in range(1, 10))) == [[1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_what_asks_for_something_else_goes_apart_and_none_is_lost():
    rows = [
        texts(1, "a"),
        texts(2, "b", dimensions=64),
        texts(3, "c", dimensions=64),
        bad_row(4),
        row(5),
        texts(6, "d"),
    ]
    assert packed(*rows) == [[1], [2, 3], [4], [5], [6]]


def test_a_row_with_an_id_of_its_own_goes_alone_since_a_call_has_one_id():
    own = replace(texts(2, "b"), request_id="mine")
    assert packed(texts(1, "a"), own, texts(3, "c"), texts(4, "d")) == [[1], [2], [3, 4]]


def test_the_order_of_keys_is_no_difference():
    one, other = {"model": "e", "user": "u", "input": "a"}, {"user": "u", "input": "b", "model": "e"}
    assert packed(*(row(n, endpoint="embeddings", body=b) for n, b in ((1, one), (2, other)))) == [[1, 2]]


def test_a_row_of_many_texts_counts_them_all_and_one_too_large_goes_alone():
    rows = [texts(1, "a", "b", "c"), texts(2, "d", "e"), texts(3, *"fghijk"), texts(4, "l")]
    assert packed(*rows) == [[1], [2], [3], [4]]


def test_long_texts_fill_a_call_before_many_do():
    assert packed(*(texts(number, "字" * 400) for number in range(1, 6))) == [[1, 2], [3, 4], [5]]


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 2)), max_size=60), st.integers(1, 8))
def test_every_row_is_in_one_pack_in_order(shapes, most):
    rows = [texts(n, *["t"] * count, dimensions=kind) for n, (count, kind) in enumerate(shapes, 1)]
    units = packed(*rows, most=Packing(most, 50))
    assert [number for unit in units for number in unit] == list(range(1, len(rows) + 1))


@pytest.mark.parametrize(
    ("asked", "at_ark", "inputs"), [("auto", True, 4), ("auto", False, ADVISED), (256, True, 256), (1, True, None)]
)
def test_how_many_go_together_is_what_the_service_advises_or_the_user_says(asked, at_ark, inputs):
    found = packing_of(asked, at_ark=at_ark)
    assert (found and found.inputs) == inputs


def vectors(*indices, **more):
    data = [{"object": "embedding", "index": index, "embedding": [index + 0.5, 1]} for index in indices]
    return reply({"id": "02", "object": "list", "model": "e-1", "data": data, **more})


def test_each_row_gets_its_own_vectors_whatever_their_order():
    whole = pack_rows([texts(1, "a"), texts(2, "b", "c"), texts(3, "d")])
    answered = vectors(3, 1, 0, 2, created=1, usage={"prompt_tokens": 8, "total_tokens": 8})
    parts = split_outcome(success(row=whole, reply=answered, usage={"input": 8, "output": 0}))
    bodies = [orjson.loads(part.reply.body) for part in parts]
    assert [part.row.number for part in parts] == [1, 2, 3]
    assert [[(item["index"], item["embedding"][0]) for item in body["data"]] for body in bodies] == [
        [(0, 0.5)],
        [(0, 1.5), (1, 2.5)],
        [(0, 3.5)],
    ]
    assert sum(body["usage"]["prompt_tokens"] for body in bodies) == 8
    assert all((body["id"], body["created"]) == ("02", 1) for body in bodies)


def test_the_digits_of_a_vector_stay_as_they_came():
    data = b'{"data":[{"index":0,"embedding":[1.10,2e-3]},{"index":1,"embedding":[0.30000000000000004]}]}'
    parts = split_outcome(success(row=pack_rows([texts(1, "a"), texts(2, "b")]), reply=reply(data), usage={}))
    assert b'"embedding":[1.10,2e-3]' in parts[0].reply.body
    assert b"usage" not in parts[0].reply.body


def test_what_was_billed_for_nothing_is_shared_out_too():
    whole = pack_rows([texts(1, "a"), texts(2, "bb")])
    calls = [Attempt("c-1", "bad_reply", 0.5, tokens={"input": 7}), Attempt("c-2", "done", 0.5)]
    answered = vectors(0, 1)
    parts = split_outcome(success(row=whole, reply=answered, usage={"input": 14}, discarded={"input": 7}, calls=calls))
    assert [part.usage for part in parts] == [{"input": 4}, {"input": 10}]
    assert [sum(part.calls[0].tokens["input"] for part in parts), len(parts[1].calls)] == [7, 2]


def test_a_failed_pack_fails_each_of_its_rows():
    parts = split_outcome(failure(row=pack_rows([texts(1, "a"), texts(2, "b")]), usage={"input": 5}))
    assert [(part.row.number, part.row.body["input"]) for part in parts] == [(1, "a"), (2, "b")]
    assert sum(part.usage["input"] for part in parts) == 5


def test_halving_ends_with_a_row_alone():
    whole = pack_rows([texts(number, "a") for number in (1, 2, 3)])
    first, second = halve_pack(whole)
    assert not isinstance(first, Pack)
    assert [each.number for each in halve_pack(second)] == [2, 3]


@given(
    st.dictionaries(st.sampled_from(["input", "output", "image_input"]), st.integers(0, 10**9)),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=256),
)
def test_parts_add_up_to_the_last_token(usage, weights):
    parts = share_usage(usage, weights)
    assert len(parts) == len(weights)
    assert {meter: sum(part[meter] for part in parts) for meter in usage} == usage
    assert all(count >= 0 for part in parts for count in part.values())

"""Paths that arkbatch does not know: what may be called, and how a reply is read."""

import pytest

from arkbatch.core.usage import NO_USAGE
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.endpoints.base import Answer, Problem
from arkbatch.protocol.endpoints.reply_messages import choices_of


def read(parsed):
    return ENDPOINTS["/rerank"].read(parsed, None)


def test_an_endpoint_of_its_own_has_the_path_as_its_name():
    endpoint = ENDPOINTS["/rerank"]
    assert (endpoint.name, endpoint.path) == ("/rerank", "/rerank")
    with pytest.raises(KeyError):
        ENDPOINTS["rerank"]


@pytest.mark.parametrize(
    ("parsed", "usage"),
    [
        ({"usage": {"prompt_tokens": 5, "completion_tokens": 2}}, {"input": 5, "output": 2}),
        ({"usage": {"input_tokens": 5, "output_tokens": 2}}, {"input": 5, "output": 2}),
        ({"usage": {"total_tokens": 7}}, {"input": 7, "output": 0}),
        ({"meta": {"tokens": {"input_tokens": 3, "output_tokens": 0}}}, {"input": 3, "output": 0}),
        ({"meta": {"billed_units": {"search_units": 1}}}, {"search_units": 1}),
        ({"results": []}, NO_USAGE),
        ([1, 2], NO_USAGE),
    ],
)
def test_usage_is_read_where_it_is_and_is_unknown_elsewhere(parsed, usage):
    answer = read(parsed)
    assert isinstance(answer, Answer)
    assert answer.usage == usage


@pytest.mark.parametrize("parsed", [{"error": {"code": "x"}}, "text", 5])
def test_an_error_or_a_bare_value_is_no_answer(parsed):
    assert isinstance(read(parsed), Problem)


def test_a_stream_is_refused():
    assert "stream" in ENDPOINTS["/rerank"].objection_to({"stream": True}, at_ark=False)


def test_the_size_is_that_of_all_texts_in_the_body():
    size = ENDPOINTS["/rerank"].size({"query": "ab", "documents": ["cd", {"text": "ef"}], "max_tokens": 4})
    assert (size.narrow, size.ceiling) == (6, 4)


def test_completions_have_their_text_as_the_answer():
    body = {"choices": [{"text": "once upon", "finish_reason": "length"}]}
    assert [(choice["message"]["content"], choice["finish_reason"]) for choice in choices_of(body)] == [
        ("once upon", "length")
    ]

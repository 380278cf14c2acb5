"""Streamed answers: folded, they are what the same call returns without streaming; cut short, they say so."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arkbatch.protocol.lenient_json import dumps_strictly
from arkbatch.protocol.sse import Event
from arkbatch.protocol.stream import ErrorEvent, Folding, Garbled, Truncated, Whole

HEAD = {"id": "0217", "created": 1, "model": "doubao-seed-1-6-251015", "service_tier": "default"}
USAGE = {
    "prompt_tokens": 1,
    "completion_tokens": 2,
    "total_tokens": 3,
    "completion_tokens_details": {"reasoning_tokens": 1},
}


def chunk(delta=None, *, index=0, usage=None, **rest):
    choices = [] if delta is None else [{"index": index, "delta": {"role": "assistant", **delta}, **rest}]
    return {**HEAD, "object": "chat.completion.chunk", "choices": choices, "usage": usage}


def fold(*chunks):
    folding = Folding()
    for each in chunks:
        folding.add(Event(orjson.dumps(each)))
    return folding.end()


def message_of(ending):
    assert isinstance(ending, Whole)
    return ending.body["choices"][0]["message"]


STOP = chunk({"content": ""}, finish_reason="stop")


def test_a_thinking_answer_folds_into_the_object_of_a_call_without_streaming():
    ending = fold(
        chunk({"content": "", "reasoning_content": "想"}),
        chunk({"content": "", "reasoning_content": "一想"}),
        chunk({"content": "你"}),
        chunk({"content": "好"}),
        STOP,
        chunk(usage=USAGE),
    )
    message = {"role": "assistant", "content": "你好", "reasoning_content": "想一想"}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    assert ending == Whole({**HEAD, "object": "chat.completion", "usage": USAGE, "choices": choices})


def call(index, **rest):
    return chunk({"tool_calls": [{"index": index, **rest}]})


def arguments(text):
    return {"function": {"arguments": text}}


def test_tool_calls_are_put_together_by_index():
    start = {"type": "function"}
    message = message_of(
        fold(
            call(1, id="b", function={"name": "g", "arguments": ""}, **start),
            call(0, id="a", function={"name": "f", "arguments": ""}, **start),
            call(0, function={"arguments": '{"x"'}),
            call(1, function={"arguments": "{}"}),
            call(0, id="", function={"name": None, "arguments": ":1}"}),
            chunk({}, finish_reason="tool_calls"),
        )
    )
    assert message["tool_calls"] == [
        {"id": "a", "function": {"name": "f", "arguments": '{"x":1}'}, "type": "function"},
        {"id": "b", "function": {"name": "g", "arguments": "{}"}, "type": "function"},
    ]


def test_whole_tool_calls_without_an_index_stand_in_their_order():
    calls = [{"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}} for name in "ab"]
    ending = fold(chunk({"tool_calls": calls, "content": None}), chunk({}, finish_reason="tool_calls"))
    assert message_of(ending) == {"role": "assistant", "tool_calls": calls, "content": None}


CALL = {"id": "a", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "deltas",
    [
        [[{"index": "0", "id": "a", "function": {"name": "f", "arguments": "{"}}], [{"index": "0", **arguments("}")}]],
        [[{"id": "a", "function": {"name": "f", "arguments": "{"}}], [arguments("}")]],
        [{"index": 0, **CALL}],
        [[None, {"index": 0, **CALL}]],
        [[{"index": 0, "id": "a", "function": None}], [{"index": 0, "function": CALL["function"]}]],
    ],
)
def test_tool_calls_in_odd_shapes_are_put_together(deltas):
    ending = fold(*(chunk({"tool_calls": delta}) for delta in deltas), chunk({}, finish_reason="tool_calls"))
    assert message_of(ending)["tool_calls"] == [CALL]


def test_null_as_a_word_is_no_finish_reason():
    folding = Folding()
    folding.add(Event(orjson.dumps(chunk({"content": "a"}, finish_reason="null"))))
    assert not folding.is_over


def test_an_error_beside_choices_of_null_is_told_by_its_number():
    ending = fold(chunk({"content": "a"}), {"choices": None, "base_resp": {"status_code": 1027, "status_msg": "x"}})
    assert isinstance(ending, ErrorEvent)
    assert ending.body["base_resp"]["status_code"] == 1027


def test_several_choices_are_kept_apart():
    ending = fold(
        chunk({"content": "b"}, index=1), chunk({"content": "a"}), chunk({}, index=1, finish_reason="stop"), STOP
    )
    assert [choice["message"]["content"] for choice in ending.body["choices"]] == ["a", "b"]


def test_logprobs_grow():
    tokens = [{"token": t, "bytes": None, "logprob": -0.5, "top_logprobs": []} for t in "abc"]
    ending = fold(
        chunk({"content": "a"}, logprobs=None),
        chunk({"content": "a"}, logprobs={"content": tokens[:1]}),
        chunk({"content": "bc"}, logprobs={"content": tokens[1:]}),
        chunk({}, finish_reason="stop", logprobs=None),
    )
    assert ending.body["choices"][0]["logprobs"] == {"content": tokens}


def test_fields_that_nobody_told_us_of_survive():
    ending = fold(
        {**chunk({"encrypted_content": "x", "notes": [1], "audio": {"data": "ab"}}), "service_status": {"a": 1}},
        chunk({"encrypted_content": "y", "notes": [2], "audio": {"data": "cd"}}, moderation_hit_type="violence"),
        chunk({}, finish_reason="stop", moderation_hit_type="violence"),
    )
    assert ending.body["service_status"] == {"a": 1}
    assert ending.body["choices"][0]["moderation_hit_type"] == "violence"
    assert message_of(ending) == {
        "role": "assistant",
        "encrypted_content": "xy",
        "notes": [1, 2],
        "audio": {"data": "abcd"},
    }


def test_usage_that_comes_with_every_chunk_is_not_added_up():
    ending = fold(
        chunk({"content": "a"}, usage={"total_tokens": 1}), chunk({}, finish_reason="stop", usage=USAGE), chunk()
    )
    assert ending.body["usage"] == USAGE


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [chunk()],
        [chunk({"content": "a"})],
        [chunk({"content": "a"}), chunk(usage=USAGE)],
        [chunk({"content": "a"}, index=1), STOP],
    ],
    ids=["nothing", "no choice", "no finish reason", "usage but no finish reason", "one of two choices finished"],
)
def test_an_answer_without_finish_reason_is_truncated(chunks):
    assert isinstance(fold(*chunks), Truncated)


def test_what_was_truncated_is_still_there_with_its_usage():
    ending = fold(chunk({"content": "half"}, usage=USAGE))
    assert ending.body["choices"][0]["message"]["content"] == "half"
    assert ending.body["usage"] == USAGE


ERROR = {"code": "ServerOverloaded", "message": "busy", "type": "TooManyRequests", "param": ""}


@pytest.mark.parametrize("event", [Event(orjson.dumps({"error": ERROR})), Event(orjson.dumps(ERROR), "error")])
def test_an_error_event_ends_the_answer_even_a_finished_one(event):
    folding = Folding()
    folding.add(Event(orjson.dumps(STOP)))
    folding.add(event)
    folding.add(Event(orjson.dumps(STOP)))
    assert folding.end() == ErrorEvent({"error": ERROR})


def test_an_error_of_null_is_no_error():
    assert isinstance(fold({**STOP, "error": None}), Whole)


@pytest.mark.parametrize("data", [b"{", b"[]", b"1", b'{"choices":"x"}', b'{"choices":[1]}', b'{"choices":7}', b"\xff"])
def test_an_event_that_is_no_chunk_is_told(data):
    folding = Folding()
    folding.add(Event(data))
    assert isinstance(folding.end(), Garbled)


def test_the_answer_has_started_with_its_first_text():
    folding = Folding()
    seen = []
    for delta in ({"content": ""}, {"reasoning_content": "想", "content": ""}, {"content": ""}):
        folding.add(Event(orjson.dumps(chunk(delta))))
        seen.append(folding.started)
    assert seen == [False, True, True]


@given(st.lists(st.text()), st.lists(st.text()), st.lists(st.text()))
def test_how_the_service_cuts_the_answer_does_not_matter(content, reasoning, arguments):
    message = message_of(
        fold(
            chunk({"content": "", "reasoning_content": ""}),
            *(chunk({"reasoning_content": text}) for text in reasoning),
            *(chunk({"content": text}) for text in content),
            *(call(0, function={"arguments": text}) for text in ["", *arguments]),
            STOP,
        )
    )
    assert message["content"] == "".join(content)
    assert message["reasoning_content"] == "".join(reasoning)
    assert message["tool_calls"][0]["function"]["arguments"] == "".join(arguments)


names = st.sampled_from(
    ["index", "delta", "content", "tool_calls", "logprobs", "finish_reason", "role", "function", "x"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=4),
)


@settings(max_examples=60)
@given(st.lists(st.dictionaries(st.sampled_from(["choices", "usage", "error", "id"]), values)))
def test_no_chunk_however_odd_raises(chunks):
    fold(*chunks)


@settings(max_examples=60)
@given(st.lists(st.lists(st.dictionaries(names, values), max_size=2), max_size=4))
def test_no_choice_however_odd_raises(choices):
    fold(*({"choices": each} for each in choices))


def pieces(*calls):
    """Deltas of calls of tools: index, id, name, arguments."""
    for index, name_id, name, arguments in calls:
        function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
        yield chunk({"tool_calls": [{"index": index, **({"id": name_id} if name_id else {}), "function": function}]})


@pytest.mark.parametrize(
    "calls",
    [
        [(0, "a", "weather", '{"c":1}'), (0, "b", "time", '{"t":2}')],
        [(0, "a", "weather", '{"c'), (0, "", "", '":1}'), (0, "b", "time", ""), (0, "b", "", '{"t":2}')],
        [(0, "a", "weather", '{"c'), (1, "b", "time", '{"t'), (0, "", "", '":1}'), (1, "", "", '":2}')],
        [(0, "a", "weather", '{"c'), (0, "b", "time", '{"t'), (0, "a", "", '":1}'), (0, "b", "", '":2}')],
    ],
)
def test_calls_of_tools_at_one_index_are_told_apart_by_their_ids(calls):
    found = message_of(fold(*pieces(*calls), STOP))["tool_calls"]
    assert [(each["id"], each["function"]) for each in found] == [
        ("a", {"name": "weather", "arguments": '{"c":1}'}),
        ("b", {"name": "time", "arguments": '{"t":2}'}),
    ]


def test_what_says_nothing_wipes_nothing_out():
    zeros = {"prompt_tokens": 0, "completion_tokens": 0, "details": {"cached": 0}}
    later = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": ""}], "usage": zeros, "model": ""}
    ending = fold(chunk({"content": "a"}, usage=USAGE), {**STOP, "model": "m-1"}, later)
    assert isinstance(ending, Whole)
    assert ending.body["choices"][0]["finish_reason"] == "stop"
    assert (ending.body["usage"], ending.body["model"]) == (USAGE, "m-1")


def test_parts_and_texts_of_one_answer_stand_in_their_order():
    def thought(text):
        return {"type": "thinking", "thinking": [{"type": "text", "text": text}]}

    parts = [{"content": [thought("hm")]}, {"content": [thought("ah")]}, {"content": "he"}, {"content": "llo"}]
    content = message_of(fold(*map(chunk, parts), STOP))["content"]
    assert content == [thought("hm"), thought("ah"), {"type": "text", "text": "hello"}]
    assert message_of(fold(chunk({"content": "a"}), chunk({"content": [thought("b")]}), STOP))["content"] == [
        {"type": "text", "text": "a"},
        thought("b"),
    ]


@pytest.mark.parametrize("levels", [300, 1000, 5000])
def test_a_chunk_that_is_nested_deeper_than_readers_read_keeps_the_answer(levels):
    deep = orjson.dumps(chunk({"content": "a"}))[:-1] + b',"trace":' + b'{"a":[' * levels + b"]}" * levels + b"}"
    folding = Folding()
    for data in (deep, orjson.dumps(STOP), orjson.dumps(chunk(usage=USAGE))):
        folding.add(Event(data))
    ending = folding.end()
    assert message_of(ending)["content"] == "a"
    assert orjson.loads(dumps_strictly(ending.body))["usage"] == USAGE


@pytest.mark.parametrize("repeated", [None, {}, {"role": "assistant", "content": "ab"}])
def test_a_message_beside_the_deltas_wipes_nothing_out(repeated):
    last = chunk({}, finish_reason="stop", message=repeated)
    assert message_of(fold(chunk({"content": "a"}), chunk({"content": "b"}), last))["content"] == "ab"


def test_a_chunk_with_a_message_in_the_place_of_a_delta_is_an_answer():
    choice = {"index": 0, "message": {"role": "assistant", "content": "ab"}, "finish_reason": "stop"}
    assert message_of(fold({**HEAD, "choices": [choice]}))["content"] == "ab"


def test_usage_in_two_parts_is_one_usage():
    begun, ended = {"prompt_tokens": 10, "completion_tokens": 0}, {"prompt_tokens": 0, "completion_tokens": 5}
    for last in (ended, {"completion_tokens": 5}):
        ending = fold(chunk({"content": "a"}, usage=begun), chunk({}, finish_reason="stop", usage=last))
        assert ending.body["usage"] == {"prompt_tokens": 10, "completion_tokens": 5}


def test_chunks_of_the_older_completions_api_are_put_together():
    pieces = [{**HEAD, "choices": [{"index": 0, "text": text}]} for text in ("a", "b")]
    assert message_of(fold(*pieces, STOP))["content"] == "ab"


def test_an_event_may_hold_a_list_of_chunks():
    folding = Folding()
    folding.add(Event(orjson.dumps([chunk({"content": "a"}), STOP])))
    assert message_of(folding.end())["content"] == "a"


@pytest.mark.parametrize("error", [{"detail": "worker lost"}, {"message": "worker lost"}, {"error_msg": "worker lost"}])
def test_an_error_without_an_envelope_ends_a_stream_with_its_words(error):
    assert fold(chunk({"content": "a"}), error) == ErrorEvent({"error": error})


def test_halves_of_a_surrogate_pair_and_numbers_that_are_none_are_read():
    folding = Folding()
    for text in (r'"hi \ud83d"', r'"\ude00 \ud83d"'):
        folding.add(Event(b'{"choices":[{"index":0,"delta":{"content":%s}}],"x":-Infinity}' % text.encode()))
    folding.add(Event(orjson.dumps(STOP)))
    body = orjson.loads(dumps_strictly(folding.end().body))
    assert body["choices"][0]["message"]["content"] == "hi 😀 \ufffd"
    assert body["x"] is None


@pytest.mark.parametrize(
    "number", ["123456789012345678901234567890", "0.1234567890123456789012345678901234567890", "1.10"]
)
def test_numbers_of_a_stream_keep_their_digits(number):
    folding = Folding()
    for text in (
        '{"x":%s,"choices":[{"index":0,"delta":{"content":"a","n":[%s]}}]}',
        '{"x":%s,"choices":[{"index":0,"delta":{},"finish_reason":"stop","n":%s}]}',
    ):
        folding.add(Event((text % (number, number)).encode()))
    assert dumps_strictly(folding.end().body).count(number.encode()) == 3

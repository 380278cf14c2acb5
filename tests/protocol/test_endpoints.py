"""What the endpoints say of requests before they are sent, and of the bodies that come back."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import JSON

from arkbatch.core.row import Size
from arkbatch.protocol.endpoints import ENDPOINTS, Answer, Problem, by_body, by_url
from arkbatch.protocol.endpoints.base import narrow_and_wide

CHAT, EMBEDDINGS = ENDPOINTS["chat"], ENDPOINTS["embeddings"]
USER = {"role": "user", "content": "hi"}


def chat(**parameters):
    return {"model": "m", "messages": [USER], **parameters}


def embed(asked, **parameters):
    return {"model": "m", "input": asked, **parameters}


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("/v1/chat/completions", "chat"),
        ("/chat/completions", "chat"),
        ("/api/v3/chat/completions", "chat"),
        ("https://ark.cn-beijing.volces.com/api/v3/embeddings", "embeddings"),
        ("https://example.com/compatible-mode/v1/chat/completions/", "chat"),
        ("/v1/embeddings?api-version=1", "embeddings"),
        ("/v1/responses", "responses"),
        ("/api/v3/batch/chat/completions", "batch_chat"),
        ("/api/v3/bots/chat/completions", "/bots/chat/completions"),
        ("/v1/rerank", "/rerank"),
        ("/rerank", None),
        ("https://example.com/v1/rerank", None),
        ("/v1/../admin", None),
        ("/v1//admin", None),
        ("", None),
    ],
)
def test_an_openai_url_names_the_endpoint_of_its_row(url, name):
    assert by_url(url) == name


@pytest.mark.parametrize(
    ("body", "name"),
    [({"messages": []}, "chat"), ({"input": "x"}, "embeddings"), ({"prompt": "x"}, None), ({}, None)],
)
def test_a_bare_body_is_known_by_its_key(body, name):
    assert by_body(body) == name


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"temperature": 0},
        {"temperature": 2.0, "top_p": 1, "presence_penalty": -2, "frequency_penalty": 2.0},
        {"max_tokens": 1},
        {"max_completion_tokens": 131_072},
        {"max_tokens": None, "max_completion_tokens": 5},
        {"max_tokens": 5, "max_completion_tokens": None, "stop": None, "stream": None},
        {"stop": "x"},
        {"stop": ["a", "b", "c", "d"]},
        {"top_logprobs": 20, "logprobs": True},
        {"stream": False},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"logit_bias": {"45018": -100}},
        {"thinking": {"type": "disabled"}, "reasoning_effort": "xhigh", "service_tier": "fast"},
        {"tools": [{"type": "function"}], "tool_choice": "auto"},
        {"some_new_parameter": {"of": "tomorrow"}, "seed": "odd"},
    ],
)
def test_what_ark_documents_as_allowed_passes_and_so_does_the_unknown(parameters):
    assert CHAT.problem(chat(**parameters)) is None


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "call_1"}]},
        {"role": "developer", "content": "a role that came later"},
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {}}]},
        {"role": "user"},
    ],
)
def test_messages_of_every_kind_pass(message):
    assert CHAT.problem(chat(messages=[message])) is None


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"temperature": 2.1}, ["temperature", "2.1", "from 0 to 2"]),
        ({"temperature": True}, ["temperature", "true"]),
        ({"temperature": "0.2"}, ["temperature", '"0.2"', "a number"]),
        ({"temperature": float("nan")}, ["temperature", "NaN"]),
        ({"top_p": -0.1}, ["top_p", "-0.1", "from 0 to 1"]),
        ({"presence_penalty": 3}, ["presence_penalty", "3", "from -2 to 2"]),
        ({"frequency_penalty": -2.5}, ["frequency_penalty"]),
        ({"top_logprobs": 21}, ["top_logprobs", "21", "from 0 to 20"]),
        ({"logprobs": 1}, ["logprobs", "true or false"]),
        ({"max_tokens": 0}, ["max_tokens", "0", "from 1"]),
        ({"max_tokens": 1.5}, ["max_tokens", "1.5", "whole number"]),
        ({"max_completion_tokens": -1}, ["max_completion_tokens", "-1"]),
        ({"max_tokens": 5, "max_completion_tokens": 5}, ["max_tokens", "max_completion_tokens", "one of the two"]),
        ({"stop": ["a"] * 5}, ["stop", "at most 4"]),
        ({"stop": [1]}, ["stop"]),
        ({"stream": "yes"}, ["stream", '"yes"']),
        ({"logit_bias": {"7": 101}}, ["logit_bias.7", "101"]),
        ({"logit_bias": [1]}, ["logit_bias"]),
        ({"thinking": "off"}, ["thinking", "an object"]),
        ({"tools": {"type": "function"}}, ["tools", "a list of objects"]),
        ({"response_format": "json"}, ["response_format"]),
        ({"n": 0}, ["n is 0"]),
        ({"user": 7}, ["user", "a text"]),
        ({"model": ""}, ["model"]),
        ({"model": None}, ["model is missing"]),
        ({"messages": None}, ["messages is missing"]),
        ({"messages": []}, ["messages", "at least one"]),
        ({"messages": "hi"}, ["messages", '"hi"']),
        ({"messages": [USER, "hi"]}, ["messages[1]", '"hi"', "role"]),
        ({"messages": [{"content": "hi"}]}, ["messages[0].role", "null"]),
        ({"messages": [{"role": "user", "content": 5}]}, ["messages[0].content", "5"]),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, ["messages[0].content[0]", "type"]),
    ],
)
def test_what_cannot_be_sent_is_named_with_its_value_and_what_is_allowed(parameters, words):
    reason = CHAT.problem(chat(**parameters))
    assert reason is not None
    assert "\n" not in reason
    assert [word for word in words if word not in reason] == []


def test_a_long_wrong_value_is_cut_in_the_message():
    assert len(CHAT.problem(chat(temperature="x" * 10_000))) < 150


@pytest.mark.parametrize(
    "asked", ["x", ["x"], ["x"] * 256, ["é" * 50_000], ["x" * 100_000], "中" * 33_333], ids=lambda asked: str(asked)[:9]
)
def test_embeddings_inputs_up_to_arks_limits_pass(asked):
    assert EMBEDDINGS.problem(embed(asked)) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (embed(""), ["input", "not empty"]),
        (embed([]), ["input", "1 to 256"]),
        (embed(["a", ""]), ["input[1]", "not empty"]),
        (embed(["a"] * 257), ["257", "256"]),
        (embed(["a", "中" * 33_334]), ["input[1]", "100002 bytes", "100000"]),
        (embed(["a", 7]), ["input[1]", "7"]),
        (embed({"type": "text"}), ["input"]),
        (embed("a", dimensions=0), ["dimensions"]),
        (embed("a", encoding_format=1), ["encoding_format"]),
        ({"model": "m"}, ["input is missing"]),
        ({"input": "a"}, ["model is missing"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_embeddings_inputs_beyond_arks_limits_are_refused(body, words):
    reason = EMBEDDINGS.problem(body)
    assert reason is not None
    assert [word for word in words if word not in reason] == []


# Any JSON value under any known name, as an input file may hold it.


@given(st.dictionaries(st.sampled_from(["messages", "model", "max_tokens", "n", "tools", "stop", "x"]), JSON))
def test_any_body_has_a_problem_or_a_size(body):
    assert CHAT.problem(body) or CHAT.size(body)
    mine = {"input" if name == "messages" else name: value for name, value in body.items()}
    assert EMBEDDINGS.problem(mine) or EMBEDDINGS.size(mine)


@given(JSON)
def test_any_reply_is_an_answer_or_a_problem(parsed):
    for reply in (parsed, {"choices": [parsed], "usage": parsed}, {"data": [parsed], "model": parsed}):
        assert isinstance(CHAT.read(reply, None), Answer | Problem)
        assert isinstance(EMBEDDINGS.read(reply, None), Answer | Problem)


@pytest.mark.parametrize(
    ("body", "size"),
    [
        (chat(), Size(2, 0)),
        (chat(messages=[{"role": "user", "content": "天空 blue"}]), Size(5, 2)),
        (chat(max_tokens=7), Size(2, 0, 0, 7)),
        (chat(max_completion_tokens=0), Size(2, 0, 0, 0)),
        (chat(max_tokens=7, n=3), Size(2, 0, 0, 21)),
        (chat(max_tokens=None), Size(2, 0)),
        (chat(messages=[{"role": "assistant", "content": None}]), Size(0, 0)),
        (
            chat(messages=[{"role": "user", "content": [{"type": "text", "text": "看"}, {"type": "image_url"}]}]),
            Size(0, 1, 1),
        ),
    ],
)
def test_the_size_of_a_chat_counts_text_by_script_and_other_parts(body, size):
    assert CHAT.size(body) == size


def test_the_models_reading_of_tools_and_calls_is_part_of_the_size():
    plain = CHAT.size(chat()).narrow
    assert CHAT.size(chat(tools=[{"name": "f" * 100}])).narrow > plain + 100
    assert CHAT.size(chat(messages=[USER, {"role": "assistant", "tool_calls": ["f" * 100]}])).narrow > plain + 100


def test_the_bytes_of_an_image_are_not_text():
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 10**6}}
    assert CHAT.size(chat(messages=[{"role": "user", "content": [part]}])) == Size(0, 0, 1)


def test_an_embedding_puts_out_no_tokens():
    assert EMBEDDINGS.size(embed(["ab", "天"])) == Size(2, 1, 0, 0)


@given(st.text(st.characters(max_codepoint=127) | st.characters(min_codepoint=0x4E00, max_codepoint=0x9FFF)))
def test_english_and_chinese_are_told_apart_exactly(text):
    wide = sum(ord(character) > 127 for character in text)
    assert narrow_and_wide(text) == (len(text) - wide, wide)


@given(st.text())
def test_every_character_is_counted_once(text):
    narrow, wide = narrow_and_wide(text)
    assert narrow >= 0
    assert wide >= 0
    assert narrow + wide == len(text)


def reply(message, finish="stop", **more):
    choice = {"index": 0, "finish_reason": finish, "message": message}
    return {"id": "02", "model": "real-model", "service_tier": "default", "choices": [choice], **more}


def test_a_chat_answer_is_read_with_its_meters():
    usage = {
        "prompt_tokens": 19,
        "completion_tokens": 9,
        "total_tokens": 28,
        "prompt_tokens_details": {
            "cached_tokens": 4,
            "audio_tokens": 0,
            "image_tokens": 3,
            "audio_cached_tokens": None,
        },
        "completion_tokens_details": {"reasoning_tokens": 5, "new_tokens": 2},
    }
    meters = {"input": 19, "output": 9, "cached": 4, "image_input": 3, "reasoning": 5}
    answer = CHAT.read(reply({"content": "x"}, usage=usage), chat())
    assert answer == Answer(meters, "real-model", "default", "stop", empty=False)


@pytest.mark.parametrize(
    ("usage", "meters"),
    [
        (None, {}),
        ({"prompt_tokens": 1}, {"input": 1, "output": 0, "uncounted": 1}),
        ({"prompt_tokens": None, "completion_tokens": "many"}, {}),
        (
            {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "prompt_tokens_details": None,
                "completion_tokens_details": [],
            },
            {"input": 1, "output": 2},
        ),
    ],
)
def test_usage_that_is_missing_or_null_is_no_count(usage, meters):
    assert CHAT.read(reply({"content": "x"}, usage=usage), None).usage == meters


@pytest.mark.parametrize(
    ("message", "empty"),
    [
        ({"content": "x"}, False),
        ({"content": ""}, True),
        ({"content": None}, True),
        ({}, True),
        ({"content": " \n"}, True),
        ({"content": "", "reasoning_content": "I thought"}, True),
        ({"content": None, "tool_calls": [{"id": "call_1"}]}, False),
        ({"content": "", "tool_calls": []}, True),
        ({"content": None, "refusal": "I will not"}, False),
        ({"content": [{"type": "text", "text": "x"}]}, False),
    ],
)
def test_an_answer_is_empty_without_content_calls_or_refusal(message, empty):
    assert CHAT.read(reply(message), None).empty is empty


@pytest.mark.parametrize(
    ("parsed", "code"),
    [
        ([], "not_object"),
        ("x", "not_object"),
        (None, "not_object"),
        ({"error": {"code": "X"}}, "error_in_200"),
        ({"error": {"code": "X"}, "choices": [{"message": {"content": "half"}}]}, "error_in_200"),
        ({}, "no_choices"),
        ({"choices": None}, "no_choices"),
        ({"choices": []}, "no_choices"),
        ({"choices": [{"index": 0}]}, "no_message"),
        ({"choices": ["x"]}, "no_message"),
        ({"choices": {"message": {}}}, "no_message"),
    ],
)
def test_bodies_that_are_no_chat_answer_are_told_apart(parsed, code):
    assert CHAT.read(parsed, None).code == code


def test_a_null_error_is_no_error():
    assert isinstance(CHAT.read(reply({"content": "x"}, error=None), None), Answer)


def test_what_a_useless_reply_cost_is_kept():
    problem = CHAT.read({"choices": [], "model": "m", "usage": {"prompt_tokens": 3}}, None)
    assert (problem.usage, problem.model) == ({"input": 3, "output": 0}, "m")


def vectors(*indexes, vector=(0.5, 1)):
    data = [{"object": "embedding", "index": index, "embedding": vector} for index in indexes]
    parsed = {"object": "list", "model": "e", "data": data, "usage": {"prompt_tokens": 5, "total_tokens": 5}}
    return orjson.loads(orjson.dumps(parsed))


@pytest.mark.parametrize(
    ("parsed", "asked"),
    [
        (vectors(0), "a"),
        (vectors(0), ["a"]),
        (vectors(1, 0), ["a", "b"]),
        (vectors(0, vector="AACAPwAAIMAAAIA+"), "a"),
        (vectors(1, 0), None),
    ],
)
def test_vectors_are_matched_by_index(parsed, asked):
    answer = EMBEDDINGS.read(parsed, None if asked is None else embed(asked))
    assert answer == Answer({"input": 5, "output": 0}, "e")


@pytest.mark.parametrize(
    ("parsed", "asked", "code"),
    [
        ({}, "a", "no_data"),
        ({"data": []}, "a", "no_data"),
        ({"data": {"embedding": [1.0]}}, "a", "no_data"),
        (vectors(0), ["a", "b"], "wrong_data"),
        (vectors(0, 1), "a", "wrong_data"),
        (vectors(0, 0), ["a", "b"], "wrong_data"),
        (vectors(1), "a", "wrong_data"),
        (vectors(None, 0, None), ["a", "b", "c"], "wrong_data"),
        (vectors(0, vector=[]), "a", "wrong_data"),
        (vectors(0, vector=None), "a", "wrong_data"),
        (vectors(0, vector=["x"]), "a", "wrong_data"),
        (vectors(0, vector=[0.5, None, 0.5]), "a", "wrong_data"),
        (vectors(0, vector="AAA"), "a", "wrong_data"),
        (vectors(0, vector="!!!!"), "a", "wrong_data"),
        (vectors(0, vector="MTIzNDU2"), "a", "wrong_data"),  # six bytes are no floats
        ({"data": vectors(0)["data"] + vectors(1, vector=[0.5])["data"]}, ["a", "b"], "wrong_data"),
        ({"error": "x"}, "a", "error_in_200"),
    ],
)
def test_vectors_that_do_not_answer_every_input_are_a_problem(parsed, asked, code):
    assert EMBEDDINGS.read(parsed, embed(asked)).code == code


BODIES_OF_VECTORS = [
    *(
        b'{"data": [{"index": 0, "embedding": %s}], "model": "e", "usage": {"prompt_tokens": 5, "total_tokens": 5}}'
        % text
        for text in (
            b"[0.5, -1e-3]",
            b"[ 1 ]",
            b"[]",
            b"[ ]",
            b'["x"]',
            b'[1, "x"]',
            b"[1, null]",
            b"[1, true]",
            b"[1, false]",
            b"[1, [2]]",
            b"[1, {}]",
            b"[[1]]",
            b"null",
            b'"AACAPw=="',
            b'{"float": [1]}',
        )
    ),
    b'{"data": [{"index": 0, "embedding": [1]}], "usage": null, "x_groq": {"usage": {"prompt_tokens": 5}}}',
    b'{"data": [{"index": 0, "embedding": [1]}], "error": {"message": "no"}}',
    b'{"data": [{"index": "0", "embedding": [1]}]}',
    b'{"data": [{"embedding": [1]}]}',
    b'{"data": [{"index": 0, "embedding": [1], "status": "error"}]}',
    b'{"data": [], "model": "e"}',
    b'{"data": {"embedding": [1]}}',
    b"[]",
]


@pytest.mark.parametrize("body", BODIES_OF_VECTORS)
def test_a_reply_is_the_same_answer_whether_or_not_its_numbers_are_built(body):
    assert EMBEDDINGS.read(EMBEDDINGS.parse(body), embed("a")) == EMBEDDINGS.read(orjson.loads(body), embed("a"))


@pytest.mark.parametrize("numbers", [b"1..2", b"01", b"1,", b"nan", b"1 2"])
def test_a_vector_of_malformed_numbers_is_no_json(numbers):
    with pytest.raises(orjson.JSONDecodeError):
        EMBEDDINGS.parse(b'{"data": [{"index": 0, "embedding": [%s]}]}' % numbers)


def test_a_total_over_an_input_of_zero_is_all_input():
    parsed = {**vectors(0), "usage": {"prompt_tokens": 0, "total_tokens": 5}}
    assert EMBEDDINGS.read(parsed, embed("a")).usage == {"input": 5, "output": 0}


@pytest.mark.parametrize(("indexes", "asked"), [((None,), "a"), ((None, 1), ["a", "b"]), ((None, None), ["a", "b"])])
def test_vectors_without_an_index_are_matched_where_there_is_no_doubt(indexes, asked):
    assert isinstance(EMBEDDINGS.read(vectors(*indexes), embed(asked)), Answer)

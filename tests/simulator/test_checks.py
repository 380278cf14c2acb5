import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulating import PLAIN, THINKING, ask, chat_body

from arkbatch.simulator import answers, checks, inputs, vectors
from arkbatch.simulator.seeded_random import fingerprint


def code(body):
    refusal = checks.check_chat(body)
    return None if refusal is None else refusal.code


def with_message(message):
    return {"model": PLAIN, "messages": [message]}


def with_part(part):
    return with_message({"role": "user", "content": [part]})


@pytest.mark.parametrize(
    ("more", "name"),
    [
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"top_p": 1.01}, "top_p"),
        ({"frequency_penalty": -3}, "frequency_penalty"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"repetition_penalty": -1}, "repetition_penalty"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"max_tokens": 1.5}, "max_tokens"),
        ({"max_completion_tokens": 65_537}, "max_completion_tokens"),
        ({"top_logprobs": 21, "logprobs": True}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logit_bias": {"1": 101}}, "logit_bias"),
        ({"stop": list("abcde")}, "stop"),
        ({"thinking": {"type": "on"}}, "thinking"),
        ({"thinking": "enabled"}, "thinking"),
        ({"reasoning_effort": "huge"}, "reasoning_effort"),
        ({"reasoning_effort": "high", "thinking": {"type": "disabled"}}, "reasoning_effort"),
        ({"response_format": {"type": "xml"}}, "response_format"),
        ({"tool_choice": "some"}, "tool_choice"),
        ({"tools": [{"name": "f"}]}, "tools"),
        ({"tools": {}}, "tools"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": True}, "stream_options"),
        ({"max_tokens": 1, "max_completion_tokens": 1}, "max_tokens"),
    ],
)
def test_what_is_not_documented_for_a_parameter_is_refused_by_its_name(more, name):
    refusal = checks.check_chat(chat_body(**more))
    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.param) == (400, "InvalidParameter", name)
    assert f"`{name}`" in refusal.message


@pytest.mark.parametrize(
    "more",
    [
        {"temperature": 0, "top_p": 1, "frequency_penalty": -2, "presence_penalty": 2},
        {"max_tokens": 1},
        {"max_completion_tokens": 65_536},
        {"stop": "x", "logprobs": True, "top_logprobs": 20},
        {"service_tier": "flex"},
        {"seed": 1, "something_new": {"a": [1]}},
        {"tools": [], "n": 1},
    ],
)
def test_what_is_documented_or_unknown_passes(more):
    assert checks.check_chat(chat_body(**more)) is None


@pytest.mark.parametrize("more", [{"stop": "x"}, {"logprobs": True}, {"logit_bias": {"1": 1}}])
def test_some_parameters_are_not_for_a_model_that_thinks(more):
    assert code(chat_body(model=THINKING, **more)) == "InvalidParameter.UnsupportedParameter"
    assert code(chat_body(model=THINKING, thinking={"type": "disabled"}, **more)) is None


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"model": PLAIN}, "MissingParameter.messages"),
        ({"model": PLAIN, "messages": []}, "InvalidParameter"),
        ({"model": PLAIN, "messages": "hi"}, "InvalidParameter"),
        (with_message("hi"), "InvalidParameter"),
        (with_message({"content": "hi"}), "InvalidArgumentError"),
        (with_message({"role": "user_", "content": "hi"}), "InvalidArgumentError.UnknownRole"),
        (with_message({"role": "user"}), "MissingParameter.messages.content"),
        (with_message({"role": "user", "content": 5}), "InvalidParameter"),
        (with_message({"role": "assistant", "content": None}), None),
        (with_part({"type": "text", "text": "hi"}), None),
        (with_part({"type": "text"}), "InvalidParameter"),
        (with_part("hi"), "InvalidParameter"),
        (with_part({"type": "smell"}), "InvalidParameter"),
        (with_part({"type": "image_url", "image_url": {"url": "https://x/y.png", "detail": "high"}}), None),
        (with_part({"type": "image_url", "image_url": {"url": ""}}), "InvalidImageURL.EmptyURL"),
        (
            with_part({"type": "image_url", "image_url": {"url": "x", "detail": "fine"}}),
            "InvalidArgumentError.InvalidImageDetail",
        ),
        (with_part({"type": "video_url", "video_url": {"url": "https://x/y.mp4"}}), None),
        (with_message({"role": "user", "content": "word " * 250_000}), "OutofContextError"),
    ],
)
def test_messages_are_checked(body, wanted):
    assert code(body) == wanted


def test_the_refusal_on_the_wire_names_the_gap():
    error = ask({"model": PLAIN}).json["error"]
    assert (error["code"], error["type"], error["param"]) == ("MissingParameter.messages", "BadRequest", "messages")
    assert error["message"].startswith("The required parameter messages is missing. Request id: 02")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, "MissingParameter.input"),
        ({"input": ""}, "InvalidParameter"),
        ({"input": []}, "InvalidParameter"),
        ({"input": ["a", ""]}, "InvalidParameter"),
        ({"input": [1, 2]}, "InvalidParameter"),
        ({"input": ["a"] * 257}, "InvalidParameter"),
        ({"input": "字" * 8_000}, "InvalidParameter"),
        ({"input": "a", "encoding_format": "int8"}, "InvalidParameter"),
        ({"input": "a", "dimensions": 0}, "InvalidParameter"),
        ({"input": ["a"] * 256, "encoding_format": "base64", "dimensions": 4096}, None),
    ],
)
def test_embedding_inputs_are_checked(body, wanted):
    refusal = inputs.check_embeddings({"model": "m", **body})
    assert (refusal and refusal.code) == wanted


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 9)
    | st.floats(-3, 3)
    | st.sampled_from(["user", "text", "function", "enabled", "auto", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "function", "name", "json_schema", "schema"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "messages",
        "input",
        "max_tokens",
        "thinking",
        "tools",
        "tool_choice",
        "stop",
        "response_format",
        "dimensions",
        "logit_bias",
    ]
)


@settings(deadline=None)
@given(st.dictionaries(FIELDS, JSON, max_size=5), st.booleans())
def test_every_body_is_either_refused_or_answered(fields, well_formed):
    body = {"model": PLAIN, **{name: value for name, value in fields.items() if value is not None}}
    if well_formed:
        body["messages"] = [{"role": "user", "content": "hi"}]
    if checks.check_chat(body) is None:
        orjson.dumps(answers.chat_completion(answers.answer_chat(body, fingerprint(body, 0)), "02", 0))
    if inputs.check_embeddings(body) is None:
        vectors.input_tokens(body)

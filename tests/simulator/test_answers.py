import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulating import PLAIN, THINKING, chat_body

from arkbatch.simulator import answers, checks, models, phrases, schema_values, tokens
from arkbatch.simulator.seeded_random import fingerprint, random_for


def answered(body, seed=0):
    assert checks.check_chat(body) is None
    return answers.answer_chat(body, fingerprint(body, seed))


CHINESE = "请用一句话解释为什么天空是蓝色的，并举一个生活中的例子。"
ENGLISH = "Explain in one sentence why the sky is blue, with an example."


@pytest.mark.parametrize(("text", "low", "high"), [(CHINESE * 10, 0.6, 0.7), (ENGLISH * 10, 0.25, 0.3), ("", 0, 0)])
def test_tokens_follow_the_script(text, low, high):
    assert low * len(text) <= tokens.text_tokens(text) <= high * len(text)


def test_a_tiny_prompt_costs_the_overhead_that_was_measured_for_its_model():
    assert 90 <= answered(chat_body("hi", THINKING)).input <= 100
    assert 14 <= answered(chat_body("hi", PLAIN)).input <= 21


@pytest.mark.parametrize(("prompt", "start"), [(CHINESE, "【模拟回答】"), (ENGLISH, "[simulated answer]")])
def test_answers_say_that_they_are_simulated_in_the_language_of_the_prompt(prompt, start):
    content = answered(chat_body(prompt)).content
    assert content.startswith(start)
    assert phrases.is_chinese(content) == phrases.is_chinese(prompt)


def test_an_answer_quotes_the_last_thing_the_user_said():
    messages = [
        {"role": "user", "content": "first"},
        {"role": "assistant", "content": "reply"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "second"},
                {"type": "image_url", "image_url": {"url": "http://x/y.png"}},
            ],
        },
    ]
    answer = answered({"model": PLAIN, "messages": messages})
    assert "“second”" in answer.content
    assert answer.input > tokens.IMAGE


def test_delivery_and_spelling_of_a_request_do_not_change_the_answer():
    body = chat_body(temperature=1)
    reordered = dict(reversed(body.items())) | {"user": "someone", "service_tier": "auto"}
    assert fingerprint(body, 0) == fingerprint(reordered, 0)
    assert fingerprint(body, 0) != fingerprint(chat_body(temperature=2), 0)


@pytest.mark.parametrize(
    ("model", "more", "effort"),
    [
        (THINKING, {}, "medium"),
        (THINKING, {"thinking": {"type": "disabled"}}, "none"),
        (THINKING, {"reasoning_effort": "minimal"}, "none"),
        (THINKING, {"reasoning_effort": "high"}, "high"),
        ("doubao-seed-translation-250915", {}, "none"),
        (PLAIN, {}, "none"),
        ("deepseek-v3-1-250821", {}, "none"),
        ("deepseek-v3-1-250821", {"thinking": {"type": "enabled"}}, "medium"),
        ("deepseek-r1-250528", {}, "medium"),
        ("doubao-1-5-thinking-pro-250415", {}, "medium"),
    ],
)
def test_who_thinks_and_when(model, more, effort):
    assert models.thinking_effort(model, more) == effort
    answer = answered(chat_body(model=model, **more))
    assert bool(answer.thought) == bool(answer.reasoning) == (effort != "none")


@pytest.mark.parametrize(
    ("model", "family"),
    [
        ("doubao-seed-1-6-251015", "doubao-seed-1-6"),
        ("doubao-seed-1-6", "doubao-seed-1-6"),
        ("doubao-1-5-pro-32k", "doubao-1-5-pro-32k"),
        ("", ""),
    ],
)
def test_a_family_is_a_name_without_its_version(model, family):
    assert models.model_family(model) == family


def test_more_effort_thinks_longer():
    low, high = (answered(chat_body(model=THINKING, reasoning_effort=effort)) for effort in ("low", "high"))
    assert low.reasoning < high.reasoning


def test_max_tokens_limits_what_is_said_and_not_the_thoughts():
    answer = answered(chat_body(model=THINKING, max_tokens=10))
    assert (answer.finish, answer.output - answer.reasoning) == ("length", 10)
    assert answer.reasoning > 10


@pytest.mark.parametrize("allowed", [0, 5, 70, 200, 60_000])
def test_max_completion_tokens_limits_both(allowed):
    answer = answered(chat_body(model=THINKING, max_completion_tokens=allowed))
    assert answer.output <= allowed
    assert answer.reasoning <= answer.output
    assert answer.finish == ("length" if answer.output == allowed else "stop")


def test_a_stop_word_ends_the_answer_before_it():
    assert answered(chat_body(stop=["On"])).content == "[simulated answer] "


def test_a_long_system_prompt_is_cached_and_a_short_one_is_not():
    def cached(system):
        body = chat_body()
        body["messages"].insert(0, {"role": "system", "content": system})
        answer = answered(body)
        assert answer.cached < answer.input
        return answer.cached

    assert cached("Be brief.") == 0
    assert cached("你是一个严谨的助手。" * 100) == 640


def test_json_mode_gives_json():
    answer = answered(chat_body(CHINESE, response_format={"type": "json_object"}))
    assert orjson.loads(answer.content)["simulated"] is True


def test_a_json_schema_is_followed():
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "mood": {"enum": ["好", "坏"]},
            "score": {"type": "integer", "minimum": 1, "maximum": 5},
            "authors": {"type": "array", "items": {"$ref": "#/$defs/Author"}},
            "maybe": {"anyOf": [{"type": "number"}, {"type": "null"}]},
        },
        "$defs": {"Author": {"type": "object", "properties": {"age": {"type": "integer"}}}},
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    value = orjson.loads(answered(chat_body(response_format=wanted)).content)
    assert list(value) == ["name", "mood", "score", "authors", "maybe"]
    assert value["mood"] in {"好", "坏"}
    assert 1 <= value["score"] <= 5
    assert all(isinstance(author["age"], int) for author in value["authors"])


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["type", "properties", "items", "$ref", "enum", "anyOf", "minimum", "maximum", "minItems"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(JSON)
def test_no_schema_breaks_the_fitting(schema):
    orjson.dumps(schema_values.fit_schema(schema, random_for(b"x")))


def test_a_schema_that_contains_itself_ends():
    tree = {"type": "array", "minItems": 8, "items": {"$ref": "#"}}
    assert len(orjson.dumps(schema_values.fit_schema(tree, random_for(b"x")))) < 1_000_000

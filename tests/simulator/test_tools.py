import orjson
import pytest
from simulating import PLAIN, THINKING, ask, chat_body

from arkbatch.simulator import answers, checks
from arkbatch.simulator.seeded_random import fingerprint


def tool(name, **properties):
    return {"type": "function", "function": {"name": name, "parameters": {"type": "object", "properties": properties}}}


WEATHER = tool("weather", city={"enum": ["北京"]})
CLOCK = tool("clock")
NAMED = {"type": "function", "function": {"name": "weather"}}


def answered(body):
    assert checks.check_chat(body) is None
    return answers.answer_chat(body, fingerprint(body, 0))


def after_a_round(body, result="sunny", calls=None):
    """The same conversation with calls made and answered."""
    calls = calls or answers.chat_completion(answered(body), "02", 0)["choices"][0]["message"]["tool_calls"]
    told = [{"role": "tool", "content": result, "tool_call_id": call["id"]} for call in calls]
    return {**body, "messages": [*body["messages"], {"role": "assistant", "content": "", "tool_calls": calls}, *told]}


@pytest.mark.parametrize("choice", ["required", NAMED])
def test_a_required_tool_is_called_with_arguments_that_fit(choice):
    answer = answered(chat_body(tools=[WEATHER], tool_choice=choice))
    [call] = answer.tool_calls
    assert (answer.finish, answer.content) == ("tool_calls", "")
    assert (call["type"], call["function"]["name"]) == ("function", "weather")
    assert orjson.loads(call["function"]["arguments"]) == {"city": "北京"}
    assert answer.output > 0


def test_without_a_choice_tools_are_called_now_and_then_and_never_when_forbidden():
    def calls(**more):
        return sum(bool(answered(chat_body(f"{n}", tools=[WEATHER], **more)).tool_calls) for n in range(60))

    assert 15 < calls() < 45
    assert calls(tool_choice="none") == 0
    assert calls(tool_choice="required") == 60


def test_two_tools_may_be_called_at_once_unless_that_is_forbidden():
    def most(**more):
        bodies = [chat_body(f"{n}", tools=[CLOCK, WEATHER], tool_choice="required", **more) for n in range(30)]
        return max(len(answered(body).tool_calls) for body in bodies)

    assert most() == 2
    assert most(parallel_tool_calls=False) == 1


def test_the_named_tool_is_called_and_no_other():
    for number in range(10):
        [call] = answered(chat_body(f"{number}", tools=[CLOCK, WEATHER], tool_choice=NAMED)).tool_calls
        assert call["function"]["name"] == "weather"


@pytest.mark.parametrize("choice", ["auto", "required", NAMED])
@pytest.mark.parametrize("prompt", ["How is the weather?", "天气怎么样？"])
def test_once_the_results_are_there_the_answer_quotes_them(choice, prompt):
    called = after_a_round(chat_body(prompt, tools=[WEATHER], tool_choice="required"), "sunny, 21 °C")
    answer = answered({**called, "tool_choice": choice})
    assert (answer.finish, answer.tool_calls) == ("stop", [])
    assert "“sunny, 21 °C”" in answer.content


def test_a_new_question_begins_a_new_round():
    body = after_a_round(chat_body(tools=[WEATHER], tool_choice="required"))
    body["messages"] += [{"role": "assistant", "content": "sunny"}, {"role": "user", "content": "And tomorrow?"}]
    assert answered(body).tool_calls


def test_a_model_that_thinks_says_why_it_calls():
    answer = answered(chat_body(model=THINKING, tools=[WEATHER], tool_choice="required"))
    assert answer.thought
    assert answer.output > answer.reasoning > 0


def struck(fault, body=None):
    body = body or chat_body(tools=[WEATHER], tool_choice="required")
    return ask(body, faults={fault: 1}).json["choices"][0]["message"]


def test_arguments_can_be_no_json():
    [call] = struck("bad_arguments")["tool_calls"]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(call["function"]["arguments"])


def test_a_tool_can_be_called_that_does_not_exist():
    [call] = struck("unknown_tool")["tool_calls"]
    assert call["function"]["name"] == "no_such_tool"


def test_a_loop_need_not_end():
    body = chat_body(tools=[WEATHER])
    for _ in range(3):
        calls = struck("tool_loop", body)["tool_calls"]
        body = after_a_round(body, calls=calls)


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ([{"role": "tool", "content": "sunny"}], "messages"),
        ([{"role": "tool", "content": "sunny", "tool_call_id": "made-up"}], "messages"),
        ([{"role": "assistant", "tool_calls": [{"id": "x"}]}], "messages"),
        ([{"role": "assistant", "tool_calls": {}}], None),
        ([{"role": "assistant", "tool_calls": {"id": "x"}}], "messages"),
    ],
)
def test_a_result_needs_its_call_and_a_call_its_shape(more, param):
    body = chat_body()
    body["messages"] += more
    refusal = checks.check_chat(body)
    assert (refusal and refusal.param) == param


def test_a_tool_that_was_not_declared_cannot_be_chosen():
    refusal = checks.check_chat({"model": PLAIN, **chat_body(), "tools": [CLOCK], "tool_choice": NAMED})
    assert refusal.param == "tool_choice"

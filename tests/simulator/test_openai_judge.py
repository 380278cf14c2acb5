"""The official `openai` package as the judge: it must find in the simulator what it expects of the service.

Runs only where the package is installed (`arkbatch[judge]`); arkbatch itself never needs it.
"""

import pytest
from judge import ASKED, MODEL, TOOL, here, home, runtime

openai = pytest.importorskip("openai", reason="the openai package is not installed: pip install -e '.[judge]'")

__all__ = ["here", "home"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDKs' own

FLAT_TOOL = {"type": "function", **TOOL["function"]}


@pytest.fixture
def client(here):
    with openai.OpenAI(base_url=here.url, api_key="any", max_retries=0) as client:
        yield client


def create(client, given=ASKED, **more):
    return client.responses.create(model=MODEL, input=given, **more)


def test_a_response_has_every_field_that_the_sdk_declares(client):
    response = create(client, "天空为什么这么蓝？")
    assert (response.status, response.model, response.object) == ("completed", MODEL, "response")
    assert response.output_text
    assert response.usage.output_tokens_details.reasoning_tokens > 0
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_the_same_words_get_the_same_answer_as_in_chat(client):
    chat = client.chat.completions.create(model=MODEL, messages=ASKED)
    assert create(client).usage.input_tokens == chat.usage.prompt_tokens


@pytest.mark.parametrize("more", [{}, {"max_output_tokens": 40}, {"tools": [FLAT_TOOL], "tool_choice": "required"}])
def test_a_stream_ends_with_the_response_without_streaming(client, more):
    events = list(create(client, stream=True, **more))
    whole = create(client, **more)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == f"response.{whole.status}"
    last = events[-1].response
    assert (last.output_text, last.status, last.usage) == (whole.output_text, whole.status, whole.usage)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == whole.output_text


def test_an_answer_that_was_cut_off_says_so(client):
    response = create(client, max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_tools_go_round_by_value(client):
    asked = [{"role": "user", "content": "天气"}]
    first = create(client, asked, tools=[FLAT_TOOL], tool_choice="required")
    [call] = [item for item in first.output if item.type == "function_call"]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items = [item.model_dump(exclude_none=True) for item in first.output]
    assert create(client, [*asked, *items, output], tools=[FLAT_TOOL]).output_text


def test_what_ark_does_not_know_is_refused(client):
    with pytest.raises(openai.BadRequestError):
        create(client, background=True)


def test_ark_s_own_sdk_reads_the_same_response(here):
    client = runtime.Ark(base_url=here.url, api_key="any", max_retries=0)
    response = client.responses.create(model=MODEL, input="天空为什么这么蓝？")
    assert response.status == "completed"
    assert response.usage.output_tokens > 0

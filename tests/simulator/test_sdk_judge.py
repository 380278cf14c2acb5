"""The official SDK as the judge of the simulator: its clients must find there what they expect of the service.

Runs only where the SDK is installed (`arkbatch[judge]`); arkbatch itself never needs it. The SDK brings its own faults
along, and where one shows here it is named in the test.
"""

import asyncio
import threading

import pytest
from judge import ASKED, BATCH, ENDPOINT, MODEL, TOOL, USAGE, here, home, runtime, site
from volcenginesdkarkruntime import _exceptions

from arkbatch.simulator.settings import ACCESS_KEY

__all__ = ["here", "home"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own


def sealed():
    return {"x-is-encrypted": "true"}


def marked(fault):
    return [{"role": "user", "content": f"天空 [[fault:{fault}]]"}]


def ask(site, messages=ASKED, model=MODEL, **more):
    return site.client().chat.completions.create(model=model, messages=messages, **more)


def gathered(chunks):
    """Content, reasoning, reason to end and usage of a stream."""
    chunks = list(chunks)
    choices = [chunk.choices[0] for chunk in chunks if chunk.choices]
    content = "".join(choice.delta.content or "" for choice in choices)
    reasoning = "".join(choice.delta.reasoning_content or "" for choice in choices)
    return content, reasoning, choices[-1].finish_reason, chunks[-1].usage


def whole(completion):
    [choice] = completion.choices
    return choice.message.content, choice.message.reasoning_content, choice.finish_reason, completion.usage


def test_chat_has_every_field_that_the_sdk_declares(here):
    completion = ask(here)
    assert completion.id.startswith("02")
    assert (completion.object, completion.model, completion.service_tier) == ("chat.completion", MODEL, "default")
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage.completion_tokens_details.reasoning_tokens > 0


@pytest.mark.parametrize("headers", [{}, {"x-is-encrypted": "true"}])
@pytest.mark.parametrize("fault", [None, "split", "untidy", "no_done"])
def test_a_stream_adds_up_to_the_answer_without_streaming(here, headers, fault):
    messages = marked(fault) if fault else ASKED
    chunks = ask(here, messages, stream=True, stream_options=USAGE, extra_headers=dict(headers))
    assert gathered(chunks)[:3] == whole(ask(here, messages))[:3]


def test_a_stream_ends_with_the_usage(here):
    assert gathered(ask(here, stream=True, stream_options=USAGE))[3] == ask(here).usage


def test_an_error_inside_a_stream_is_recognised(here):
    with pytest.raises(_exceptions.ArkAPIError) as caught:
        list(ask(here, marked("error_in_200"), stream=True))
    assert caught.value.code == "InternalServiceError"


def test_the_sdk_takes_a_truncated_stream_for_a_whole_one(here):
    """Its fault: nothing is raised, though the answer has no end."""
    assert gathered(ask(here, marked("truncated"), stream=True))[2] is None


def test_tools_go_round(here):
    called = ask(here, tools=[TOOL], tool_choice="required").choices[0]
    [call] = called.message.tool_calls
    assert (called.finish_reason, call.function.arguments) == ("tool_calls", '{"city":"北京"}')
    result = {"role": "tool", "content": "晴", "tool_call_id": call.id}
    answer = ask(here, [*ASKED, called.message.model_dump(), result], tools=[TOOL]).choices[0]
    assert "“晴”" in answer.message.content


def test_the_fragments_of_a_tool_call_add_up(here):
    chunks = ask(here, tools=[TOOL], tool_choice="required", stream=True)
    calls = [call for chunk in chunks for choice in chunk.choices for call in choice.delta.tool_calls or ()]
    assert calls[0].function.name == "weather"
    assert "".join(call.function.arguments for call in calls) == '{"city":"北京"}'


@pytest.mark.parametrize(
    ("fault", "kind", "code"),
    [
        ("unauthorized", "ArkAuthenticationError", "AuthenticationError"),
        ("overdue", "ArkPermissionDeniedError", "AccountOverdueError"),
        ("not_open", "ArkNotFoundError", "ModelNotOpen"),
        ("sensitive", "ArkBadRequestError", "SensitiveContentDetected"),
    ],
)
def test_errors_become_the_exceptions_that_are_meant(here, fault, kind, code):
    with pytest.raises(getattr(_exceptions, kind)) as caught:
        ask(here, marked(fault))
    assert caught.value.code == code


def test_embeddings_of_all_kinds(here):
    client = here.client()
    texts = client.embeddings.create(model="doubao-embedding-large-text-250515", input=["a", "b"])
    assert [(item.index, len(item.embedding)) for item in texts.data] == [(0, 2048), (1, 2048)]
    parts = [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "https://x/y.png"}}]
    seen = client.multimodal_embeddings.create(model="doubao-embedding-vision-250615", input=parts)
    assert len(seen.data.embedding) == 2048


def test_tokenization(here):
    [found] = here.client().tokenization.create(model=MODEL, text=["天空为什么这么蓝"]).data
    assert found.total_tokens == len(found.token_ids) == len(found.offset_mapping)


def test_the_batch_lane(here):
    batch = here.client().batch
    completion = batch.chat.completions.create(model=BATCH, messages=ASKED)
    assert completion.choices[0].finish_reason == "stop"
    assert len(batch.embeddings.create(model=BATCH, input=["a", "b"]).data) == 2
    assert batch.multimodal_embeddings.create(model=BATCH, input=[{"type": "text", "text": "a"}]).data.embedding


def test_the_batch_lane_is_asked_again_at_once_unless_it_says_how_long_to_wait(here):
    """The hot loop of the SDK: fifty refusals without a pause."""
    before = here.counters.outcomes["ServerOverloaded"]
    here.client().batch.chat.completions.create(model=BATCH, messages=marked("overloaded:50"))
    assert here.counters.outcomes["ServerOverloaded"] - before == 50


def test_a_full_batch_lane_lets_the_sdk_through_after_the_time_that_it_says():
    with site(batch_slots=1, batch_queue=0, batch_hold=0.5, batch_retry_after=1) as busy:
        client = busy.client()
        threads = [
            threading.Thread(target=client.batch.chat.completions.create, kwargs={"model": BATCH, "messages": ASKED})
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert busy.counters.outcomes["ok"] == 2


@pytest.mark.parametrize("blobs", [1, 2, 3, 7])
def test_sealed_chat_comes_back_whatever_pieces_it_is_in(blobs):
    with site(blobs=blobs) as found:
        assert whole(ask(found, extra_headers=sealed())) == whole(ask(found))


@pytest.mark.parametrize("fault", ["empty", "content_filter"])
def test_sealed_chat_without_content(here, fault):
    assert ask(here, marked(fault), extra_headers=sealed()).choices[0].message.content == ""


def test_sealed_chat_in_the_batch_lane(here):
    create = here.client().batch.chat.completions.create
    opened = create(model=BATCH, messages=ASKED, extra_headers=sealed())
    assert whole(opened) == whole(create(model=BATCH, messages=ASKED))


def test_sealed_chat_in_confidential_computing(monkeypatch):
    monkeypatch.setenv("VOLC_ARK_ENCRYPTION", "AICC")
    with site() as found:
        assert whole(ask(found, extra_headers=sealed())) == whole(ask(found))


def test_a_header_spelt_otherwise_sends_the_prompt_in_clear_and_is_refused_here(here):
    with pytest.raises(_exceptions.ArkBadRequestError):
        ask(here, extra_headers={"X-Is-Encrypted": "true"})


def test_an_access_key_gets_one_key_for_each_endpoint_and_uses_it_for_everything():
    with site(keys=("no other key",)) as found:
        client = found.signing_client()
        completion = client.chat.completions.create(model=ENDPOINT, messages=ASKED)
        chunks = client.chat.completions.create(model=ENDPOINT, messages=ASKED, stream=True)
        assert gathered(chunks)[:3] == whole(completion)[:3]
        assert client.batch.chat.completions.create(model=BATCH, messages=ASKED).choices
        project = {"X-Project-Name": "default"}
        assert client.chat.completions.create(model=MODEL, messages=ASKED, extra_headers=project).choices
        assert found.counters.control == {"ok": 3}
        opened = client.chat.completions.create(model=ENDPOINT, messages=ASKED, extra_headers=sealed())
        assert whole(opened) == whole(completion)


def test_a_temporary_access_key_needs_its_token():
    with site(session_tokens={ACCESS_KEY[0]: "the-token"}) as found:
        assert found.signing_client(token="the-token").chat.completions.create(model=ENDPOINT, messages=ASKED).choices
        with pytest.raises(_exceptions.ArkAPIError, match="InvalidSecretToken"):
            found.signing_client().chat.completions.create(model=ENDPOINT, messages=ASKED)


@pytest.mark.parametrize(
    ("settings", "secret", "code"),
    [
        ({}, "wrong", "SignatureDoesNotMatch"),
        ({"access_keys": {"AKLTother": "x"}}, ACCESS_KEY[1], "InvalidAccessKey"),
        ({"powerless": (ACCESS_KEY[0],)}, ACCESS_KEY[1], "AccessDenied"),
    ],
)
def test_what_the_control_plane_refuses_reaches_the_user(settings, secret, code):
    with site(**settings) as found, pytest.raises(_exceptions.ArkAPIError, match=code):
        found.signing_client(secret).chat.completions.create(model=ENDPOINT, messages=ASKED)


def test_the_asynchronous_client_too(here):
    async def main():
        client = here.client(runtime.AsyncArk)
        completion = await client.chat.completions.create(model=MODEL, messages=ASKED, extra_headers=sealed())
        chunks = [
            chunk async for chunk in await client.chat.completions.create(model=MODEL, messages=ASKED, stream=True)
        ]
        assert gathered(chunks)[:3] == whole(completion)[:3]
        assert (await client.batch.chat.completions.create(model=BATCH, messages=ASKED)).choices
        await client.close()

    asyncio.run(main())


def test_the_asynchronous_client_cannot_use_an_access_key_with_an_endpoint(here):
    """Its fault; where this test fails, the SDK has been fixed."""

    async def main():
        client = here.signing_client(kind=runtime.AsyncArk)
        with pytest.raises(TypeError):
            await client.chat.completions.create(model=ENDPOINT, messages=ASKED)
        await client.close()

    asyncio.run(main())

"""The answer of a simulated chat model, and its form as a chat completion.

An answer depends on the request and its seeded random numbers alone. What is said (`ModelAnswer`) and how it is written
(`chat_completion`) are separate, because the Responses API writes the same answer in another form.
"""

from random import Random
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from arkbatch.simulator import models, phrases, schema_values, tokens, toolcalls
from arkbatch.simulator.seeded_random import random_for

CACHE_FROM = 256  # a system prompt of at least this length counts as cached
CACHE_STEP = 64
DEFAULT_MAX_TOKENS = 4096
_THOUGHTS = {"low": 2, "medium": 5, "high": 12, "xhigh": 20, "max": 30}


class ModelAnswer(Struct, frozen=True, gc=False):
    """What a model says to one request, with its tokens.

    reasoning, cached: parts of output and input
    """

    model: str
    content: str
    thought: str
    tool_calls: list[dict[str, Any]]
    finish: str
    input: int
    output: int
    reasoning: int
    cached: int


def answer_chat(body: dict[str, Any], of: bytes, *, again: bool = False) -> ModelAnswer:
    """Answer a body that `checks.check_chat` let pass.

    of: the request's fingerprint; again: call tools although their results are there
    """
    chance = random_for(of)
    model = models.chat_model(body["model"])
    prompt = last_words(body["messages"])
    thought = _reasoning_text(prompt, models.thinking_effort(model, body), chance)
    calls = toolcalls.choose_calls(body, chance, again=again)
    content = "" if calls else _answer_text(body, prompt, chance)
    spoken = tokens.text_tokens(content) + sum(tokens.text_tokens(str(call["function"])) for call in calls)
    answer = ModelAnswer(
        model=model,
        content=content,
        thought=thought,
        tool_calls=calls,
        finish="tool_calls" if calls else "stop",
        input=input_tokens(body),
        output=tokens.text_tokens(thought) + spoken,
        reasoning=tokens.text_tokens(thought),
        cached=_cached_tokens(body["messages"]),
    )
    return _limit_tokens(answer, body)


def input_tokens(body: dict[str, Any]) -> int:
    tools = body.get("tools")
    declared = tokens.text_tokens(orjson.dumps(tools).decode()) if tools else 0
    return (
        models.overhead_tokens(models.chat_model(body["model"])) + tokens.messages_tokens(body["messages"]) + declared
    )


def apply_fault(answer: ModelAnswer, fault: str | None) -> ModelAnswer:
    """Return the answer as a fault changes it; other faults leave it as it is."""
    match fault:
        case "empty":
            return replace(answer, content="", tool_calls=[], output=answer.reasoning, finish="stop")
        case "content_filter":
            return replace(answer, content="", tool_calls=[], output=answer.reasoning, finish="content_filter")
        case "off_schema" if answer.content:
            return replace(answer, content='{"off_schema": true}')
        case "bad_arguments" | "unknown_tool":
            return replace(answer, tool_calls=[toolcalls.spoil_call(call, fault) for call in answer.tool_calls])
        case "length":
            return _cut_content(answer, max(1, (answer.output - answer.reasoning) // 2))
        case _:
            return answer


def chat_completion(answer: ModelAnswer, request_id: str, created: int) -> dict[str, Any]:
    """Return the answer as one chat completion object."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.content}
    if answer.thought:
        message["reasoning_content"] = answer.thought
    if answer.tool_calls:
        message["tool_calls"] = answer.tool_calls
    choice = {"index": 0, "finish_reason": answer.finish, "logprobs": None, "message": message}
    if answer.finish == "content_filter":
        choice["moderation_hit_type"] = "severe_violation"
    return {
        "choices": [choice],
        "created": created,
        "id": request_id,
        "model": answer.model,
        "service_tier": "default",
        "object": "chat.completion",
        "usage": usage_object(answer),
    }


def usage_object(answer: ModelAnswer) -> dict[str, Any]:
    return {
        "completion_tokens": answer.output,
        "prompt_tokens": answer.input,
        "total_tokens": answer.input + answer.output,
        "prompt_tokens_details": {"cached_tokens": answer.cached},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning},
    }


def last_words(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last user message, or of the last message without one."""
    spoken = [message for message in messages if message["role"] == "user"] or messages
    content = spoken[-1].get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")


def _reasoning_text(prompt: str, effort: str, chance: Random) -> str:
    if effort == "none":
        return ""
    return phrases.reasoning_words(prompt, round(_THOUGHTS[effort] * (0.5 + chance.random())), chance)


def _answer_text(body: dict[str, Any], prompt: str, chance: Random) -> str:
    text = phrases.answer_words(prompt, toolcalls.tool_results(body["messages"]), chance)
    wanted = body.get("response_format", {"type": "text"})
    if wanted["type"] == "json_object":
        return orjson.dumps({"simulated": True, "answer": text}).decode()
    if wanted["type"] == "json_schema":
        return orjson.dumps(schema_values.fit_schema(wanted["json_schema"]["schema"], chance)).decode()
    for stop in _stop_words(body):
        text = text.partition(stop)[0]
    return text


def _stop_words(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop", [])
    return [word for word in ([stop] if isinstance(stop, str) else stop) if word]


def _cached_tokens(messages: list[dict[str, Any]]) -> int:
    """Return the cached tokens of the system prompt; 0 for a short one."""
    head = messages[0]
    if head["role"] != "system" or len(messages) == 1:
        return 0
    count = tokens.messages_tokens([head])
    return count // CACHE_STEP * CACHE_STEP if count >= CACHE_FROM else 0


def _limit_tokens(answer: ModelAnswer, body: dict[str, Any]) -> ModelAnswer:
    """Apply `max_tokens`, which limits the content, or `max_completion_tokens`, which includes reasoning."""
    if "max_completion_tokens" in body:
        allowed = body["max_completion_tokens"]
        if allowed < answer.reasoning:
            return _cut_content(_thought_cut(answer, allowed), 0)
        return _cut_content(answer, allowed - answer.reasoning)
    return _cut_content(answer, body.get("max_tokens", DEFAULT_MAX_TOKENS))


def _cut_content(answer: ModelAnswer, allowed: int) -> ModelAnswer:
    """Return at most so many tokens of content; a cut sets finish_reason `length`."""
    spoken = answer.output - answer.reasoning
    if spoken <= allowed:
        return answer
    kept = answer.content[: len(answer.content) * allowed // spoken]
    return replace(answer, content=kept, tool_calls=[], output=answer.reasoning + allowed, finish="length")


def _thought_cut(answer: ModelAnswer, allowed: int) -> ModelAnswer:
    kept = answer.thought[: len(answer.thought) * allowed // answer.reasoning]
    spoken = answer.output - answer.reasoning
    return replace(answer, thought=kept, reasoning=allowed, output=allowed + spoken)

"""What a chat model says, and how Ark wraps it. Depends on the request and on its luck; knows no time and no
connection. What is said (`ModelAnswer`) and how it is written (`completion`) are apart, because an answer can be
written in more than one way.
"""

from random import Random
from typing import Any

import orjson
from msgspec import Struct
from msgspec.structs import replace

from arkbatch.simulator import models, phrases, shapes, tokens, toolcalls
from arkbatch.simulator.chance import luck

CACHE_FROM = 256  # a system prompt this long is taken to have been seen before
CACHE_STEP = 64
DEFAULT_MAX_TOKENS = 4096
_THOUGHTS = {"low": 2, "medium": 5, "high": 12, "xhigh": 20, "max": 30}


class ModelAnswer(Struct, frozen=True, gc=False):
    """What a model says to one request, with its tokens. `reasoning` and `cached` are parts of the other two."""

    model: str
    content: str
    thought: str
    tool_calls: list[dict[str, Any]]
    finish: str
    input: int
    output: int
    reasoning: int
    cached: int


def chat(body: dict[str, Any], of: bytes, *, again: bool = False) -> ModelAnswer:
    """The answer to a body that `checks.chat` let pass. `of` is the request's fingerprint; `again`: tools are called
    although their results are there.
    """
    chance = luck(of)
    model = models.chat_model(body["model"])
    prompt = last_words(body["messages"])
    thought = _thought(prompt, models.effort(model, body), chance)
    calls = toolcalls.wanted(body, chance, again=again)
    content = "" if calls else _content(body, prompt, chance)
    spoken = tokens.of_text(content) + sum(tokens.of_text(str(call["function"])) for call in calls)
    answer = ModelAnswer(
        model=model,
        content=content,
        thought=thought,
        tool_calls=calls,
        finish="tool_calls" if calls else "stop",
        input=input_tokens(body),
        output=tokens.of_text(thought) + spoken,
        reasoning=tokens.of_text(thought),
        cached=_cached(body["messages"]),
    )
    return _limited(answer, body)


def input_tokens(body: dict[str, Any]) -> int:
    tools = body.get("tools")
    declared = tokens.of_text(orjson.dumps(tools).decode()) if tools else 0
    return models.overhead(models.chat_model(body["model"])) + tokens.of_messages(body["messages"]) + declared


def struck(answer: ModelAnswer, fault: str | None) -> ModelAnswer:
    """The answer as a fault of the menu leaves it; faults that do not concern answers leave it alone."""
    match fault:
        case "empty":
            return replace(answer, content="", tool_calls=[], output=answer.reasoning, finish="stop")
        case "content_filter":
            return replace(answer, content="", tool_calls=[], output=answer.reasoning, finish="content_filter")
        case "off_schema" if answer.content:
            return replace(answer, content='{"off_schema": true}')
        case "bad_arguments" | "unknown_tool":
            return replace(answer, tool_calls=[toolcalls.spoiled(call, fault) for call in answer.tool_calls])
        case "length":
            return _cut(answer, max(1, (answer.output - answer.reasoning) // 2))
        case _:
            return answer


def completion(answer: ModelAnswer, request_id: str, created: int) -> dict[str, Any]:
    """The answer as one chat completion object."""
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
        "usage": usage(answer),
    }


def usage(answer: ModelAnswer) -> dict[str, Any]:
    return {
        "completion_tokens": answer.output,
        "prompt_tokens": answer.input,
        "total_tokens": answer.input + answer.output,
        "prompt_tokens_details": {"cached_tokens": answer.cached},
        "completion_tokens_details": {"reasoning_tokens": answer.reasoning},
    }


def last_words(messages: list[dict[str, Any]]) -> str:
    """The text of the last user message, or of the last message when no user speaks."""
    spoken = [message for message in messages if message["role"] == "user"] or messages
    content = spoken[-1].get("content") or ""
    if isinstance(content, str):
        return content
    return " ".join(part["text"] for part in content if part["type"] == "text")


def _thought(prompt: str, effort: str, chance: Random) -> str:
    if effort == "none":
        return ""
    return phrases.thoughts(prompt, round(_THOUGHTS[effort] * (0.5 + chance.random())), chance)


def _content(body: dict[str, Any], prompt: str, chance: Random) -> str:
    text = phrases.answer(prompt, toolcalls.results(body["messages"]), chance)
    wanted = body.get("response_format", {"type": "text"})
    if wanted["type"] == "json_object":
        return orjson.dumps({"simulated": True, "answer": text}).decode()
    if wanted["type"] == "json_schema":
        return orjson.dumps(shapes.fitting(wanted["json_schema"]["schema"], chance)).decode()
    for stop in _stops(body):
        text = text.partition(stop)[0]
    return text


def _stops(body: dict[str, Any]) -> list[str]:
    stop = body.get("stop", [])
    return [word for word in ([stop] if isinstance(stop, str) else stop) if word]


def _cached(messages: list[dict[str, Any]]) -> int:
    """Tokens of the system prompt, in whole steps, when it is long enough to be worth a cache."""
    head = messages[0]
    if head["role"] != "system" or len(messages) == 1:
        return 0
    count = tokens.of_messages([head])
    return count // CACHE_STEP * CACHE_STEP if count >= CACHE_FROM else 0


def _limited(answer: ModelAnswer, body: dict[str, Any]) -> ModelAnswer:
    """`max_tokens` limits what is said; `max_completion_tokens` the thoughts as well."""
    if "max_completion_tokens" in body:
        allowed = body["max_completion_tokens"]
        if allowed < answer.reasoning:
            return _cut(_thought_cut(answer, allowed), 0)
        return _cut(answer, allowed - answer.reasoning)
    return _cut(answer, body.get("max_tokens", DEFAULT_MAX_TOKENS))


def _cut(answer: ModelAnswer, allowed: int) -> ModelAnswer:
    """At most so many tokens of content, with finish_reason `length` if that takes something away."""
    spoken = answer.output - answer.reasoning
    if spoken <= allowed:
        return answer
    kept = answer.content[: len(answer.content) * allowed // spoken]
    return replace(answer, content=kept, tool_calls=[], output=answer.reasoning + allowed, finish="length")


def _thought_cut(answer: ModelAnswer, allowed: int) -> ModelAnswer:
    kept = answer.thought[: len(answer.thought) * allowed // answer.reasoning]
    spoken = answer.output - answer.reasoning
    return replace(answer, thought=kept, reasoning=allowed, output=allowed + spoken)

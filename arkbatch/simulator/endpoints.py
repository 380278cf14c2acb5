"""The table of endpoints: which bodies each refuses, what a prompt costs, and the answer."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.simulator import answers, checks, chunks, inputs, responses, tokens, vectors
from arkbatch.simulator.answers import ModelAnswer
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.seeded_random import random_for
from arkbatch.simulator.settings import Settings


class Asked(Struct, frozen=True):
    """A request that passed every check.

    of: its fingerprint; close: seals a text of the reply
    """

    body: dict[str, Any]
    of: bytes
    fault: str | None
    close: Callable[[str], str] | None = None


class PreparedAnswer(Struct, frozen=True):
    """An answer ready to be sent, with its tokens.

    cached, reasoning: parts of input and output
    """

    input: int
    output: int
    cached: int = 0
    reasoning: int = 0
    body: dict[str, Any] = {}
    chunks: list[dict[str, Any]] = []


class SimulatedEndpoint(Struct, frozen=True):
    """What one path does.

    It knows which bodies are refused, what a body costs, the answer, and how that may be delivered.
    """

    check: Callable[[dict[str, Any]], Refusal | None]
    input_tokens: Callable[[dict[str, Any]], int]
    answer: Callable[[Asked, Settings, str, int], PreparedAnswer]
    streams: bool = False
    seals: bool = False
    batch: bool = False


def _answer_chat(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    answer = answers.answer_chat(asked.body, asked.of, again=asked.fault == "tool_loop")
    answer = answers.apply_fault(answer, asked.fault)
    if asked.body.get("stream"):
        options = asked.body.get("stream_options", {})
        parts = chunks.answer_chunks(
            answer, request_id, created, options=options, chance=random_for(asked.of), pieces=settings.chunks
        )
        for part in parts:
            _seal_contents(part["choices"], "delta", asked.close)
        return _prepare(answer, chunks=parts)
    completion = answers.chat_completion(answer, request_id, created)
    if answer.content:
        _seal_contents(completion["choices"], "message", asked.close)
    if asked.fault == "no_choices":
        del completion["choices"]
    return _prepare(answer, completion)


def _prepare(answer: ModelAnswer, body: dict[str, Any] | None = None, **parts: Any) -> PreparedAnswer:
    counts = (answer.input, answer.output, answer.cached, answer.reasoning)
    return PreparedAnswer(*counts, body=body or {}, **parts)


def _seal_contents(choices: list[dict[str, Any]], where: str, close: Callable[[str], str] | None) -> None:
    """Seal the contents in place; reasoning, tool calls and filtered answers stay in clear."""
    if close is None:
        return
    for choice in choices:
        if choice.get("finish_reason") != "content_filter":
            choice[where]["content"] = close(choice[where]["content"])


def _answer_embeddings(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    reply = vectors.embedding_list(asked.body, asked.of, settings.seed, request_id, created, shuffle=settings.shuffle)
    if asked.fault == "no_choices":
        reply["data"] = []
    return PreparedAnswer(reply["usage"]["prompt_tokens"], 0, body=reply)


def _answer_multimodal(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    reply = vectors.multimodal_embedding(asked.body, settings.seed, request_id, created)
    if asked.fault == "no_choices":
        reply["data"] = {}
    return PreparedAnswer(reply["usage"]["prompt_tokens"], 0, body=reply)


def _answer_responses(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    answer = answers.answer_chat(responses.as_chat(asked.body), asked.of, again=asked.fault == "tool_loop")
    answer = answers.apply_fault(answer, asked.fault)
    reply = responses.response_object(answer, asked.body, request_id, created)
    if asked.body.get("stream"):
        parts = responses.response_events(reply, random_for(asked.of), settings.chunks)
        return _prepare(answer, chunks=parts)
    if asked.fault == "no_choices":
        del reply["output"]
    return _prepare(answer, reply)


def _answer_tokenization(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    del settings
    reply = tokens.tokenize_body(asked.body, request_id, created)
    if asked.fault == "no_choices":
        reply["data"] = []
    return PreparedAnswer(0, 0, body=reply)


_CHAT = SimulatedEndpoint(checks.check_chat, answers.input_tokens, _answer_chat, streams=True, seals=True)
_EMBEDDINGS = SimulatedEndpoint(inputs.check_embeddings, vectors.input_tokens, _answer_embeddings)
_MULTIMODAL = SimulatedEndpoint(inputs.check_multimodal, vectors.multimodal_tokens, _answer_multimodal)

ENDPOINTS = {
    "/chat/completions": _CHAT,
    "/responses": SimulatedEndpoint(
        responses.check_responses_body, responses.input_tokens, _answer_responses, streams=True
    ),
    "/embeddings": _EMBEDDINGS,
    "/embeddings/multimodal": _MULTIMODAL,
    "/tokenization": SimulatedEndpoint(inputs.check_tokenization, lambda _: 0, _answer_tokenization),
    "/batch/chat/completions": replace(_CHAT, check=checks.check_batch_chat, streams=False, batch=True),
    "/batch/embeddings": replace(_EMBEDDINGS, batch=True),
    "/batch/embeddings/multimodal": replace(_MULTIMODAL, batch=True),
}

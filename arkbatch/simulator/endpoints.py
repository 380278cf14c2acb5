"""What each path of the service does, as a table: which bodies it refuses, what a prompt costs, and the answer."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.simulator import answers, checks, chunks, inputs, responses, tokenizer, vectors
from arkbatch.simulator.chance import luck
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings


class Asked(Struct, frozen=True):
    """A request that passed every check. `of` is its fingerprint, `close` seals a text of the reply."""

    body: dict[str, Any]
    of: bytes
    fault: str | None
    close: Callable[[str], str] | None = None


class PreparedAnswer(Struct, frozen=True):
    """An answer ready to be written, with its tokens: a body, or the chunks of a stream."""

    input: int
    output: int
    body: dict[str, Any] = {}
    chunks: list[dict[str, Any]] = []


class SimulatedEndpoint(Struct, frozen=True):
    """What one path does: which bodies it refuses, what a body costs, the answer, and how that may be delivered."""

    check: Callable[[dict[str, Any]], Refusal | None]
    input_tokens: Callable[[dict[str, Any]], int]
    answer: Callable[[Asked, Settings, str, int], PreparedAnswer]
    streams: bool = False
    seals: bool = False
    batch: bool = False


def _chat(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    answer = answers.chat(asked.body, asked.of, again=asked.fault == "tool_loop")
    answer = answers.struck(answer, asked.fault)
    if asked.body.get("stream"):
        options = asked.body.get("stream_options", {})
        parts = chunks.of(answer, request_id, created, options=options, chance=luck(asked.of), pieces=settings.chunks)
        for part in parts:
            _seal(part["choices"], "delta", asked.close)
        return PreparedAnswer(answer.input, answer.output, chunks=parts)
    completion = answers.completion(answer, request_id, created)
    if answer.content:
        _seal(completion["choices"], "message", asked.close)
    if asked.fault == "no_choices":
        del completion["choices"]
    return PreparedAnswer(answer.input, answer.output, completion)


def _seal(choices: list[dict[str, Any]], where: str, close: Callable[[str], str] | None) -> None:
    """Seals the contents in place; reasoning, tool calls and what moderation cut off stay in clear."""
    if close is None:
        return
    for choice in choices:
        if choice.get("finish_reason") != "content_filter":
            choice[where]["content"] = close(choice[where]["content"])


def _embeddings(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    reply = vectors.embeddings(asked.body, asked.of, settings.seed, request_id, created, shuffle=settings.shuffle)
    if asked.fault == "no_choices":
        reply["data"] = []
    return PreparedAnswer(reply["usage"]["prompt_tokens"], 0, reply)


def _multimodal(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    reply = vectors.multimodal(asked.body, settings.seed, request_id, created)
    if asked.fault == "no_choices":
        reply["data"] = {}
    return PreparedAnswer(reply["usage"]["prompt_tokens"], 0, reply)


def _responses(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    answer = answers.chat(responses.as_chat(asked.body), asked.of, again=asked.fault == "tool_loop")
    answer = answers.struck(answer, asked.fault)
    reply = responses.response(answer, asked.body, request_id, created)
    if asked.body.get("stream"):
        parts = responses.events(reply, luck(asked.of), settings.chunks)
        return PreparedAnswer(answer.input, answer.output, chunks=parts)
    if asked.fault == "no_choices":
        del reply["output"]
    return PreparedAnswer(answer.input, answer.output, reply)


def _tokenization(asked: Asked, settings: Settings, request_id: str, created: int) -> PreparedAnswer:
    del settings
    reply = tokenizer.tokenization(asked.body, request_id, created)
    if asked.fault == "no_choices":
        reply["data"] = []
    return PreparedAnswer(0, 0, reply)


_CHAT = SimulatedEndpoint(checks.chat, answers.input_tokens, _chat, streams=True, seals=True)
_EMBEDDINGS = SimulatedEndpoint(inputs.embeddings, vectors.input_tokens, _embeddings)
_MULTIMODAL = SimulatedEndpoint(inputs.multimodal, vectors.multimodal_tokens, _multimodal)

ENDPOINTS = {
    "/chat/completions": _CHAT,
    "/responses": SimulatedEndpoint(responses.refused, responses.input_tokens, _responses, streams=True),
    "/embeddings": _EMBEDDINGS,
    "/embeddings/multimodal": _MULTIMODAL,
    "/tokenization": SimulatedEndpoint(inputs.tokenization, lambda _: 0, _tokenization),
    "/batch/chat/completions": replace(_CHAT, check=checks.batch_chat, streams=False, batch=True),
    "/batch/embeddings": replace(_EMBEDDINGS, batch=True),
    "/batch/embeddings/multimodal": replace(_MULTIMODAL, batch=True),
}

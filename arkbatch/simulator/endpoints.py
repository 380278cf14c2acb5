"""What each path of the service does, as a table: which bodies it refuses, what a prompt costs, and the answer."""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from arkbatch.simulator import answers, checks, vectors
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.settings import Settings


class Asked(Struct, frozen=True):
    """A request that passed every check. `of` is its fingerprint."""

    body: dict[str, Any]
    of: bytes
    fault: str | None


class Endpoint(Struct, frozen=True):
    """What one path does: which bodies it refuses, what a body costs, and the answer with its tokens."""

    check: Callable[[dict[str, Any]], Refusal | None]
    input_tokens: Callable[[dict[str, Any]], int]
    answer: Callable[[Asked, Settings, str, int], tuple[dict[str, Any], int]]


def _chat(asked: Asked, settings: Settings, request_id: str, created: int) -> tuple[dict[str, Any], int]:
    del settings
    answer = answers.struck(answers.chat(asked.body, asked.of), asked.fault)
    completion = answers.completion(answer, request_id, created)
    if asked.fault == "no_choices":
        del completion["choices"]
    return completion, answer.output


def _embeddings(asked: Asked, settings: Settings, request_id: str, created: int) -> tuple[dict[str, Any], int]:
    reply = vectors.embeddings(asked.body, asked.of, settings.seed, request_id, created, shuffle=settings.shuffle)
    if asked.fault == "no_choices":
        reply["data"] = []
    return reply, 0


ENDPOINTS = {
    "/chat/completions": Endpoint(checks.chat, answers.input_tokens, _chat),
    "/embeddings": Endpoint(checks.embeddings, vectors.input_tokens, _embeddings),
}

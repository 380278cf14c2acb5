"""What the finish reasons of all providers mean.

Words of other providers come through gateways in any case, so they are compared without it. A word that nobody knows
is kept and counted: the answer has content, and nothing says that it was broken off.
"""

from enum import StrEnum


class AnswerEnding(StrEnum):
    """What the end of an answer means."""

    WHOLE = "whole"  # the model came to its end, or called tools
    CUT = "cut"  # at a limit of length
    BLOCKED = "blocked"  # by moderation
    BROKEN = "broken"  # by the server, or by a fault of the model's output: the same request may do better
    UNKNOWN = "unknown"


LENGTH = frozenset({"length", "max_tokens", "model_length", "max_output_tokens", "model_context_window_exceeded"})
_WORDS = {
    AnswerEnding.WHOLE: (
        "stop",
        "tool_calls",
        "function_call",
        "tool_use",
        "eos",
        "eos_token",
        "stop_sequence",
        "end_turn",
        "complete",
        "completed",
        "repetition",  # vLLM ended a loop on purpose
    ),
    AnswerEnding.CUT: (*LENGTH, "compaction"),
    AnswerEnding.BLOCKED: (
        "content_filter",
        "sensitive",  # Zhipu
        "safety",
        "recitation",
        "blocklist",
        "prohibited_content",
        "spii",
        "language",
        "image_safety",
        "refusal",
        "guardrail_intervened",
        "error_toxic",
    ),
    AnswerEnding.BROKEN: (
        "error",  # OpenRouter, Mistral
        "abort",  # vLLM, SGLang
        "network_error",  # Z.ai
        "insufficient_system_resource",  # DeepSeek
        "malformed_function_call",
        "unexpected_tool_call",
        "too_many_tool_calls",
        "malformed_response",
        "missing_thought_signature",
    ),
}
_ENDINGS = {word: ending for ending, words in _WORDS.items() for word in words}


def ending_of(finish_reason: str) -> AnswerEnding:
    """Return what a finish reason means; `content_filter: PROHIBITED_CONTENT` is read by its first word."""
    known = _ENDINGS.get(finish_reason)  # nearly all come in the spelling of the table
    if known is None:
        known = _ENDINGS.get(finish_reason.partition(":")[0].strip().lower(), AnswerEnding.UNKNOWN)
    return known

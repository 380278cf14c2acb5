"""The messages in a reply of any text endpoint, in the shape of chat.

`answers`, `show`, the check by a schema and tools read an answer's text from here, so that they need not know the APIs.
"""

from typing import Any

from arkbatch.protocol.endpoints import responses


def choices_of(parsed: object) -> list[dict[str, Any]]:
    """Return each choice of a reply as `{"message", "finish_reason"}`; empty if the reply is no answer in words."""
    if not isinstance(parsed, dict):
        return []
    choices = parsed.get("choices")
    if isinstance(choices, list):
        return [_with_message(choice) for choice in choices if isinstance(choice, dict)]
    if responses.output_items(parsed) is not None:
        return [{"message": responses.message_of(parsed), "finish_reason": responses.finish_reason_of(parsed)}]
    return []


def messages_of(parsed: object) -> list[dict[str, Any]]:
    return [choice["message"] for choice in choices_of(parsed)]


def _with_message(choice: dict[str, Any]) -> dict[str, Any]:
    """Return a choice with a message; a choice of `/completions` has only a text."""
    message = choice.get("message")
    if not isinstance(message, dict):
        message = {"content": choice["text"]} if isinstance(choice.get("text"), str) else {}
    return {**choice, "message": message}

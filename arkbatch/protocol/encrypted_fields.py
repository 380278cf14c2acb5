"""The parts of a chat call and reply that are encrypted.

Sealed are the contents of all messages, and images that stand in the body as data URLs. By the service's design the
rest stays readable: tools and their arguments, reasoning that is sent back, `stop`, `user`, and the addresses of
images and videos that the service fetches. Whatever else holds content and has no place in that table is an `Unfit`,
so that nothing new leaves in clear by being unknown.
"""

from collections.abc import Callable
from typing import Any

from arkbatch.core.row import Body
from arkbatch.protocol.encryption import Seal, Unfit, open_text

_FETCHED = {"http", "https"}


def seal_messages(body: Body, close: Callable[[str], str]) -> Body | Unfit:
    """A copy of a chat body whose contents went through `close`, or why that cannot be. `body` stays as it is."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return Unfit("messages is no list")
    sealed = []
    for place, message in enumerate(messages):
        if not isinstance(message, dict):
            return Unfit(f"messages[{place}] is no object")
        content = _seal_content(message.get("content"), close)
        if isinstance(content, Unfit):
            return Unfit(f"messages[{place}].content{content.reason}")
        sealed.append({**message, "content": content} if "content" in message else message)
    return {**body, "messages": sealed}


def open_choices(body: Body, seal: Seal) -> Body | Unfit:
    """A copy of a reply in which each answer is in clear, or why it is not. `body` stays as it is.

    An answer that moderation cut off comes unencrypted, and reasoning and tool calls always do.
    """
    choices = body.get("choices")
    if not isinstance(choices, list):
        return body
    opened = []
    for place, choice in enumerate(choices):
        match choice:
            case {"message": {"content": content} as message} if _is_sealed(choice, content):
                text = open_text(content, seal)
                if isinstance(text, Unfit):
                    return Unfit(f"choices[{place}].message.content {text.reason}")
                opened.append({**choice, "message": {**message, "content": text}})
            case _:
                opened.append(choice)
    return {**body, "choices": opened}


def _is_sealed(choice: Body, content: object) -> bool:
    return content is not None and choice.get("finish_reason") != "content_filter"


def _seal_content(content: object, close: Callable[[str], str]) -> Any:
    match content:
        case None:
            return None
        case str():
            return close(content)
        case list():
            parts = []
            for place, part in enumerate(content):
                sealed = _seal_part(part, close)
                if isinstance(sealed, Unfit):
                    return Unfit(f"[{place}] {sealed.reason}")
                parts.append(sealed)
            return parts
    return Unfit(" is neither a text nor a list of parts")


def _seal_part(part: Any, close: Callable[[str], str]) -> Any:
    match part:
        case {"type": "text", "text": str(text)}:
            return {**part, "text": close(text)}
        case {"type": "image_url", "image_url": {"url": str(url)} as image} if _scheme_of(url) == "data":
            return {**part, "image_url": {**image, "url": close(url)}}
        case {"type": "image_url", "image_url": {"url": str(url)}} if _scheme_of(url) in _FETCHED:
            return part
        case {"type": "video_url", "video_url": {"url": str(url)}} if _scheme_of(url) in _FETCHED:
            return part
        case {"type": "image_url" | "video_url" as kind}:
            return Unfit(f"is an {kind} that is neither sealable data nor fetched over http(s)")
        case {"type": str(kind)}:
            return Unfit(f"is a part of type {kind}, which cannot be encrypted")
    return Unfit("is no part with a type")


def _scheme_of(url: str) -> str:
    return url.partition(":")[0].lower()

"""What each API looks like: its path, the requests that it takes, how large they are, what a reply means.

`ENDPOINTS` has one entry for each; another API is another module beside `chat` and one more entry here. Nothing
in this package sends, waits or decides what to do about a reply: see `transport` and `verdict`.
"""

import re
from collections.abc import Mapping

from arkbatch.core.types import Body
from arkbatch.protocol.endpoints import chat, embeddings, multimodal, tokenization
from arkbatch.protocol.endpoints.base import Answer, Endpoint, Problem
from arkbatch.protocol.endpoints.batch_lane import on_batch_lane

__all__ = ["ENDPOINTS", "Answer", "Endpoint", "Problem", "by_body", "by_url"]

_ONLINE = (chat.ENDPOINT, embeddings.ENDPOINT, multimodal.ENDPOINT)

ENDPOINTS: Mapping[str, Endpoint] = {
    entry.name: entry for entry in (*_ONLINE, tokenization.ENDPOINT, *map(on_batch_lane, _ONLINE))
}

_BY_PATH = {entry.path: entry.name for entry in ENDPOINTS.values()}
# The host, and all up to the version (`/v1`, `/api/v3`, `/compatible-mode/v1`); what follows has to match whole,
# because `/bots/chat/completions` is another API.
_BEFORE_PATH = re.compile(r"(?:https?://[^/]+)?(?:.*/v\d+(?=/))?")


def by_url(url: str) -> str | None:
    """The endpoint that the `url` of an OpenAI batch line means, or None."""
    path = _BEFORE_PATH.sub("", url, count=1).partition("?")[0]
    return _BY_PATH.get(path.rstrip("/"))


def by_body(body: Body, preferred: str = "") -> str | None:
    """The endpoint that a bare request body is meant for, or None. Two of them take the same key."""
    if multimodal.has_parts(body):
        return multimodal.NAME
    if preferred and ENDPOINTS[preferred].key in body:
        return preferred
    for entry in ENDPOINTS.values():
        if entry.key in body:
            return entry.name
    return None

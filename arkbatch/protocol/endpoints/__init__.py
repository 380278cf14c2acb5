"""The endpoints: path, allowed requests, size of a request, meaning of a reply.

`ENDPOINTS` has one entry for each; another API is another module beside `chat` and one more entry here. Nothing
in this package sends, waits or decides what to do about a reply: see `transport` and `verdict`.
"""

import re
from collections.abc import Mapping

from arkbatch.core.row import Body
from arkbatch.protocol.endpoints import chat, embeddings, multimodal, passthrough, responses, tokenization
from arkbatch.protocol.endpoints.base import Answer, Endpoint, Problem
from arkbatch.protocol.endpoints.batch_lane import on_batch_lane

__all__ = ["ENDPOINTS", "NAMES", "Answer", "Endpoint", "Problem", "by_body", "by_url"]

_ONLINE = (chat.ENDPOINT, embeddings.ENDPOINT, multimodal.ENDPOINT)

_KNOWN = (*_ONLINE, responses.ENDPOINT, tokenization.ENDPOINT, *map(on_batch_lane, _ONLINE))

# A name that begins with a slash is a path, and needs no entry.
ENDPOINTS: Mapping[str, Endpoint] = passthrough.KnownAndPaths({entry.name: entry for entry in _KNOWN})

# What a job may name, beside paths; the names of the batch lane follow from these and from the lane.
NAMES = ("chat", "responses", "embeddings", "multimodal_embeddings", "tokenization")

_BY_PATH = {entry.path: entry.name for entry in _KNOWN}
# The host, and all up to the version (`/v1`, `/api/v3`, `/compatible-mode/v1`); what follows has to match whole,
# because `/bots/chat/completions` is another API.
_BEFORE_PATH = re.compile(r"(?:https?://[^/]+)?(?:.*/v\d+(?=/))?")


def by_url(url: str) -> str | None:
    """The endpoint that the `url` of an OpenAI batch line means, or None.

    A path that no entry has is an endpoint of its own when it begins with the version of an API.
    """
    path = _BEFORE_PATH.sub("", url, count=1).partition("?")[0]
    return _BY_PATH.get(path.rstrip("/")) or passthrough.path_of_url(url)


def by_body(body: Body, preferred: str = "") -> str | None:
    """The endpoint that a bare request body is meant for, or None. Three of them take the key `input`.

    preferred: the endpoint of the job
    """
    if passthrough.is_path(preferred):
        return preferred
    if preferred == responses.NAME and "input" in body:
        return preferred
    if multimodal.has_parts(body) and not responses.is_meant(body):
        return multimodal.NAME
    if preferred and ENDPOINTS[preferred].key in body:
        return preferred
    if responses.is_meant(body):
        return responses.NAME
    for entry in _KNOWN:
        if entry.key in body:
            return entry.name
    return None

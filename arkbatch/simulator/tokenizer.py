"""Which tokens a text falls into. Ark's vocabulary is not public: a text is cut evenly into as many tokens as `tokens`
says that it has, and a token's number follows from its characters, so the same piece always has the same number.
"""

from hashlib import blake2b
from typing import Any

from arkbatch.simulator import tokens

VOCABULARY = 155_136


def tokenization(body: dict[str, Any], request_id: str, created: int) -> dict[str, Any]:
    """The answer to a body that `inputs.tokenization` let pass."""
    texts = [body["text"]] if isinstance(body["text"], str) else body["text"]
    return {
        "created": created,
        "data": [_of(text, index) for index, text in enumerate(texts)],
        "id": request_id,
        "model": body["model"],
        "object": "list",
    }


def number(piece: str) -> int:
    return int.from_bytes(blake2b(piece.encode(), digest_size=8).digest()) % VOCABULARY


def _of(text: str, index: int) -> dict[str, Any]:
    count = tokens.of_text(text)
    ends = [len(text) * (place + 1) // count for place in range(count)]
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    return {
        "object": "tokenization",
        "index": index,
        "total_tokens": count,
        "token_ids": [number(text[start:end]) for start, end in spans],
        "offset_mapping": [[start, end] for start, end in spans],
    }

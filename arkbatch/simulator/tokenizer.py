"""The tokens of a text, for the tokenization endpoint.

Ark's vocabulary is not public. A text is cut evenly into as many tokens as `tokens` counts in it. A token's number
follows from its characters, so the same piece always has the same number.
"""

from hashlib import blake2b
from typing import Any

from arkbatch.simulator import tokens

VOCABULARY = 155_136


def tokenize_body(body: dict[str, Any], request_id: str, created: int) -> dict[str, Any]:
    """The answer to a body that `inputs.check_tokenization` let pass."""
    texts = [body["text"]] if isinstance(body["text"], str) else body["text"]
    return {
        "created": created,
        "data": [_tokenize_text(text, index) for index, text in enumerate(texts)],
        "id": request_id,
        "model": body["model"],
        "object": "list",
    }


def token_number(piece: str) -> int:
    return int.from_bytes(blake2b(piece.encode(), digest_size=8).digest()) % VOCABULARY


def _tokenize_text(text: str, index: int) -> dict[str, Any]:
    count = tokens.text_tokens(text)
    ends = [len(text) * (place + 1) // count for place in range(count)]
    spans = list(zip([0, *ends[:-1]], ends, strict=True))
    return {
        "object": "tokenization",
        "index": index,
        "total_tokens": count,
        "token_ids": [token_number(text[start:end]) for start, end in spans],
        "offset_mapping": [[start, end] for start, end in spans],
    }

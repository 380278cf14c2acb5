"""Random numbers that depend on the request alone.

So two runs over one input get the same answers, and a fault strikes the same attempts of the same request.
"""

from hashlib import blake2b
from random import Random
from typing import Any

import orjson

# Parameters that change how an answer is delivered, not what it says.
_DELIVERY = frozenset({"stream", "stream_options", "user", "service_tier"})


def fingerprint(body: dict[str, Any], seed: int) -> bytes:
    """Return 16 bytes that identify what was asked, however the JSON was spelled.

    Nulls must be removed before.
    """
    meaning = {name: value for name, value in body.items() if name not in _DELIVERY}
    asked = orjson.dumps(meaning, option=orjson.OPT_SORT_KEYS)
    return blake2b(asked, digest_size=16, key=str(seed).encode()[:64]).digest()


def random_for(of: bytes, attempt: int = 0) -> Random:
    """Return a random generator for one request, or for one attempt of it."""
    return Random(int.from_bytes(of, "big") + attempt)

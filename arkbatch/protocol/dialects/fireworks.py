"""Fireworks."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="fireworks",
    title="Fireworks",
    base_url="https://api.fireworks.ai/inference/v1",
    hosts=("api.fireworks.ai",),
    key="FIREWORKS_API_KEY",
    errors=by_code(
        {
            Meaning.MONEY: "http_412",
        }
    ),
    limits="adaptive; 412 is a suspended account",
    batch="yes",
    source="Fireworks' inference error codes",
)

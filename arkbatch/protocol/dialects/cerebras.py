"""Cerebras."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="cerebras",
    title="Cerebras",
    base_url="https://api.cerebras.ai/v1",
    hosts=("api.cerebras.ai",),
    key="CEREBRAS_API_KEY",
    errors=by_code({Meaning.TOO_LONG: "http_400_empty http_413_empty"}),
    limits="admission counts max_completion_tokens; overlong prompts get 400 without a body",
    source="Cerebras' error page; opencode#7463",
)

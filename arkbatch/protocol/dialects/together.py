"""Together."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="together",
    title="Together",
    base_url="https://api.together.xyz/v1",
    hosts=("api.together.xyz",),
    key="TOGETHER_API_KEY",
    errors=by_code(
        {
            Meaning.TOO_LONG: "http_403",
        }
    ),
    limits="403 means that input and max_tokens are over the context",
    batch="files, 50,000 lines, 100 MB",
    source="Together's error codes",
)

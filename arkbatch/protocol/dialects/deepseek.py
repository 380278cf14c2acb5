"""DeepSeek."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="deepseek",
    title="DeepSeek",
    base_url="https://api.deepseek.com",
    hosts=("api.deepseek.com",),
    key="DEEPSEEK_API_KEY",
    usage="prompt_cache_hit_tokens; reasoning inside",
    limits="concurrency of the account, no rate; blank lines while a call is queued",
    batch="none known",
    source="DeepSeek API documentation: error codes, rate limit (2026)",
)

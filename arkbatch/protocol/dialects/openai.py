"""OpenAI."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="openai",
    title="OpenAI",
    base_url="https://api.openai.com/v1",
    hosts=("api.openai.com",),
    key="OPENAI_API_KEY",
    usage="reasoning inside the output",
    limits="x-ratelimit-* with durations; retry-after-ms",
    batch="files, 50,000 lines, half price",
    source="OpenAI's help pages, openai-openapi, openai-python (2026-08)",
)

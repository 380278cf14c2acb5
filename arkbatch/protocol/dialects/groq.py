"""Groq."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="groq",
    title="Groq",
    base_url="https://api.groq.com/openai/v1",
    hosts=("api.groq.com",),
    key="GROQ_API_KEY",
    usage="usage of a stream in x_groq",
    limits="x-ratelimit-*-requests is of the day, -tokens of the minute; 498: the flex tier is full",
    batch="yes",
    source="console.groq.com: errors, flex processing, rate limits",
)

"""OpenRouter."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="openrouter",
    title="OpenRouter",
    base_url="https://openrouter.ai/api/v1",
    hosts=("openrouter.ai",),
    key="OPENROUTER_API_KEY",
    usage="usage.cost says what was billed, in USD",
    limits="402 with Retry-After is a wait; errors inside a 200",
    batch="requests in one call, mostly half price",
    source="OpenRouterTeam/docs: errors-and-debugging, limits (2026)",
)

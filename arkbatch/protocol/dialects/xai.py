"""xAI."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="xai",
    title="xAI",
    base_url="https://api.x.ai/v1",
    hosts=("api.x.ai",),
    key="XAI_API_KEY",
    usage="reasoning beside the output; cost_in_usd_ticks says what was billed",
    limits="a minute's limit is also enforced per second",
    batch="files, 20 to 50 % off",
    source="xAI's cost tracking; vercel/ai#12425; sub2api#5771 (2026-08)",
)

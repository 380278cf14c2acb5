"""Z.ai."""

from msgspec.structs import replace

from arkbatch.protocol.dialects import zhipu

# The same service at another address, with keys of its own.
DIALECT = replace(
    zhipu.DIALECT,
    name="zai",
    title="Z.ai",
    base_url="https://api.z.ai/api/paas/v4",
    hosts=("api.z.ai",),
    key="ZAI_API_KEY",
)

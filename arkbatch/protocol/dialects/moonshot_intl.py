"""Moonshot Kimi (international)."""

from msgspec.structs import replace

from arkbatch.protocol.dialects import moonshot

# The same service at another address, with keys of its own.
DIALECT = replace(
    moonshot.DIALECT,
    name="moonshot-intl",
    title="Moonshot Kimi (international)",
    base_url="https://api.moonshot.ai/v1",
    hosts=("api.moonshot.ai",),
    key="MOONSHOT_INTL_API_KEY",
)

"""MiniMax (international)."""

from msgspec.structs import replace

from arkbatch.protocol.dialects import minimax

# The same service at another address, with keys of its own.
DIALECT = replace(
    minimax.DIALECT,
    name="minimax-intl",
    title="MiniMax (international)",
    base_url="https://api.minimax.io/v1",
    hosts=("api.minimax.io",),
    key="MINIMAX_INTL_API_KEY",
)

"""Alibaba DashScope (Singapore)."""

from msgspec.structs import replace

from arkbatch.protocol.dialects import dashscope

# The same service at another address, with keys of its own.
DIALECT = replace(
    dashscope.DIALECT,
    name="dashscope-intl",
    title="Alibaba DashScope (Singapore)",
    base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    hosts=("dashscope-intl.aliyuncs.com", ".ap-southeast-1.maas.aliyuncs.com"),
    key="DASHSCOPE_INTL_API_KEY",
)

"""Alibaba DashScope (Singapore)."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="dashscope-intl",
    title="Alibaba DashScope (Singapore)",
    base_url="https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    hosts=("dashscope-intl.aliyuncs.com", ".ap-southeast-1.maas.aliyuncs.com"),
    key="DASHSCOPE_INTL_API_KEY",
    errors=by_code(
        {
            Meaning.MONEY: "Arrearage AllocationQuota.FreeTierOnly",
            Meaning.RATE: "Throttling.AllocationQuota Throttling.RateQuota limit_requests",
            Meaning.LOAD: "Throttling.BurstRate limit_burst_rate",
            Meaning.BLOCKED: "data_inspection_failed",
        }
    ),
    usage="cached tokens and cache writes inside the input",
    limits="requests and tokens, also per second; insufficient_quota is a limit of the minute",
    batch="files, half price",
    source="Model Studio documentation: rate limit, error codes (2026-07)",
)

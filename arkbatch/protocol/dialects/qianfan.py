"""Baidu Qianfan."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="qianfan",
    title="Baidu Qianfan",
    base_url="https://qianfan.baidubce.com/v2",
    hosts=("qianfan.baidubce.com",),
    key="QIANFAN_API_KEY",
    errors=by_code(
        {
            Meaning.RATE: "18 336501 336502 rpm_rate_limit_exceeded tpm_rate_limit_exceeded",
            Meaning.QUOTA: "17",
            Meaning.MONEY: "19",
            Meaning.KEY: "110 111 invalid_iam_token",
            Meaning.MODEL: "invalid_model",
            Meaning.TOO_LONG: "tokens_too_long characters_too_long",
        }
    ),
    limits="x-ratelimit-* without resets",
    source="Qianfan's error codes (2026-11-11); one-api baiduv2",
)

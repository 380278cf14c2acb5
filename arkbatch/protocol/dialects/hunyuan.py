"""Tencent Hunyuan."""

from arkbatch.protocol.dialects.dialect import Dialect

DIALECT = Dialect(
    name="hunyuan",
    title="Tencent Hunyuan",
    base_url="https://api.hunyuan.cloud.tencent.com/v1",
    hosts=("api.hunyuan.cloud.tencent.com",),
    key="HUNYUAN_API_KEY",
    limits="5 calls at once, 20 a second an account",
    source="Tencent's page 1729/112207; the address is unverified",
)

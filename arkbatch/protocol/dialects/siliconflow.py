"""SiliconFlow."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="siliconflow",
    title="SiliconFlow",
    base_url="https://api.siliconflow.cn/v1",
    hosts=("api.siliconflow.cn",),
    key="SILICONFLOW_API_KEY",
    errors=by_code(
        {
            Meaning.MONEY: "30001 30011",
            Meaning.MODEL: "20012",
            Meaning.LOAD: "50505 50508",
        }
    ),
    limits="64 inputs in a call for embeddings",
    batch="yes",
    source="OpenManus#438, page-assist#371; numbers in part unverified",
)

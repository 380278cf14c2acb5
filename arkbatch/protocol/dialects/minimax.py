"""MiniMax (China)."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="minimax",
    title="MiniMax (China)",
    base_url="https://api.minimaxi.com/v1",
    hosts=("api.minimaxi.com", "api.minimax.chat"),
    key="MINIMAX_API_KEY",
    errors=by_code(
        {
            Meaning.MONEY: "1008",
            Meaning.KEY: "1004 2049",
            Meaning.RATE: "1002 1039",
            Meaning.LOAD: "1041",
            Meaning.QUOTA: "2056",
            Meaning.BLOCKED: "1026 1027",
            Meaning.PARAMETER: "2013",
            Meaning.TEMPORARY: "1000 1001 1013 1024 1033",
        }
    ),
    usage="thinking stands in the content unless reasoning_split is set",
    limits="errors in base_resp of a 200",
    batch="none known",
    source="MiniMax's error codes, international and China; MiniMax-M2.7#36",
)

"""Moonshot Kimi (China)."""

from arkbatch.protocol.dialects.dialect import Dialect, by_code
from arkbatch.protocol.error_words import Meaning

DIALECT = Dialect(
    name="moonshot",
    title="Moonshot Kimi (China)",
    base_url="https://api.moonshot.cn/v1",
    hosts=("api.moonshot.cn",),
    key="MOONSHOT_API_KEY",
    errors=by_code(
        {
            Meaning.MONEY: "exceeded_current_quota_error",
            Meaning.RATE: "rate_limit_reached_error",
            Meaning.LOAD: "engine_overloaded_error",
            Meaning.KEY: "invalid_authentication_error incorrect_api_key_error",
            Meaning.MODEL: "resource_not_found_error",
        }
    ),
    usage="cached_tokens at the top of usage; the usage of a stream in its last choice",
    limits="the message names the seconds",
    batch="yes",
    source="platform.kimi.com errors; opencode#24462; pi#2017",
)

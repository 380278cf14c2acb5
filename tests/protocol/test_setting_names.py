"""Advice names the variables and options that this run reads, and no others."""

import pytest

from arkbatch.core.calls import Reply
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.core.language import Language
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.setting_names import ANY_SERVER, setting_names
from arkbatch.protocol.verdict import judge

ARK_URL = "https://ark.cn-beijing.volces.com/api/v3"


@pytest.mark.parametrize(
    ("provider", "base_url", "at_ark", "key"),
    [
        ("", ARK_URL, True, "ARK_API_KEY"),
        ("deepseek", "https://api.deepseek.com/v1", False, "DEEPSEEK_API_KEY"),
        ("", "https://api.deepseek.com/v1", False, "DEEPSEEK_API_KEY"),
        ("", "https://gateway.example.com/v1", False, "OPENAI_API_KEY"),
        ("", "https://gateway.example.com/v1", True, "ARK_API_KEY"),
    ],
)
def test_a_wrong_key_names_the_variable_that_it_was_read_from(provider, base_url, at_ark, key):
    names = setting_names(provider, base_url, at_ark=at_ark, address_from="--base-url", model_from="job.toml")
    advice = advice_of(401, "Incorrect API key provided", names)
    assert f"({key})" in advice
    assert "{" not in advice
    assert "({address})" not in advice_of(405, "no", names)
    assert "(--base-url)" in advice_of(405, "no", names)
    assert "(--model or job.toml)" in advice_of(404, "The model `x` does not exist", names)


def advice_of(status, message, names):
    body = b'{"error": {"message": "%b"}}' % message.encode()
    verdict = judge(Reply(status, body, {}, 1.0), ENDPOINTS["chat"], ReplyPolicy(), wall=0.0, names=names)
    return verdict.cause.advice


def test_where_nothing_is_known_of_the_server_all_of_the_names_are_told():
    assert "(ARK_API_KEY, OPENAI_API_KEY)" in advice_of(401, "Incorrect API key provided", ANY_SERVER)


@pytest.mark.parametrize("status", [401, 405, 404])
def test_advice_with_names_in_it_is_told_in_chinese(status):
    message = "The model `x` does not exist" if status == 404 else "no"
    names = setting_names("groq", "", at_ark=False)
    said = Language.CHINESE.say(advice_of(status, message, names))
    assert "检查" in said
    assert "{" not in said


@pytest.mark.parametrize(
    ("headers", "query", "key"),
    [
        ({"api-key": "env:AZURE_OPENAI_API_KEY", "X-Tag": "env:TAG"}, {}, "AZURE_OPENAI_API_KEY"),
        ({"Authorization": "Basic abc"}, {}, "headers.Authorization"),
        ({}, {"key": "env:GATEWAY_KEY"}, "GATEWAY_KEY"),
        ({"X-Tag": "env:TAG"}, {"api-version": "2024"}, "OPENAI_API_KEY"),
    ],
)
def test_a_wrong_key_that_a_header_of_the_job_carries_is_named_by_its_variable(headers, query, key):
    names = setting_names("", "https://gateway.example.com/v1", at_ark=False, headers=headers, query=query)
    assert f"({key})" in advice_of(401, "Incorrect API key provided", names)

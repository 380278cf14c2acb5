"""What a base URL may be, and how a wrong one is explained."""

import pytest

from arkbatch.config.base_url import checked_address, checked_url
from arkbatch.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("ark.cn-beijing.volces.com/api/v3", "begins with https://"),
        ("ftp://x.example", "begins with https://"),
        ("https://x.example:port", "is not a URL"),
        ("https://user:secret@x.example", "ARK_API_KEY"),
        ("https://x.example/v1?key=secret", r'write \[query\] key = "env:NAME" into the job file instead$'),
        ("https://x.example/v1#secret", "ends before that, https://x.example/v1$"),
        ("x.example/v1?a=secret", "begins with https://"),
        ("https://x.example/v1/chat/completions", "write https://x.example/v1, without /chat/completions"),
    ],
)
def test_a_wrong_address_is_explained(text, says):
    with pytest.raises(UsageError, match=says) as caught:
        checked_url(text, "--base-url")
    assert "--base-url" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_the_query_of_an_address_stands_apart():
    found = checked_address("https://x.example/openai/v1/?api-version=2024-10-21&a=", "x")
    assert found[:2] == ("https://x.example/openai/v1", {"api-version": "2024-10-21", "a": ""})


@pytest.mark.parametrize("end", ["", "/", "//"])
def test_the_last_slash_does_not_matter(end):
    assert checked_url(f"https://x.example/v1{end}", "x") == "https://x.example/v1"

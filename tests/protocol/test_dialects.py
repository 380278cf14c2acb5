"""Providers by name: each has what a run needs, and its own numbers are read."""

import pytest

from arkbatch.core.calls import Again, Halt, Kind, Refused, Reply, Scope
from arkbatch.core.job_sections import ReplyPolicy
from arkbatch.protocol.dialects import NAMES, all_dialects, dialect_at, dialect_named, error_numbers
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.verdict import judge

AGAIN, SLOWER, FEWER = (Again, Scope.ROW), (Again, Scope.RATE), (Again, Scope.CONCURRENCY)
REFUSED, HALT = (Refused, None), (Halt, None)


@pytest.mark.parametrize("name", NAMES)
def test_a_provider_by_name_says_where_it_is_known_from(name):
    dialect = dialect_named(name)
    assert dialect.name == name
    assert dialect.source
    assert dialect.base_url or dialect.hosts
    assert not dialect.base_url.endswith("/")


def test_a_provider_is_known_by_its_host_and_by_no_other():
    for dialect in all_dialects():
        if dialect.base_url and dialect.hosts:
            assert dialect_at(dialect.base_url) == dialect
    assert dialect_at("https://api.deepseek.com.example.org/v1") is None
    assert dialect_at("https://mine.openai.azure.com/openai/v1").name == "azure"


def test_no_two_providers_share_a_key_or_a_host():
    keys = [each.key for each in all_dialects() if each.key]
    hosts = [host for each in all_dialects() for host in each.hosts]
    assert len(set(keys)) == len(keys)
    assert len(set(hosts)) == len(hosts)


@pytest.mark.parametrize(
    ("provider", "status", "body", "means", "kind"),
    [
        ("zhipu", 429, b'{"error": {"code": "1113", "message": "x"}}', HALT, Kind.BILLING),
        ("zai", 429, b'{"error": {"code": "1302", "message": "x"}}', FEWER, Kind.OVERLOADED),
        ("minimax", 200, b'{"base_resp": {"status_code": 1039, "status_msg": "x"}}', SLOWER, None),
        ("fireworks", 412, b'{"error": {"message": "x"}}', HALT, Kind.BILLING),
        ("together", 403, b'{"error": {"message": "x"}}', REFUSED, Kind.TOO_LONG),
        ("siliconflow", 503, b'{"code": 50508, "message": "x"}', FEWER, Kind.OVERLOADED),
        ("cerebras", 400, b"", REFUSED, Kind.TOO_LONG),
        ("cerebras", 400, b'{"error": {"message": "x"}}', REFUSED, Kind.INVALID_REQUEST),
    ],
)
def test_the_numbers_of_a_provider_are_read_where_words_say_nothing(provider, status, body, means, kind):
    numbers = error_numbers(provider, "")
    verdict = judge(Reply(status, body, {}, 1.0), ENDPOINTS["chat"], ReplyPolicy(), wall=0.0, numbers=numbers)
    assert (type(verdict), getattr(verdict, "scope", None)) == means
    assert kind is None or verdict.cause.kind is kind

"""Secrets are struck out of all that a server says, and headers become text that can be written."""

import pytest
from multidict import CIMultiDict

from arkbatch.core.calls import Break, Broken, Reply
from arkbatch.transport.redaction import Redaction

KEY = "sk-secret-0123"


def struck(body=b"{}", *, secrets=(), key=KEY, **headers):
    return Redaction(secrets).strike_secrets(Reply(200, body, CIMultiDict(headers), 1.0), f"Bearer {key}")


def test_a_key_is_struck_from_body_and_headers():
    reply = struck(b"the key sk-secret-0123 is unknown", x_request_id="id-sk-secret-0123", other="x")
    assert reply.body == b"the key *** is unknown"
    assert dict(reply.headers) == {"x_request_id": "id-***", "other": "x"}


def test_a_key_is_struck_from_what_broke_and_from_what_came_before_it():
    broken = Redaction().strike_secrets(
        Broken(Break.DROPPED, f"of {KEY}", 1.0, f'{{"a":"{KEY}"}}'.encode()), f"Bearer {KEY}"
    )
    assert (broken.detail, broken.body) == ("of ***", b'{"a":"***"}')


@pytest.mark.parametrize("said", ['to"ken/0123+4', r"to\"ken/0123+4", "to%22ken%2F0123%2B4", "to%22ken/0123%2B4"])
def test_other_secrets_are_struck_as_they_are_in_json_and_in_urls(said):
    assert struck(f"x {said} y".encode(), secrets=['to"ken/0123+4']).body == b"x *** y"
    assert struck(secrets=['to"ken/0123+4'], location=said).headers["Location"] == "***"


@pytest.mark.parametrize("key", ["EMPTY", "anything", "simulated", "no-key-needed", "sk-no-key-required", ""])
def test_a_word_that_stands_for_a_key_is_not_struck(key):
    assert struck(b"say " + key.encode(), key=key).body == b"say " + key.encode()


def test_a_reply_without_a_secret_is_the_same_object():
    reply = Reply(200, b"{}", CIMultiDict(a="b"), 1.0)
    assert Redaction().strike_secrets(reply, f"Bearer {KEY}") is reply


def test_the_key_of_each_call_is_struck():
    redaction = Redaction()
    for key in ("sk-one-0123", "sk-two-0123", "sk-one-0123"):
        reply = Reply(401, f"no {key}".encode(), CIMultiDict(), 1.0)
        assert redaction.strike_secrets(reply, f"Bearer {key}").body == b"no ***"


@pytest.mark.parametrize(("raw", "text"), [(b"r\xe9q-1", "réq-1"), ("豆包".encode(), "豆包"), (b"\xff\xfe", "ÿþ")])
def test_bytes_in_a_header_become_text_that_can_be_written(raw, text):
    reply = struck(**{"x-request-id": raw.decode("utf-8", "surrogateescape")})
    assert reply.headers["X-Request-Id"] == text
    reply.headers["x-request-id"].encode()

"""The resolved job: what never leaks, what a run may not mix, and the braces of a template."""

import logging
import pickle

import msgspec
import pytest

from arkbatch.core.job import Job, answer_settings
from arkbatch.core.job_sections import Limits, ReplyPolicy, RetryPolicy
from arkbatch.core.secret import Secret
from arkbatch.core.template_syntax import Template, split_template


def job(**changes):
    said = {
        "input": "rows.jsonl",
        "run_dir": "rows.run",
        "endpoint": "chat",
        "model": "m",
        "base_url": "https://ark.example/api/v3",
        "api_key": Secret("sk-very-secret"),
    }
    return Job(**said | changes)


def test_a_secret_shows_in_no_text_log_or_encoder(caplog):
    whole = job()
    logging.getLogger("test").warning("%s %r %s", whole, whole, f"{whole.api_key}")
    assert "***" in caplog.text
    assert "very" not in caplog.text
    for leak in (msgspec.json.encode, pickle.dumps):
        with pytest.raises(TypeError):
            leak(whole)
    assert whole.api_key.reveal() == "sk-very-secret"


def test_secrets_compare_by_value():
    assert Secret("a") == Secret("a") != Secret("b")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert not Secret("")


def test_what_decides_the_answers_is_plain_json_and_holds_no_key():
    said = answer_settings(job(defaults={"temperature": 0}, template=Template(user="{x}")))
    assert list(said) == sorted(said)
    assert said["template"] == dict.fromkeys(("id", "image", "input", "system")) | {"user": "{x}"}
    assert b"secret" not in msgspec.json.encode(said)


def test_the_order_of_finish_reasons_does_not_change_what_was_asked():
    one = job(replies=ReplyPolicy(retry_on_finish_reason=frozenset(["a", "b", "c", "d"])))
    two = job(replies=ReplyPolicy(retry_on_finish_reason=frozenset(["d", "c", "b", "a"])))
    assert msgspec.json.encode(answer_settings(one)) == msgspec.json.encode(answer_settings(two))


@pytest.mark.parametrize(
    "change", [{"limits": Limits(concurrency=1)}, {"retry": RetryPolicy(max_attempts=9)}, {"row_limit": 3}]
)
def test_pace_and_patience_may_change_between_sessions(change):
    assert answer_settings(job(**change)) == answer_settings(job())


def test_the_address_of_a_simulator_may_change_between_sessions():
    one, two = (job(simulated=True, base_url=f"http://127.0.0.1:{port}") for port in (1, 2))
    assert answer_settings(one) == answer_settings(two) != answer_settings(job())


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("plain", [("plain", None)]),
        ("{评论} of {a.b}", [("", "评论"), (" of ", "a.b")]),
        ('{{"a": {b}}}', [('{"a": ', "b"), ("}", None)]),
        ("{Q: text} {a!r}", [("", "Q: text"), (" ", "a!r")]),
        ("", []),
    ],
)
def test_a_template_is_cut_at_its_columns(text, cut):
    assert split_template(text) == cut


@pytest.mark.parametrize("text", ["{", "}", "{}", "{ }", "{a", "a}", "{a{b}}"])
def test_a_wrong_brace_is_refused_with_the_way_out(text):
    with pytest.raises(ValueError, match=r"written twice: \{\{"):
        Template(user=text)

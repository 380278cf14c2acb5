from datetime import UTC, datetime

import msgspec
import orjson
import pytest
from builders import bad_row, before, failure, reply, row, success

from arkbatch.core.calls import Kind
from arkbatch.core.outcomes import Attempt
from arkbatch.journal.record_format import before_of, decode_entry, decode_retryable, encode, entry_of


def line_of(outcome):
    return encode(
        outcome, run_id="abc", finished_at=datetime.fromtimestamp(1_700_000_000.25, UTC), url="/chat/completions"
    )


def test_a_result_line_reads_as_a_batch_output_line():
    line = orjson.loads(line_of(success(7)))
    assert line["custom_id"] == "id-7"
    assert line["error"] is None
    assert line["response"]["status_code"] == 200
    assert line["response"]["body"]["choices"][0]["message"]["content"] == "hello"
    assert line["response"]["request_id"].startswith("02")
    assert line["finished_at"] == "2023-11-14T22:13:20.250000Z"
    assert (line["row"], line["offset"], line["digest"]) == (7, 600, f"{7:016x}")


def test_the_body_of_an_answer_is_kept_to_the_digit():
    body = b'{"choices":[],"x":1.10,"big":12345678901234567890123,"unknown":{"a":null}}'
    assert body in line_of(success(reply=reply(body)))


def test_a_pretty_printed_answer_takes_one_line():
    line = line_of(success(reply=reply(b'{\n  "choices": []\r\n}')))
    assert line.count(b"\n") == 1
    assert b'"body":{"choices": []}' in line


def test_a_failure_line_holds_a_request_that_can_be_sent_again():
    line = orjson.loads(line_of(failure(3, kind=Kind.TIMEOUT)))
    assert line["error"] == {"code": "", "message": "it failed", "kind": "timeout"}
    assert line["request"] == {"method": "POST", "url": "/chat/completions", "body": row(3).body}
    assert line["response"] is None


def test_a_bad_row_keeps_its_text_and_has_no_request():
    line = orjson.loads(line_of(failure(row=bad_row(4), kind=Kind.BAD_ROW)))
    assert line["request"] is None
    assert line["line"] == "{oops"


@pytest.mark.parametrize("body", [b"<html>502</html>", b"", b"\xff\xfe", b"{" * 70_000])
def test_a_refusal_that_is_no_json_is_kept_as_text(body):
    line = orjson.loads(line_of(failure(reply=reply(body, status=502))))
    assert isinstance(line["response"]["body"], str)


@pytest.mark.parametrize(
    "outcome",
    [
        success(1),
        success(2, discarded={"output": 3}),
        success(3, before=(before(usage={"input": 4}),)),
        failure(4, usage={"input": 9}, before=(before(usage={"input": 4}),)),
        failure(row=bad_row(5), kind=Kind.BAD_ROW),
    ],
)
def test_an_entry_is_the_same_before_and_after_the_file(outcome):
    assert msgspec.to_builtins(decode_entry(line_of(outcome))) == msgspec.to_builtins(entry_of(outcome))


def test_a_retry_carries_what_each_earlier_record_spent():
    first = before(usage={"input": 4}, attempts=2)
    line = line_of(failure(4, usage={"input": 9, "output": 1}, attempts=3, model="m", before=(first,)))
    parts = before_of(decode_retryable(line))
    assert [(part.attempts, part.usage) for part in parts] == [(2, {"input": 4}), (3, {"input": 9, "output": 1})]


def test_a_retry_carries_who_gave_each_answer_only_where_that_differs():
    alike = [Attempt("a", "empty", 0.1, tokens={"input": 4}, model="m", service_tier="default")]
    other = [*alike, Attempt("b", "empty", 0.1, tokens={"input": 5}, model="n", service_tier="")]
    for calls, served in ((alike, ()), (other, (("m", "default"), ("n", "")))):
        usage = {"input": sum(call.tokens["input"] for call in calls)}
        outcome = failure(4, usage=usage, calls=calls, model="m", service_tier="default")
        (part,) = before_of(decode_retryable(line_of(outcome)))
        assert (part.served, part.asked_model) == (served, "doubao")

"""Whatever a reply holds becomes its row's record: nothing is lost, no other row is touched, the session goes on."""

import asyncio
import tempfile
from pathlib import Path

import orjson
import pytest
from builders import failure, row, success
from fakes import FakeTransport, answer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from runs import job_of, numbered, prompts
from sessions import failures, results, scripted

from arkbatch.core.calls import Reply
from arkbatch.core.errors import StorageFull
from arkbatch.core.outcomes import Attempt
from arkbatch.engine.call import usage_in
from arkbatch.engine.recorder import UNRECORDABLE, OutcomeRecorder
from arkbatch.journal.journal import Journal
from arkbatch.journal.run_directory import RunDirectory
from arkbatch.monitor.observer import Observer
from arkbatch.protocol.lenient_json import MAX_DEPTH

HUGE = 10**30


def recorded(folder, *outcomes):
    """The lines of both files after these outcomes ended in one round of the loop, and the recorder."""

    async def main():
        directory = RunDirectory(Path(folder) / "a.run")
        directory.create()
        journal = Journal(directory, "r", lambda: 1e9, lambda name: f"/{name}")
        recorder = OutcomeRecorder(journal, Observer())
        for outcome in outcomes:
            recorder.begin(outcome.row)
            recorder.add(outcome)
        recorder.write()
        journal.close()
        # A journal that is opened again reads each line back.
        again = Journal(directory, "r", lambda: 1e9, lambda name: f"/{name}")
        assert again.ledger.done.count + again.ledger.failed.count == len(outcomes) - recorder.unwritten
        again.close()
        files = (directory.path / name for name in ("results.jsonl", "failures.jsonl"))
        return [[orjson.loads(line) for line in file.read_bytes().splitlines()] for file in files], recorder

    return asyncio.run(main())


def whole(**parts):
    return Reply(200, **({"body": b"{}", "headers": {}, "seconds": 0.1} | parts))


@pytest.mark.parametrize(
    "odd",
    [
        {"reply": whole(headers={"x-request-id": "caf\udce9"})},
        {"model": "\ud800"},
        {"calls": [Attempt("a", "done", 1.0, request_id="\udcff")]},
    ],
    ids=["a byte over 127 in a header", "half a character", "in a call"],
)
def test_what_no_record_can_hold_fails_its_row_and_no_other(tmp_path, odd):
    usage = {"input": 7, "output": 5}
    (done, lost), recorder = recorded(tmp_path, success(1), success(2, usage=usage, **odd), success(3))
    assert [line["row"] for line in done] == [1, 3]
    (line,) = lost
    assert (line["row"], line["error"]["code"], recorder.recorded, recorder.unwritten) == (2, UNRECORDABLE, 3, 0)
    assert line["usage"] == usage


@pytest.mark.parametrize("levels", [MAX_DEPTH, 300, 2_000])
@pytest.mark.parametrize("gap", [b"", b"\r\n  "])
def test_an_answer_beside_deep_nesting_is_kept_as_deep_as_every_reader_reads(tmp_path, levels, gap):
    text = rb'"a \"quoted\" \\ [[["'
    body = b'{"answer": %b, "seed": 0.10,%b "extra": ' % (text, gap) + b"[" * levels + b"]" * levels + b"}"
    (done, lost), _ = recorded(tmp_path, success(1, reply=whole(body=body)))
    kept = done[0]["response"]["body"]
    assert (kept["answer"], lost) == ('a "quoted" \\ [[[', [])
    assert ("nested too deeply" in str(kept["extra"]), done[0]["oddity"]) == (True, "deep_nesting")


def test_a_failure_beside_deep_nesting_keeps_its_reply(tmp_path):
    body = b'{"error": {"message": "not that"}, "extra": ' + b"[" * 300 + b"]" * 300 + b"}"
    (_, (line,)), _ = recorded(tmp_path, replace(failure(1), reply=whole(body=body)))
    assert line["response"]["body"]["error"]["message"] == "not that"


def test_brackets_in_texts_are_no_nesting(tmp_path):
    body = orjson.dumps({"choices": [{"message": {"content": "[{" * 900 + '\\"'}}] * 400})
    ((line,), _), _ = recorded(tmp_path, success(1, reply=whole(body=body)))
    assert (line["response"]["body"], "oddity" in line) == (orjson.loads(body), False)


def test_the_digits_of_a_reply_over_several_lines_are_kept(tmp_path):
    folder = tmp_path / "a.run"
    body = b'{\n "seed": 123456789012345678901234567890,\r\n\t"score": 0.10\n}'
    recorded(tmp_path, success(1, reply=whole(body=body)))
    line = (folder / "results.jsonl").read_bytes()
    assert b'{"seed": 123456789012345678901234567890,"score": 0.10}' in line


def test_an_absurd_count_is_left_out_and_told_and_the_answer_kept(tmp_path):
    (done, _), _ = recorded(tmp_path, success(1, usage={"input": HUGE, "output": 5}), success(2))
    assert [line["usage"] for line in done] == [{"output": 5, "contradictory": 1}, {"input": 10, "output": 5}]


def test_a_failure_keeps_its_own_reason(tmp_path):
    (_, (line,)), _ = recorded(tmp_path, replace(failure(1), model="\ud800"))
    assert (line["error"]["code"], line["model"]) != ("", "\ud800")


def test_a_full_disk_ends_the_writing_at_once():
    class Full:
        def record(self, *outcomes):
            raise StorageFull("no space")

    async def main():
        recorder = OutcomeRecorder(Full(), Observer())
        recorder.add(success(1))
        with pytest.raises(StorageFull):
            await recorder.keep_writing()
        recorder.add(success(2))
        recorder.write()
        return recorder.recorded

    assert asyncio.run(main()) == 0


def test_a_row_that_no_form_can_hold_stays_undone_and_is_counted():
    class Broken:
        def record(self, *outcomes):
            raise ValueError

    async def main():
        recorder = OutcomeRecorder(Broken(), Observer())
        recorder.begin(row(1))
        recorder.add(success(1))
        recorder.write()
        return recorder.recorded, recorder.unwritten, recorder.in_work

    assert asyncio.run(main()) == (0, 1, 1)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**25), 10**25) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def as_json(value):
    """JSON as Python writes it, NaN and numbers of any length included."""
    import json

    return json.dumps(value).encode()


NESTED = b'{"a":\n' + b"[" * 2_000 + b"]" * 2_000 + b"}"


@st.composite
def replies(draw):
    """A chat answer of which any part is any JSON value, with headers of any bytes, or no JSON at all."""
    body = {
        "id": "1",
        "model": draw(st.sampled_from(["doubao-x", 5, None]) | json_values),
        "choices": draw(
            st.just([{"message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}]) | json_values
        ),
        "usage": draw(st.just({"prompt_tokens": 10, "completion_tokens": 5}) | json_values),
        draw(st.sampled_from(["service_tier", "error", "code", "created"])): draw(json_values),
    }
    raw = draw(st.just(as_json(body)) | st.binary(max_size=30) | st.just(NESTED))
    odd = draw(st.dictionaries(st.sampled_from(["x-request-id", "date", "retry-after"]), st.binary(max_size=12)))
    headers = {name: value.decode("utf-8", "surrogateescape") for name, value in odd.items()}
    return Reply(draw(st.sampled_from([200, 200, 200, 400, 404, 429, 500])), raw, headers, 0.1)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(odd=st.lists(replies(), min_size=1, max_size=3))
def test_any_reply_ends_as_a_record_of_its_row_and_the_others_are_answered(odd):
    """Through the whole path: judged, recorded, read back by the next session."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        made = job_of(prompts(Path(folder), *numbered(6)), concurrency=6)

        def script(call, attempt):
            number = int(call.client_id.split("-")[-2])
            return odd[number - 1] if number <= len(odd) and attempt == 1 else answer()

        ours = replace(made, retry=replace(made.retry, max_attempts=2))
        summary = scripted(ours, FakeTransport(script), patch).summary
        done = [line["row"] for line in results(ours)]
        lost = [line["row"] for line in failures(ours)]
        if summary.halt is None:
            assert sorted(done + lost) == [1, 2, 3, 4, 5, 6]
            assert (summary.succeeded, summary.failed, summary.left) == (len(done), len(lost), 0)
            assert {4, 5, 6} <= set(done)
        else:
            assert summary.exit_code


def test_usage_is_found_in_a_body_that_cannot_be_read():
    assert usage_in(b'{"a": [[[, "usage": {"prompt_tokens": 3, "completion_tokens": 4}}') == {"input": 3, "output": 4}
    assert usage_in(b"[[[") == usage_in(b'"usage": {') == {}


def test_a_reply_whose_reading_raises_fails_its_row_alone_and_is_not_paid_for_again(tmp_path, monkeypatch):
    def breaks(call, attempt):
        if b"question 2" in call.body:
            raise TypeError("Recursion limit reached")
        return answer()

    ours = job_of(prompts(tmp_path, *numbered(3)))
    transport = FakeTransport(breaks)
    summary = scripted(ours, transport, monkeypatch).summary
    assert (summary.succeeded, summary.failed, len(transport.calls)) == (2, 1, 3)
    assert [line["error"]["code"] for line in failures(ours)] == ["unreadable"]


def test_a_verdict_that_cannot_be_made_fails_the_row_with_its_bill(tmp_path, monkeypatch):
    def breaks(*_, **__):
        raise RecursionError

    monkeypatch.setattr("arkbatch.engine.call.judge", breaks)
    ours = job_of(prompts(tmp_path, *numbered(2)))
    summary = scripted(ours, FakeTransport(), monkeypatch).summary
    assert (summary.failed, summary.usage) == (2, {"input": 20, "output": 10})
    assert {line["error"]["code"] for line in failures(ours)} == {"unreadable"}


def test_an_observer_that_raises_stops_nothing(tmp_path, monkeypatch):
    class Gone(Observer):
        calls = 0

        def recorded(self, outcome):
            self.calls += 1
            raise BrokenPipeError

    ours, gone = job_of(prompts(tmp_path, *numbered(5))), Gone()
    summary = scripted(ours, FakeTransport(), monkeypatch, observer=gone).summary
    assert (summary.succeeded, gone.calls) == (5, 1)
    assert "Gone shows no more: BrokenPipeError" in (Path(ours.run_dir) / "run.log").read_text()


def test_an_answer_that_is_not_quite_json_is_marked_in_its_record(tmp_path, monkeypatch):
    odd = replace(answer(), body=b"\xef\xbb\xbf" + answer().body)
    job = job_of(prompts(tmp_path, *numbered(2)))
    scripted(job, FakeTransport(lambda call, _: odd if b"question 1" in call.body else answer()), monkeypatch)
    assert {line["row"]: line.get("oddity") for line in results(job)} == {1: "byte_order_mark", 2: None}

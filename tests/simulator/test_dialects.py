"""Answers in the dialects of providers: whatever their form, what arkbatch counts is what the simulator billed."""

from collections import Counter

import orjson
import pytest
from nights import job_for, night, records
from runs import prompts
from simulating import THINKING, ask, chat_body

from arkbatch.simulator.dialects import DIALECTS, ERRORS

LONG_SYSTEM = "Answer in one sentence, and name what is not certain. " * 40
HIDES_REASONING = {"like_gemini", "like_deepseek", "like_kimi", "like_mistral"}
HIDES_CACHED = {"like_gemini", "like_sglang"}
BROKEN_OFF = [name for name, dialect in DIALECTS.items() if dialect.finish]


def row(marker, **more):
    messages = [{"role": "system", "content": LONG_SYSTEM}, {"role": "user", "content": f"Why? {marker}"}]
    return {"model": THINKING, "messages": messages, **more}


STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@pytest.fixture(scope="module", params=[{}, STREAMED], ids=["whole", "streamed"])
def billed_rows(request, tmp_path_factory):
    """The record of each dialect's row, and what the simulator billed for it."""
    folder = tmp_path_factory.mktemp("dialects")
    names = [*DIALECTS, *ERRORS]
    prompts(folder, *(row(f"[[fault:{name}:1]]", **request.param) for name in names))
    summary, _ = night(job_for(folder), bill=str(folder / "bill.jsonl"))
    assert (summary.succeeded, summary.failed) == (len(names), 0)
    bills = {}
    for line in (folder / "bill.jsonl").read_bytes().splitlines():
        bill = orjson.loads(line)
        bills[bill["id"]] = bill
    lines = sorted(records(folder, "results.jsonl"), key=lambda line: line["row"])
    return dict(zip(names, lines, strict=True)), bills


@pytest.mark.parametrize("name", [*DIALECTS, *ERRORS])
def test_what_is_counted_is_what_was_billed(billed_rows, name):
    record, bills = billed_rows[0][name], billed_rows[1]
    billed = Counter()
    for call in record["calls"]:
        bill = bills.get(call["request_id"], {})
        billed.update({meter: bill.get(meter, 0) for meter in ("input", "output", "cached", "reasoning")})
    hidden = {meter for meter, names in (("cached", HIDES_CACHED), ("reasoning", HIDES_REASONING)) if name in names}
    for meter in billed.keys() - hidden:
        assert record["usage"].get(meter, 0) == billed[meter] > 0, meter


@pytest.mark.parametrize("name", [*DIALECTS, *ERRORS])
def test_a_dialect_costs_no_second_call_and_an_error_one(billed_rows, name):
    record = billed_rows[0][name]
    assert len(record["calls"]) == (2 if name in ERRORS or name in BROKEN_OFF else 1)
    assert record["response"]["body"]["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", BROKEN_OFF)
def test_an_answer_that_was_broken_off_stands_on_the_bill_as_discarded(billed_rows, name):
    record, bills = billed_rows[0][name], billed_rows[1]
    bill = bills[record["calls"][0]["request_id"]]
    assert record["discarded"]["output"] == bill["output"]


def test_an_answer_says_the_same_in_another_dialect():
    assert ask(chat_body(), faults={"like_xai": 1}).json["choices"] == ask(chat_body()).json["choices"]


def test_embeddings_know_no_dialects():
    body = {"model": "m", "input": "x"}
    assert ask(body, "/embeddings", faults={"like_xai": 1}).json["data"] == ask(body, "/embeddings").json["data"]

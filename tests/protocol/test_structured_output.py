"""An answer that is not what the schema demands is asked for again, and says why."""

import asyncio

import orjson
import pytest
from builders import reply, row

from arkbatch.core.calls import Again, Done, Kind
from arkbatch.protocol.structured_output import Validation

DONE = Done({"input": 3, "output": 2}, "doubao-x", "default", "stop")


def validate(*messages, endpoint="chat", misfit=lambda value: None if value == {"a": 1} else "not a (at $)"):
    async def look(value):
        return misfit(value)

    body = {"choices": [{"message": message} for message in messages]}
    return asyncio.run(Validation(look, 4)(row(endpoint=endpoint), reply(body), DONE))


def test_a_fit_answer_is_done():
    assert validate({"content": ' {"a": 1}\n'}) is DONE


@pytest.mark.parametrize(
    ("message", "code", "said"),
    [
        ({"content": '{"a": 2}'}, "schema", "does not satisfy the schema: not a (at $)"),
        ({"content": "Sure! Here"}, "not_json", "Sure! Here"),
        ({"content": '{"a": 1'}, "not_json", "no JSON"),
        ({"content": '{"a": NaN}'}, "not_json", "no JSON"),
        ({"content": '```json\n{"a": 1}\n```'}, "not_json", "fence of backticks"),
        ({"content": None, "refusal": "I will not"}, "no_text", "refused: I will not"),
        ({"content": ""}, "no_text", "no text"),
        ({"content": [{"type": "text", "text": "{}"}]}, "no_text", "no text"),
    ],
)
def test_an_unfit_answer_is_asked_for_again_and_was_billed(message, code, said):
    verdict = validate(message)
    assert isinstance(verdict, Again)
    assert (verdict.cause.kind, verdict.cause.code) == (Kind.INVALID_OUTPUT, code)
    assert said in verdict.cause.message
    assert (verdict.usage, verdict.model, verdict.service_tier, verdict.most) == (DONE.usage, "doubao-x", "default", 4)


def test_each_of_several_choices_must_be_fit():
    assert isinstance(validate({"content": '{"a": 1}'}, {"content": "no"}), Again)


def test_a_call_of_tools_and_the_rows_of_another_endpoint_are_not_looked_at():
    assert validate({"content": "let me see", "tool_calls": [{}]}) is DONE
    assert validate({"content": "no"}, endpoint="embeddings") is DONE
    assert isinstance(validate({"content": "no"}, endpoint="batch_chat"), Again)


def test_the_reason_is_one_short_line():
    verdict = validate({"content": "x\ny" * 10_000})
    assert "\n" not in verdict.cause.message
    assert len(verdict.cause.message) < 400
    assert orjson.dumps(verdict.cause.message)

"""The records of shards at their places in the whole input."""

import json

import pytest

from arkbatch.journal.shard_records import ShardPlace, placed_line


def record(custom_id="row-7", said="ok", digest="0123456789abcdef", **more):
    body = {"choices": [{"message": {"content": said}}]} | more
    return {
        "id": "batch_req_ab12_7",
        "custom_id": custom_id,
        "response": {"status_code": 200, "body": body},
        "error": None,
        "row": 7,
        "offset": 140,
        "digest": digest,
        "attempts": 1,
    }


def as_line(parts):
    return json.dumps(parts, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


QUOTED = {"row": 7, "offset": 140, "digest": "0123456789abcdef"}


@pytest.mark.parametrize(
    "parts",
    [
        record(),
        record(custom_id="mine"),
        record(custom_id='with "quotes" and \\'),
        record(custom_id="编号-7", said='{"id":"batch_req_ab12_7","row":7,"offset":140}'),
        record(x=1, **QUOTED),
        record(x=[{"id": "batch_req_ab12_7", "custom_id": "row-7", "error": None, **QUOTED}]),
        dict(reversed(record().items())),
        {name: value for name, value in record().items() if name != "digest"},
    ],
)
def test_only_the_numbers_of_a_record_follow_its_place(parts):
    moved = parts | {"id": "batch_req_ab12_1007", "row": 1_007, "offset": 5_140}
    if parts["custom_id"] == "row-7":
        moved["custom_id"] = "row-1007"
    assert placed_line(as_line(parts), ShardPlace(1_000, 5_000), []) == as_line(moved)

"""A stream whose repetitions are recognised is folded into the same answer as one that is parsed chunk by chunk."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.protocol import stream
from arkbatch.protocol.repeated_chunks import RepeatedChunks
from arkbatch.protocol.sse import Event
from arkbatch.protocol.stream import Ending, Folding, Whole

TEXT = st.sampled_from(["", "a", "\u706b\u5c71", '"', '","x":"', "\\", '\\"', "\n", "\x00", '"content":"b"', "{", "]}"])
DELTAS = st.fixed_dictionaries(
    {},
    optional={
        "role": st.just("assistant"),
        "content": st.one_of(TEXT, st.none(), st.just([]), st.just([{"type": "text", "text": "p"}])),
        "reasoning_content": st.one_of(TEXT, st.none()),
        "tool_calls": st.one_of(st.none(), st.just([{"index": 0, "id": "t", "function": {"arguments": "{"}}])),
        "audio": st.one_of(st.just({}), st.just({"data": "AA"})),
    },
)
CHOICES = st.fixed_dictionaries(
    {"index": st.sampled_from([0, 0, 0, 1]), "delta": DELTAS},
    optional={
        "finish_reason": st.sampled_from([None, None, None, "stop"]),
        "logprobs": st.one_of(st.none(), st.just({"content": [1]})),
        "text": st.just("t"),
    },
)
CHUNKS = st.fixed_dictionaries(
    {"id": st.just('"content":"'), "choices": st.lists(CHOICES, max_size=2)},
    optional={"usage": st.one_of(st.none(), st.just({"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}))},
)


class _Parsing(RepeatedChunks):
    """Recognises nothing."""

    def add_text(self, data: bytes) -> bool:
        return False


def fold(events: list[bytes], *, recognise: bool = True) -> Ending:
    folding = Folding()
    if not recognise:
        folding._repeated = _Parsing()
    for data in events:
        folding.add(Event(data))
    return folding.end()


@given(st.lists(st.tuples(CHUNKS, st.integers(1, 3)), max_size=12))
def test_any_stream_is_folded_into_what_parsing_all_of_it_gives(drawn):
    events = [orjson.dumps(chunk) for chunk, times in drawn for _ in range(times)]
    assert fold(events) == fold(events, recognise=False)


@given(st.lists(TEXT, min_size=3, max_size=9))
def test_any_text_behind_a_repeated_chunk_arrives(texts):
    events = [chunk_of(text) for text in texts]
    assert fold([*events, LAST]) == fold([*events, LAST], recognise=False)


def chunk_of(text: str) -> bytes:
    delta = {"content": text, "role": "assistant"}
    return orjson.dumps({"id": "c", "choices": [{"delta": delta, "index": 0, "finish_reason": None}]})


LAST = b'{"id": "c", "choices": [{"delta": {}, "index": 0, "finish_reason": "stop"}]}'


def test_only_the_first_chunks_of_an_answer_are_parsed_whole(monkeypatch):
    parsed = []
    loads = stream.loads_leniently
    monkeypatch.setattr(stream, "loads_leniently", lambda data: parsed.append(data) or loads(data))
    ending = fold([*(chunk_of(f"{number} ") for number in range(100)), LAST])
    assert isinstance(ending, Whole)
    assert ending.body["choices"][0]["message"]["content"] == "".join(f"{number} " for number in range(100))
    assert len(parsed) == 3  # two that are compared, and the last


@pytest.mark.parametrize("middle", [b"null", b"7", b'"a","content":"b"', b'"\\ud83d"', b'"a" "b"', b""])
def test_a_chunk_whose_text_is_none_is_read_as_any_other(middle):
    before, after = chunk_of("x").split(b'"x"')
    events = [chunk_of("a"), chunk_of("b"), before + middle + after, chunk_of("c"), LAST]
    assert fold(events) == fold(events, recognise=False)


def test_a_stream_without_repetitions_stops_being_compared():
    folding = Folding()
    for number in range(40):
        folding.add(Event(chunk_of("a") if number % 4 else LAST.replace(b'"stop"', b"null")))
    assert folding._repeated._learned == 5

"""The framing of event streams: each row of the table of traps, and the properties that hold for any cut."""

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arkbatch.protocol.sse import Event, Parser

A, B = b'{"a":1}', '{"b":"你好"}'.encode()


def parse(*packets):
    parser = Parser()
    return [event for packet in packets for event in parser.feed(packet)] + parser.close()


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + A + b"\n\ndata: " + B + b"\n\ndata: [DONE]\n\n",
        b": keep-alive\n\ndata: " + A + b"\n\n: keep-alive\n\ndata: " + B + b"\n\n",
        b"\n\n\ndata: " + A + b"\n\n\n\n\ndata: " + B + b"\n\n\n",
        b"data: " + A + b"\r\n\r\ndata: " + B + b"\r\n\r\n",
        b"data: " + A + b"\r\rdata: " + B + b"\r\r",
        b"data:" + A + b"\n\ndata:" + B + b"\n\n",
        b"data: " + A + b"\ndata: " + B + b"\ndata: [DONE]\n",
        b"data: " + A + b"\n\ndata: " + B + b"\n",
        b"data: " + A + b"\n\ndata: " + B,
        b"data: " + A + b"\n\nid: 7\n\ndata: " + B + b"\n\n",
        b"data: " + A + b"\n\ndata:\n\ndata: " + B + b"\n\n",
        b"id: 1\nretry: 500\ndata: " + A + b"\n\nid\ndata: " + B + b"\n\n",
        b"data: " + A + b"\n\ndata: " + B + b"\n\ndata: [DONE] bye\n\ndata: {}\n\n",
        b"data: " + A + b"\n\ndata: " + B + b"\n\ndata: [DONE]",
        b"\xef\xbb\xbfdata: " + A + b"\n\ndata: " + B + b"\n\n",
    ],
    ids=[
        *("plain", "comments", "blank lines", "CRLF", "CR", "no space after the colon"),
        *("single newlines between", "no last blank line", "no last line end", "an empty event with an id"),
        *("an empty data line", "other fields", "text and data after DONE", "DONE without line end", "BOM"),
    ],
)
def test_the_same_two_events_come_out(stream):
    assert parse(stream) == [Event(A), Event(B)]
    assert parse(*(stream[i : i + 1] for i in range(len(stream)))) == [Event(A), Event(B)]


def test_an_event_is_out_as_soon_as_its_blank_line_is_in():
    parser = Parser()
    assert parser.feed(b"data: " + A + b"\r\n\r") == [Event(A)]
    assert parser.feed(b"\ndata: " + B) == []
    assert parser.feed(b"\n\n") == [Event(B)]


def test_an_event_may_have_a_name():
    assert parse(b"event: error\ndata: {}\n\ndata: {}\n\n") == [Event(b"{}", "error"), Event(b"{}")]


def test_one_json_text_over_several_lines_stays_one_event():
    assert parse(b'data: {\ndata:  "a": {}\ndata: }\n\n') == [Event(b'{\n "a": {}\n}')]


def test_nothing_after_done_is_looked_at():
    parser = Parser()
    assert parser.feed(b"data: [DONE]\n\ndata: {}\n\n") == []
    assert parser.done
    assert parser.feed(b"data: {}\n\n") == parser.close() == []


def test_without_done_the_parser_says_so():
    parser = Parser()
    parser.feed(b"data: {}\n\n")
    parser.close()
    assert not parser.done


payloads = st.text(st.characters(exclude_characters="\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029", codec="utf-8"))


@given(st.lists(payloads), st.sampled_from(["\n", "\r\n", "\r"]), st.lists(st.integers(0, 200)))
def test_how_the_stream_is_cut_into_packets_does_not_matter(texts, line_end, cuts):
    data = [f'{{"{text}"}}'.encode() for text in texts]
    stream = b"".join(b"data: " + each + line_end.encode() * 2 for each in data)
    borders = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    packets = [stream[a:b] for a, b in pairwise(borders)]
    assert [event.data for event in parse(*packets)] == data


@given(st.lists(st.binary(max_size=20)))
def test_garbage_never_raises(packets):
    parse(*packets)


def test_separators_that_only_python_knows_are_ordinary_text():
    odd = '{"x":"\u2028\x0b\x0c\x85"}'.encode()
    assert parse(b"data: " + odd + b"\n\n") == [Event(odd)]


def test_a_long_line_costs_time_in_proportion():
    """30 MB in packets of 4 kB: joining at each packet would copy 110 GB."""
    packet = b"x" * 4096
    began = time.process_time()
    parser = Parser()
    parser.feed(b"data: ")
    for _ in range(7500):
        parser.feed(packet)
    assert len(parser.feed(b"\n\n")[0].data) == 7500 * 4096
    assert time.process_time() - began < 2

"""Lines of output files, as tidy and as odd as providers and batch runners write them."""

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from arkbatch.batch_jobs import wire_lines
from arkbatch.batch_jobs.wire_lines import read_line_id, read_output_line
from arkbatch.protocol.lenient_json import loads_leniently

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-2, 700), st.text(max_size=5))
BODIES = st.one_of(SCALARS, st.fixed_dictionaries({}, optional={"error": SCALARS, "id": SCALARS, "x": st.floats(0, 1)}))
RESPONSES = st.fixed_dictionaries({}, optional={"status_code": SCALARS, "request_id": SCALARS, "body": BODIES})
ERRORS = st.one_of(SCALARS, st.fixed_dictionaries({}, optional={"code": SCALARS, "message": SCALARS}))
LINES = st.fixed_dictionaries(
    {},
    optional={
        "custom_id": SCALARS,
        "id": SCALARS,
        "response": st.one_of(SCALARS, RESPONSES),
        "error": ERRORS,
        "more": SCALARS,
    },
)


def by_value(line):
    return line and replace(line, body=loads_leniently(line.body) if line.body else None)


@settings(max_examples=200)
@given(st.one_of(LINES, SCALARS))
def test_the_quick_reader_finds_what_the_patient_one_finds(line):
    text = orjson.dumps(line)
    found = read_output_line(text)
    assert by_value(found) == by_value(wire_lines._read_odd_line(text))
    assert read_line_id(text) == (found and found.custom_id)


def test_a_body_stays_as_it_is_written():
    body = b'{"data": [{"embedding": [0.10, 1e16, 123456789012345678901234567890]}]}'
    line = b'{"custom_id":"1-00000000-1","id":"r","response":{"status_code":200,"body":%b},"error":null}' % body
    assert read_output_line(line).body == body


@pytest.mark.parametrize(
    "line",
    [
        b'\xef\xbb\xbf{"custom_id":"1-00000000-1","response":{"status_code":200,"body":{"x":1}}}',
        b'{"custom_id":"1-00000000-1","response":{"status_code":200,"body":{"x":NaN}}}',
        b'{"custom_id":"1-00000000-1","response":{"status_code":200,"body":%b}}' % (b"[" * 5_000 + b"]" * 5_000),
        b'{"custom_id":"1-00000000-1","response":{"status_code":0,"body":{"x":1}}}',
        b'{"custom_id":"1-00000000-1","response":{"status_code":"200","body":{"x":1}}}',
        rb'{"custom_id":"1-00000000-1","response":{"status_code":200,"body":"{\"x\":1}"}}',
        b'{"custom_id":"1-00000000-1","response":{"choices":[1]}}',
        b'{"custom_id":"1-00000000-1","response":{"body":{"x":1}},"error":null}\r\n',
    ],
    ids=["byte order mark", "NaN", "deep", "no status", "status as text", "body as text", "no wrapping", "CRLF"],
)
def test_an_odd_line_is_read_too(line):
    assert (read_output_line(line).status, read_line_id(line)) == (200, "1-00000000-1")


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"custom_id":"1-00000000-1","response":{"body":{"x"', b"\x00"])
def test_what_is_no_line_is_none(line):
    assert read_output_line(line) is read_line_id(line) is None

import re

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from parsing import ASK, job, read

from arkbatch.core.job_sections import Embeddings
from arkbatch.core.json_numbers import dumps_as_written
from arkbatch.core.row import BadRow, Row
from arkbatch.core.template_syntax import Template
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.rows import record_json
from arkbatch.rows.parse import RowReader, digest_of


@pytest.mark.parametrize(
    "line",
    [
        {"custom_id": "a", "body": {"messages": ASK}},
        {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": {"messages": ASK}},
        {"custom_id": "a", "messages": ASK},
        {"custom_id": "a", "prompt": "hi"},
        {"custom_id": "a", "id": "b", "row": 3, "error": {}, "request": {"method": "POST", "body": {"messages": ASK}}},
    ],
    ids=["ark", "openai", "bare", "prompt", "our own failure line"],
)
def test_every_form_of_line_becomes_the_same_request(line):
    row = read(line)
    assert row.body == {"messages": ASK, "model": "doubao"}
    assert (row.number, row.offset, row.custom_id, row.endpoint) == (7, 100, "a", "chat")


@pytest.mark.parametrize(
    ("line", "endpoint"),
    [
        ({"input": ["a", "b"]}, "embeddings"),
        ({"custom_id": "a", "url": "/v1/embeddings", "body": {"input": "a"}}, "embeddings"),
        ({"body": {"input": "a"}}, "embeddings"),
        ({"prompt": "a"}, "chat"),
    ],
)
def test_the_line_chooses_its_endpoint(line, endpoint):
    assert read(line).endpoint == endpoint


def test_a_prompt_in_an_embeddings_job_is_its_input():
    row = read({"prompt": "a"}, endpoint="embeddings")
    assert row.body == {"input": "a", "model": "doubao"}


def test_a_system_text_stands_before_the_prompt_and_other_columns_are_parameters():
    row = read({"prompt": "hi", "system": "be brief", "temperature": 0.5})
    assert [message["role"] for message in row.body["messages"]] == ["system", "user"]
    assert row.body["temperature"] == 0.5


def test_a_row_without_an_id_is_named_by_its_number():
    assert read({"prompt": "hi"}).custom_id == "row-7"


def test_the_row_wins_over_the_defaults():
    row = read({"prompt": "hi", "temperature": 0.1}, defaults={"temperature": 0.9, "top_p": 0.5})
    assert (row.body["temperature"], row.body["top_p"]) == (0.1, 0.5)


def test_a_default_gives_way_to_a_parameter_that_excludes_it():
    row = read({"prompt": "hi", "max_tokens": 5}, defaults={"max_completion_tokens": 9})
    assert "max_completion_tokens" not in row.body


def test_defaults_of_chat_do_not_reach_embeddings():
    assert "temperature" not in read({"input": "a"}, defaults={"temperature": 0.9}).body


def test_what_we_do_not_know_passes_untouched():
    odd = {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "tos://u"}}], "x": None}]
    }
    odd |= {"tools": [{"type": "function", "function": {"name": "f"}}], "brand_new": {"a": [1.5, None]}}
    assert read({"body": odd}).body == odd | {"model": "doubao"}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{oops", "not JSON: .* column"),
        (b"", "not JSON"),
        (b"[1]", "holds a list, not an object in braces"),
        (b"null", "holds null"),
        (b"\xff\xfe{}", "not valid UTF-8 at byte 1 of the line"),
        (b'{"prompt": "caf\xe9"}', "not valid UTF-8 at byte 16"),
        ({"prompt": 3}, "prompt and system must be text, not a number"),
        ({"prompt": "a", "system": []}, "not a list"),
        ({"question": "a", "n": 1}, r"its columns \(question, n\) need a template: --prompt '{question}'"),
        ({}, "no columns"),
        ({"custom_id": [5], "prompt": "a"}, r"custom_id \[5\] is not a text"),
        ({"custom_id": True, "prompt": "a"}, "custom_id true is not a text"),
        ({"custom_id": "", "prompt": "a"}, 'custom_id "" is not a text'),
        ({"body": "text"}, "body holds text, not an object in braces"),
        ({"body": {"messages": ASK}, "method": "GET"}, 'method "GET" cannot be sent'),
        ({"body": {"messages": ASK}, "url": "/images"}, 'url "/images" is no endpoint .*/embeddings'),
        ({"messages": []}, "messages"),
        ({"prompt": "a", "temperature": 9}, "temperature is 9"),
        ({"prompt": "a", "max_tokens": 1, "max_completion_tokens": 1}, "together"),
    ],
)
def test_a_line_that_cannot_be_sent_says_why(line, reason):
    row = read(line)
    assert isinstance(row, BadRow)
    assert (row.number, row.offset) == (7, 100)
    assert re.search(reason, row.reason), row.reason


def test_a_row_without_a_model_says_where_to_give_one():
    assert "--model" in read({"prompt": "a"}, model="").reason


def test_a_bad_line_keeps_its_beginning_only():
    assert len(read(b"{" + b"x" * 100_000).text) == 2_000


def test_a_bad_row_keeps_its_id_where_it_has_one():
    assert read({"custom_id": "mine", "prompt": 3}).custom_id == "mine"


@pytest.mark.parametrize("depth", [250, 400, 1_000])
def test_a_body_nested_too_deeply_to_be_written_is_a_bad_row(depth):
    """It can be parsed, but not encoded again: found out late it would end the run, each time anew."""
    line = b'{"prompt": "a", "x": ' + b"[" * depth + b"]" * depth + b"}"
    assert "nested" in read(line).reason


def test_many_braces_side_by_side_are_no_depth():
    assert isinstance(read({"prompt": "a", "x": [{}] * 1_000}), Row)


class TestTemplate:
    def read(self, columns, endpoint="chat", **texts):
        return read(columns, template=Template(**texts), endpoint=endpoint)

    def test_columns_fill_it(self):
        row = self.read({"a": "x", "n": 3, "l": [1]}, system="S", user="{a}-{n}-{l}{{}}")
        assert row.body["messages"] == [
            {"role": "system", "content": "S"},
            {"role": "user", "content": "x-3-[1]{}"},
        ]

    @pytest.mark.parametrize(
        ("columns", "lack"),
        [
            ({"b": 1}, "a, which the line lacks (it has b)"),
            ({"a": None}, "a, which is missing"),
            ({"a": " "}, "a, which is empty"),
        ],
    )
    def test_a_missing_column_is_a_bad_row(self, columns, lack):
        row = self.read(columns, user="{a}")
        assert isinstance(row, BadRow)
        assert f"needs the column {lack}" in row.reason

    def test_a_column_named_body_is_a_column_when_it_is_text(self):
        row = self.read({"title": "T", "body": "B"}, user="{title}: {body}")
        assert row.body["messages"][0]["content"] == "T: B"

    def test_columns_named_like_our_short_forms_are_columns(self):
        row = self.read({"prompt": "P", "input": "I"}, user="{input}/{prompt}")
        assert row.body["messages"][0]["content"] == "I/P"

    def test_embeddings_take_the_input_text(self):
        assert self.read({"a": "x"}, endpoint="embeddings", input="<{a}>").body["input"] == "<x>"


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()), st.binary())
def test_no_line_makes_the_reader_raise(value, raw):
    for line in (raw, orjson.dumps(value)):
        row = RowReader(job()).read_row(1, 0, line)
        assert isinstance(row, Row | BadRow)
        assert row.custom_id == RowReader(job()).identity_of(1, line)[1]


def test_the_digest_is_of_the_bytes_without_the_white_space_around():
    assert digest_of(b'{"a": 1}') == digest_of(b'  {"a": 1}\r\n')
    assert digest_of(b'{"a": 1}') != digest_of(b'{"a":1}')
    assert len(digest_of(b"")) == 16


def seen(url, **changes):
    return read(
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]}, **changes
    )


@pytest.mark.parametrize("url", ["a.png", "file:a.png", "/etc/passwd"])
def test_a_file_without_its_directory_makes_a_bad_row_that_says_what_to_do(url):
    row = seen(url)
    assert isinstance(row, BadRow)
    assert (
        row.reason
        == f'image "{url}": a file is read only if you name its directory: give --images DIR, or images in the job file'
    )


def test_a_file_below_the_directory_stays_a_name_in_the_row():
    row = seen("more/a.png", images="/photos")
    assert row.body["messages"][0]["content"][0]["image_url"] == {"url": "more/a.png"}


@pytest.mark.parametrize("url", ["../a.png", "file:///etc/passwd", "C:\\a.png"])
def test_a_path_that_leaves_the_directory_makes_a_bad_row(url):
    assert isinstance(seen(url, images="/photos"), BadRow)


@pytest.mark.parametrize("url", ["https://x/y.png", "data:image/png;base64,iVBORw0KGgo=", "tos://x/y.png"])
def test_an_address_passes_with_and_without_a_directory(url):
    assert seen(url).body == seen(url, images="/photos").body
    assert seen(url).body["messages"][0]["content"][0]["image_url"] == {"url": url}


def test_vectors_in_base64_are_asked_for_unless_the_row_or_the_job_says_otherwise():
    base64 = Embeddings(vectors="base64")
    assert read({"input": "a"}, embeddings=base64).body["encoding_format"] == "base64"
    assert read({"input": [{"type": "text", "text": "a"}]}, embeddings=base64).body["encoding_format"] == "base64"
    assert read({"input": "a", "encoding_format": "float"}, embeddings=base64).body["encoding_format"] == "float"
    assert "encoding_format" not in read({"messages": ASK}, embeddings=base64).body
    assert "encoding_format" not in read({"input": "a"}).body


@pytest.mark.parametrize("name", ["encrypt", "Encrypted", "is_encrypted", "encryption", "x-is-encrypted", "aicc"])
@pytest.mark.parametrize("value", [True, 1, "true", "AICC"])
def test_a_wish_for_encryption_beside_a_body_is_refused_unless_the_job_encrypts(name, value):
    row = {"body": {"messages": ASK}, name: value}
    assert "(--encrypt)" in read(row).reason
    sent = read(row, encrypt=True)
    assert list(sent.body) == ["messages", "model"]


@pytest.mark.parametrize(
    ("name", "value"), [("encrypt", False), ("encrypted", "no"), ("encrypted_user", "a"), ("e", 1)]
)
def test_what_is_no_wish_for_encryption_is_a_column(name, value):
    assert isinstance(read({"body": {"messages": ASK}, name: value}), Row)


def test_the_request_id_beside_a_body_is_the_rows_own():
    assert read({"body": {"messages": ASK}, "request_id": "ticket-7"}).request_id == "ticket-7"
    assert read({"body": {"messages": ASK}}).request_id == ""
    assert read({"messages": ASK, "request_id": "a column"}).request_id == ""


@pytest.mark.parametrize("value", [7, "a\nb", "密", "x" * 201, ["a"]])
def test_a_request_id_that_no_header_can_hold_is_a_bad_row(value):
    assert "request_id" in read({"body": {"messages": ASK}, "request_id": value}).reason


NUMBERS = ["1e5", "0.70", "1.0", "-0", "123456789012345678901234567890", "0.1234567890123456789012345678901234567890"]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "line",
    [
        '{"body":{"messages":[{"role":"user","content":"hi"}],"seed":%s}}',
        '{"prompt":"hi","seed":%s}',
        '{"messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function","function":{"minimum":%s}}]}',
        '{"request":{"method":"POST","body":{"messages":[{"role":"user","content":"hi"}],"logit_bias":{"5":%s}}}}',
        '{"body":{"input":"hi","seed":%s}}',
        '{"body":{"input":[[%s,1],[2]]}}',
        '{"prompt":"hi","temperature":%s}',
    ],
)
def test_a_number_goes_out_with_the_digits_that_it_was_written_with(line, number):
    row = read((line % number).encode())
    if isinstance(row, BadRow):  # a parameter with a range: refused as the same number in other digits would be
        assert isinstance(read((line % orjson.dumps(float(number)).decode()).encode()), BadRow)
        return
    assert re.findall(rf"[:\[]{re.escape(number)}[,}}\]]", dumps_as_written(row.body).decode())
    assert ENDPOINTS[row.endpoint].size(row.body).narrow > 0


@pytest.mark.parametrize("number", [b"1e0", b"0.70", b"1.00"])
def test_a_number_in_other_digits_is_as_good_a_parameter(number):
    assert isinstance(read(b'{"prompt": "hi", "temperature": %b}' % number), Row)


def test_a_number_in_a_template_has_its_digits_and_a_whole_one_no_point():
    job_with = {"template": Template(user="{a} {b} {c}")}
    row = read(b'{"a": 0.10, "b": 123456789012345678901234567890, "c": 2.0}', **job_with)
    assert row.body["messages"][0]["content"] == "0.10 123456789012345678901234567890 2"


def test_a_request_id_of_our_own_failure_line_is_kept():
    line = {"custom_id": "a", "row": 3, "error": {}, "request": {"body": {"messages": ASK}, "request_id": "mine"}}
    assert read(line).request_id == "mine"


def test_a_line_that_was_cut_for_its_length_is_told_as_such(monkeypatch):
    monkeypatch.setattr(record_json, "LONGEST_LINE", 1 << 20)
    reason = record_json.parse_record(b'{"prompt": "' + b"a" * (1 << 20))
    assert reason == "the line is longer than 1 MB, more than a request may have: split the row"

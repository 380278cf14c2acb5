"""Multimodal embeddings and tokenization."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulating import ask, chat_body

from arkbatch.simulator import checks, inputs, tokens
from arkbatch.simulator.checks import MAX_IMAGE_BYTES

MODEL = "doubao-embedding-vision-250615"
TEXT = {"type": "text", "text": "a blue sky"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}
VIDEO = {"type": "video_url", "video_url": {"url": "https://x/y.mp4", "fps": 1}}


def seen(*parts, **more):
    return ask({"model": MODEL, "input": list(parts), **more}, "/embeddings/multimodal").json


def test_all_parts_together_have_one_vector_and_data_is_an_object():
    reply = seen(TEXT, IMAGE, VIDEO)
    assert (reply["object"], reply["data"]["object"]) == ("list", "embedding")
    assert len(reply["data"]["embedding"]) == 2048
    assert sum(number * number for number in reply["data"]["embedding"]) == pytest.approx(1, abs=1e-5)
    details = reply["usage"]["prompt_tokens_details"]
    assert details == {"text_tokens": tokens.text_tokens(TEXT["text"]), "image_tokens": tokens.IMAGE + tokens.VIDEO}
    assert reply["usage"]["prompt_tokens"] == reply["usage"]["total_tokens"] == sum(details.values())


def test_the_vector_follows_from_parts_and_instructions():
    assert seen(TEXT)["data"] == seen(TEXT)["data"]
    assert seen(TEXT)["data"] != seen(TEXT, IMAGE)["data"]
    assert seen(TEXT)["data"] != seen(TEXT, instructions="for search")["data"]


def test_dimensions_and_base64_are_honoured():
    assert len(base64.b64decode(seen(TEXT, dimensions=1024, encoding_format="base64")["data"]["embedding"])) == 4096


def test_words_can_be_weighed():
    found = seen({"type": "text", "text": "to be or not to be"}, sparse_embedding={"type": "enabled"})
    weights = found["data"]["sparse_embedding"]
    assert sorted(weight["value"] for weight in weights) == [0.5, 0.5, 1, 1]
    assert [weight["index"] for weight in weights] == sorted(weight["index"] for weight in weights)


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({}, "MissingParameter.input"),
        ({"input": "a"}, "InvalidParameter"),
        ({"input": []}, "InvalidParameter"),
        ({"input": ["a"]}, "InvalidParameter"),
        ({"input": [{"type": "input_audio"}]}, "InvalidParameter"),
        ({"input": [{"type": "image_url", "image_url": {"url": ""}}]}, "InvalidImageURL.EmptyURL"),
        ({"input": [TEXT], "dimensions": 512}, "InvalidParameter"),
        ({"input": [TEXT], "instructions": 1}, "InvalidParameter"),
        ({"input": [TEXT, IMAGE], "sparse_embedding": {"type": "enabled"}}, "InvalidParameter"),
        ({"input": [TEXT], "sparse_embedding": True}, "InvalidParameter"),
        ({"input": [TEXT, IMAGE, VIDEO], "sparse_embedding": {"type": "disabled"}}, None),
    ],
)
def test_multimodal_inputs_are_checked(body, wanted):
    refusal = inputs.check_multimodal({"model": MODEL, **body})
    assert (refusal and refusal.code) == wanted


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("data:image/png;base64,iVBORw0KGgo=", None),
        ("data:image/PNG;base64,iVBORw0KGgo=", "InvalidImageURL.InvalidFormat"),
        ("data:image/png,iVBORw0KGgo=", "InvalidImageURL.InvalidFormat"),
        ("data:;base64,iVBORw0KGgo=", "InvalidImageURL.InvalidFormat"),
        ("data:image/png;base64," + "A" * (MAX_IMAGE_BYTES * 4 // 3), "InvalidParameter.OversizedImage"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_images_in_the_body_are_checked(url, wanted):
    body = chat_body([{"type": "image_url", "image_url": {"url": url}}])
    refusal = checks.check_chat(body)
    assert (refusal and refusal.code) == wanted


def test_a_text_falls_into_tokens_that_cover_it():
    reply = ask({"model": "m", "text": ["天空为什么这么蓝", "hello"]}, "/tokenization").json
    assert reply["object"] == "list"
    assert "usage" not in reply
    first, second = reply["data"]
    assert (first["object"], first["index"], second["index"]) == ("tokenization", 0, 1)
    assert first["total_tokens"] == len(first["token_ids"]) == len(first["offset_mapping"])
    assert (first["offset_mapping"][0][0], first["offset_mapping"][-1][1]) == (0, 8)


@given(st.text(min_size=1, max_size=60))
def test_no_token_is_empty_and_none_overlap(text):
    [found] = tokens.tokenize_body({"model": "m", "text": text}, "02", 0)["data"]
    spans = found["offset_mapping"]
    assert all(start < end for start, end in spans)
    assert "".join(text[start:end] for start, end in spans) == text
    assert found["total_tokens"] == tokens.text_tokens(text)


@pytest.mark.parametrize("text", [None, "", [], ["a", ""], 5])
def test_texts_to_tokenize_are_checked(text):
    assert ask({"model": "m", "text": text}, "/tokenization").status == 400

import math
from array import array
from base64 import b64decode

import pytest
from simulating import ask

from arkbatch.simulator import vectors


def embed(inputs, **more):
    settings = {name: more.pop(name) for name in ("seed", "shuffle") if name in more}
    body = {"model": "doubao-embedding-large-text-250515", "input": inputs, **more}
    return ask(body, path="/embeddings", **settings).json


def test_an_embeddings_answer_has_the_documented_fields():
    reply = embed(["你好", "hello"])
    assert set(reply) == {"id", "object", "created", "model", "data", "usage"}
    assert reply["object"] == "list"
    assert [(item["object"], item["index"]) for item in reply["data"]] == [("embedding", 0), ("embedding", 1)]
    assert set(reply["usage"]) == {"prompt_tokens", "total_tokens"}
    assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("dimensions", [1, 8, 1024, 4096])
def test_vectors_have_length_one_and_the_dimensions_asked_for(dimensions):
    [item] = embed("hello", dimensions=dimensions)["data"]
    assert len(item["embedding"]) == dimensions
    assert math.fsum(x * x for x in item["embedding"]) == pytest.approx(1, abs=1e-5)


def test_base64_holds_the_same_numbers_as_little_endian_float32():
    plain = embed("hello", dimensions=16)["data"][0]["embedding"]
    packed = b64decode(embed("hello", dimensions=16, encoding_format="base64")["data"][0]["embedding"])
    assert array("f", packed).tolist() == plain


def test_the_packing_is_the_one_that_was_seen():
    assert vectors.encode_base64(array("f", [1.0, -2.5, 0.25])) == "AACAPwAAIMAAAIA+"


def test_a_text_has_one_vector_wherever_it_stands():
    both, alone = embed(["hello", "world"], dimensions=8), embed("world", dimensions=8)
    assert both["data"][1]["embedding"] == alone["data"][0]["embedding"]
    assert both["data"][0]["embedding"] != alone["data"][0]["embedding"]
    assert embed("world", dimensions=8, seed=1)["data"] != alone["data"]


def test_shuffled_data_keeps_its_indexes():
    texts = [f"text {n}" for n in range(20)]
    straight, shuffled = embed(texts, dimensions=4)["data"], embed(texts, dimensions=4, shuffle=True)["data"]
    assert shuffled != straight
    assert sorted(shuffled, key=lambda item: item["index"]) == straight


def test_an_endpoint_id_is_answered_by_an_embedding_model():
    reply = ask({"model": "ep-1", "input": "x"}, path="/embeddings").json
    assert reply["model"] == "doubao-embedding-large-text-250515"

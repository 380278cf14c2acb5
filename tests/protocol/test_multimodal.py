"""Multimodal embeddings: texts, images and videos become one vector, on either lane."""

import orjson
import pytest
from hypothesis import given
from json_values import JSON
from parsing import read
from runs import job_of, prompts
from sessions import results, worked
from virtual import run_virtual

from arkbatch.core.calls import Again, Call, Done, Refused
from arkbatch.core.job_sections import ReplyPolicy, Timeouts
from arkbatch.core.row import BadRow, Size
from arkbatch.core.secret import Secret
from arkbatch.core.template_syntax import Template
from arkbatch.protocol.endpoints import ENDPOINTS, Answer, Problem, by_body, by_url
from arkbatch.protocol.verdict import judge
from arkbatch.simulator.server import Settings, serve
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

NAME = "multimodal_embeddings"
ENDPOINT = ENDPOINTS[NAME]
TEXT = {"type": "text", "text": "蓝天 sky"}
IMAGE = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
VIDEO = {"type": "video_url", "video_url": {"url": "https://x/y.mp4", "fps": 1}}


def asks(*parts, **more):
    return {"model": "m", "input": list(parts), **more}


@pytest.mark.parametrize(
    "body",
    [
        asks(TEXT),
        asks(TEXT, IMAGE, VIDEO, dimensions=1024, instructions="for search", encoding_format="base64"),
        asks(TEXT, sparse_embedding={"type": "enabled"}),
        asks(TEXT, IMAGE, sparse_embedding={"type": "disabled"}),
        asks({"type": "audio_url", "audio_url": {}}, multi_embedding={"type": "enabled"}),
        asks(TEXT, instructions=None, sparse_embedding=None),
    ],
)
def test_what_is_documented_passes_and_so_does_what_came_later(body):
    assert ENDPOINT.problem(body) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "m", "input": "a text"}, ["input", "a list of parts"]),
        ({"model": "m"}, ["input is missing"]),
        (asks(), ["input", "a list of parts"]),
        (asks(TEXT, "a"), ["input[1]", "a part with a type"]),
        (asks({"type": "text", "text": ""}), ["input[0]", "not empty"]),
        (asks({"type": "image_url", "image_url": "https://x"}), ["input[0]", "an object with a url"]),
        (asks({"type": "video_url", "video_url": {"url": ""}}), ["input[0]", "video_url"]),
        (asks(TEXT, dimensions=0), ["dimensions"]),
        (asks(TEXT, instructions=1), ["instructions"]),
        (asks(TEXT, sparse_embedding=True), ["sparse_embedding"]),
        (asks(TEXT, IMAGE, sparse_embedding={"type": "enabled"}), ["sparse_embedding", "texts alone"]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_cannot_be_sent_is_named(body, words):
    reason = ENDPOINT.problem(body)
    assert [word for word in words if word not in reason] == []


def test_its_size_counts_texts_and_other_parts_and_no_output():
    assert ENDPOINT.size(asks(TEXT, IMAGE, VIDEO, instructions="ab")) == Size(6, 2, 2, 0)


def test_the_one_vector_is_an_object_and_images_have_a_meter_of_their_own():
    usage = {"prompt_tokens": 20, "total_tokens": 20, "prompt_tokens_details": {"text_tokens": 7, "image_tokens": 13}}
    reply = {"model": "e", "data": {"object": "embedding", "embedding": [0.5]}, "usage": usage}
    assert ENDPOINT.read(reply, None) == Answer({"input": 20, "output": 0, "image_input": 13}, "e")


@pytest.mark.parametrize("data", [None, {}, [], [{"embedding": [0.5]}], {"embedding": []}, {"embedding": "AAA"}])
def test_a_reply_without_a_vector_is_a_problem(data):
    assert ENDPOINT.read({"data": data, "usage": {"prompt_tokens": 3}}, None).code == "no_data"


@given(JSON)
def test_any_body_has_a_problem_or_a_size_and_any_reply_a_meaning(value):
    body = {"model": "m", "input": value, "sparse_embedding": value}
    assert ENDPOINT.problem(body) or ENDPOINT.size(body)
    assert isinstance(ENDPOINT.read({"data": value}, None), Answer | Problem)


def test_it_is_known_by_its_url_and_by_its_parts():
    assert by_url("https://ark.cn-beijing.volces.com/api/v3/embeddings/multimodal") == NAME
    assert by_url("/api/v3/batch/embeddings/multimodal") == f"batch_{NAME}"
    assert by_body({"input": [TEXT]}) == by_body({"input": [IMAGE]}, "embeddings") == NAME
    assert by_body({"input": ["a"]}) == by_body({"input": "a"}) == "embeddings"
    assert by_body({"messages": []}, NAME) == "chat"


@pytest.mark.parametrize(
    "line", [{"prompt": "a sky"}, {"input": "a sky"}, {"input": [{"type": "text", "text": "a sky"}]}]
)
def test_a_text_alone_is_one_part(line):
    row = read(line, endpoint=NAME)
    assert (row.endpoint, row.body["input"]) == (NAME, [{"type": "text", "text": "a sky"}])


def test_a_template_makes_one_part():
    row = read({"title": "sky"}, endpoint=NAME, template=Template(input="a {title}"))
    assert (row.endpoint, row.body["input"]) == (NAME, [{"type": "text", "text": "a sky"}])


def test_a_list_of_texts_is_refused_since_all_parts_have_one_vector_together():
    row = read({"input": ["a", "b"]}, endpoint=NAME)
    assert isinstance(row, BadRow)
    assert "a part with a type" in row.reason


@pytest.mark.parametrize(
    ("fault", "verdict"), [(None, Done), ("no_choices", Again), ("refuse", Refused), ("overloaded", Again)]
)
@pytest.mark.parametrize("lane", ["", "batch_"])
def test_on_the_simulator_a_reply_means_what_it_should(lane, fault, verdict):
    entry = ENDPOINTS[lane + NAME]
    text = {"type": "text", "text": f"[[fault:{fault}]]"} if fault else TEXT
    body = asks(text, IMAGE, dimensions=1024) | {"model": "ep-bi-1" if lane else "doubao-embedding-vision-250615"}

    async def main():
        async with serve(Settings()) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(), 1) as transport:
            return await transport.send(Call("c", entry.name, entry.path, orjson.dumps(body)))

    judged = judge(run_virtual(main()), entry, ReplyPolicy(), wall=0.0, body=body)
    assert type(judged) is verdict
    if verdict is Done:
        assert judged.usage["image_input"] > 1000
        assert judged.usage["input"] > judged.usage["image_input"]


def test_a_run_has_one_vector_for_each_row_and_prices_images_apart(tmp_path):
    rows = [{"custom_id": "both", "input": [TEXT, IMAGE]}, {"custom_id": "text", "input": [TEXT]}]
    job = job_of(prompts(tmp_path, *rows), model="doubao-embedding-vision-250615")
    summary = worked(job).summary
    assert (summary.succeeded, summary.failed) == (2, 0)
    assert summary.usage["image_input"] == 1312
    text = summary.usage["input"] - 1312
    assert float(summary.to_builtins()["cost"]["amounts"]["CNY"]) == pytest.approx((text * 0.7 + 1312 * 1.8) / 1e6)
    assert {type(line["response"]["body"]["data"]) for line in results(job)} == {dict}


def test_the_most_that_an_input_can_cost_takes_it_for_images(tmp_path):
    job = job_of(prompts(tmp_path, {"input": [IMAGE]}), model="doubao-embedding-vision-250615", max_cost=0.009)
    summary = worked(job).summary
    assert summary.ending == "halted"  # 6,500 tokens of text would be 0.0046 CNY, of images 0.0117
    assert summary.halt.code == "max_cost"

"""Tokenization: texts are counted and never billed, as an endpoint of its own."""

import orjson
import pytest
from click.testing import CliRunner
from parsing import read
from runs import job_of, prompts

from arkbatch.cli import cost, estimate, run
from arkbatch.core.row import BadRow, Size
from arkbatch.core.template_syntax import Template
from arkbatch.core.usage import NO_USAGE
from arkbatch.protocol.endpoints import ENDPOINTS, Answer, Problem, by_body, by_url
from arkbatch.rows.parse import problem_of_defaults

NAME = "tokenization"
ENDPOINT = ENDPOINTS[NAME]


def asks(text, **more):
    return {"model": "m", "text": text, **more}


def counts(*totals):
    return {"object": "list", "model": "m", "data": [{"index": n, "total_tokens": t} for n, t in enumerate(totals)]}


@pytest.mark.parametrize("body", [asks("a"), asks(["a", "蓝天"], user="me"), asks("a", user=None, later=1)])
def test_what_is_documented_passes(body):
    assert ENDPOINT.problem(body) is None


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "m"}, "text is missing"),
        ({"text": "a"}, "model is missing"),
        (asks(""), "none of them empty"),
        (asks([]), "none of them empty"),
        (asks(["a", ""]), "none of them empty"),
        (asks(5), "none of them empty"),
        (asks("a", user=5), "user"),
    ],
)
def test_what_ark_would_refuse_is_not_sent(body, words):
    assert words in ENDPOINT.problem(body)


def test_its_size_is_that_of_all_its_texts_and_it_puts_out_nothing():
    assert ENDPOINT.size(asks(["ab", "蓝天"])) == Size(2, 2, 0, 0)


def test_an_answer_counts_each_text_and_bills_none():
    assert ENDPOINT.read(counts(4), asks("a")) == Answer(NO_USAGE, "m")
    assert ENDPOINT.read(counts(4, 0), asks(["a", "b"])) == Answer(NO_USAGE, "m")


@pytest.mark.parametrize(
    ("parsed", "code"),
    [
        ([], "not_object"),
        ({"error": {"message": "no"}}, "error_in_200"),
        ({"data": []}, "no_data"),
        ({"data": "x"}, "no_data"),
        ({"data": ["x"]}, "no_data"),
        ({"data": [{"index": 1, "total_tokens": 4}]}, "no_data"),
        ({"data": [{"index": 0, "total_tokens": "4"}]}, "no_data"),
        (counts(4, 5), "wrong_data"),
    ],
)
def test_a_reply_that_does_not_count_each_text_is_no_answer(parsed, code):
    found = ENDPOINT.read(parsed, asks("a"))
    assert isinstance(found, Problem)
    assert found.code == code


def test_it_is_known_by_its_url_and_by_its_body():
    assert by_url("https://ark.cn-beijing.volces.com/api/v3/tokenization") == NAME
    assert by_body(asks("a")) == NAME
    assert by_url("/api/v3/batch/tokenization") == "/batch/tokenization"  # a path that has no entry


@pytest.mark.parametrize("line", [{"text": "a"}, {"prompt": "a"}, {"body": {"text": "a"}}])
def test_a_row_is_a_text_or_a_prompt(line):
    row = read(line, endpoint=NAME, model="m")
    assert (row.endpoint, row.body) == (NAME, {"text": "a", "model": "m"})


def test_a_template_fills_the_text():
    row = read({"question": "why"}, endpoint=NAME, model="m", template=Template(input="{question}?"))
    assert row.body["text"] == "why?"


def test_a_column_called_text_is_no_request_of_another_job():
    assert isinstance(read({"text": "a"}, model="m"), BadRow)


def test_there_is_no_batch_lane(tmp_path):
    assert "has no batch lane" in read({"text": "a"}, endpoint=NAME, model="m", lane="batch").reason
    job = job_of(prompts(tmp_path, {"text": "a"}), endpoint=NAME)
    assert problem_of_defaults(job) is None


def invoke(command, *words):
    return CliRunner().invoke(command, [*map(str, words)], standalone_mode=False, catch_exceptions=False)


def test_a_run_counts_texts_costs_nothing_and_has_no_row_without_a_price(tmp_path, monkeypatch):
    monkeypatch.setattr("arkbatch.api.jobs.SIMULATED_LATENCY", 0.0)
    path = prompts(tmp_path, {"text": "天空为什么这么蓝"}, {"text": ["a", "b"]}, {"prompt": "hello"})
    where = [path, "--endpoint", NAME, "--model", "doubao-seed-1-6-251015", "--simulate"]
    done = orjson.loads(invoke(run.command, *where, "--max-cost", "0.001", "--json").stdout.splitlines()[0])
    assert (done["succeeded"], done["usage"]) == (3, {})
    assert done["cost"] == {"amounts": {}, "unpriced": 0, "at_most": 0}
    line = orjson.loads((tmp_path / "in.run" / "results.jsonl").read_bytes().splitlines()[0])
    assert line["response"]["body"]["data"][0]["total_tokens"] > 0
    assert "without a price" not in invoke(cost.command, tmp_path / "in.run").stdout
    assert "nothing seems to be billed" in invoke(estimate.command, *where).stdout

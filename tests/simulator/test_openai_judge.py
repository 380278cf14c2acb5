"""The official `openai` package as the judge: it must find in the simulator what it expects of the service.

Runs only where the package is installed (`arkbatch[judge]`); arkbatch itself never needs it.
"""

import asyncio
import gc

import aiohttp
import orjson
import pytest
from judge import ASKED, MODEL, TOOL, here, home, runtime
from runs import prompts

from arkbatch import run
from arkbatch.batch_jobs.http_service import HttpBatchService
from arkbatch.batch_jobs.provider_forms import form_for
from arkbatch.config.resolve import resolve_job
from arkbatch.transport.batch_http import BatchHttp

openai = pytest.importorskip("openai", reason="the openai package is not installed: pip install -e '.[judge]'")


__all__ = ["here", "home"]  # fixtures

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDKs' own

FLAT_TOOL = {"type": "function", **TOOL["function"]}


@pytest.fixture
def client(here):
    with openai.OpenAI(base_url=here.url, api_key="any", max_retries=0) as client:
        yield client


def create(client, given=ASKED, **more):
    return client.responses.create(model=MODEL, input=given, **more)


def test_a_response_has_every_field_that_the_sdk_declares(client):
    response = create(client, "天空为什么这么蓝？")
    assert (response.status, response.model, response.object) == ("completed", MODEL, "response")
    assert response.output_text
    assert response.usage.output_tokens_details.reasoning_tokens > 0
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_the_same_words_get_the_same_answer_as_in_chat(client):
    chat = client.chat.completions.create(model=MODEL, messages=ASKED)
    assert create(client).usage.input_tokens == chat.usage.prompt_tokens


@pytest.mark.parametrize("more", [{}, {"max_output_tokens": 40}, {"tools": [FLAT_TOOL], "tool_choice": "required"}])
def test_a_stream_ends_with_the_response_without_streaming(client, more):
    events = list(create(client, stream=True, **more))
    whole = create(client, **more)
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].type == f"response.{whole.status}"
    last = events[-1].response
    assert (last.output_text, last.status, last.usage) == (whole.output_text, whole.status, whole.usage)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == whole.output_text


def test_an_answer_that_was_cut_off_says_so(client):
    response = create(client, max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")


def test_tools_go_round_by_value(client):
    asked = [{"role": "user", "content": "天气"}]
    first = create(client, asked, tools=[FLAT_TOOL], tool_choice="required")
    [call] = [item for item in first.output if item.type == "function_call"]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items = [item.model_dump(exclude_none=True) for item in first.output]
    assert create(client, [*asked, *items, output], tools=[FLAT_TOOL]).output_text


def test_what_ark_does_not_know_is_refused(client):
    with pytest.raises(openai.BadRequestError):
        create(client, background=True)


# ---- Ark's own SDK


@pytest.fixture
def ark(here):
    return runtime.Ark(base_url=here.url, api_key="any", max_retries=0)


def test_ark_s_own_sdk_reads_the_same_response(ark, client):
    ours, theirs = create(ark), create(client)
    assert (ours.status, ours.model, ours.object) == ("completed", MODEL, "response")
    assert text_of(ours) == theirs.output_text
    assert ours.usage.output_tokens_details.reasoning_tokens == theirs.usage.output_tokens_details.reasoning_tokens > 0
    assert ours.usage.total_tokens == ours.usage.input_tokens + ours.usage.output_tokens


@pytest.mark.parametrize("more", [{}, {"max_output_tokens": 40}, {"tools": [FLAT_TOOL], "tool_choice": "required"}])
def test_ark_s_own_sdk_reads_the_stream_that_the_other_reads(ark, more):
    events = list(create(ark, stream=True, **more))
    whole = create(ark, **more)
    assert events[-1].type == f"response.{whole.status}"
    last = events[-1].response
    assert (text_of(last), last.status, last.usage) == (text_of(whole), whole.status, whole.usage)
    deltas = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert deltas == text_of(whole)
    assert [event.sequence_number for event in events] == list(range(len(events)))


def text_of(response):
    parts = [part for item in response.output if item.type == "message" for part in item.content]
    return "".join(part.text for part in parts if part.type == "output_text")


def test_ark_s_own_sdk_goes_round_with_tools_by_value(ark):
    asked = [{"role": "user", "content": "天气"}]
    first = create(ark, asked, tools=[FLAT_TOOL], tool_choice="required")
    [call] = [item for item in first.output if item.type == "function_call"]
    output = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    items = [item.model_dump(exclude_none=True) for item in first.output]
    assert text_of(create(ark, [*asked, *items, output], tools=[FLAT_TOOL]))


# ---- what arkbatch sends, beside what the `openai` package sends

RESPONSE = {"input": ASKED, "instructions": "Be brief.", "max_output_tokens": 100, "temperature": 0.5}
OF_OUR_OWN = {"host", "user-agent", "content-length", "connection", "accept", "accept-encoding", "x-client-request-id"}


@pytest.mark.parametrize("more", [{}, {"stream": True}, {"tools": [FLAT_TOOL], "tool_choice": "required"}])
def test_arkbatch_asks_for_a_response_as_the_sdk_does(here, client, tmp_path, more):
    answer = create(client, RESPONSE["input"], **{name: RESPONSE[name] for name in RESPONSE if name != "input"}, **more)
    if more.get("stream"):
        list(answer)
    theirs = here.tap.requests[-1]
    flags = {"model": MODEL, "stream": more.get("stream")}
    row = {name: value for name, value in {**RESPONSE, **more}.items() if name != "stream"}
    environ = {"OPENAI_API_KEY": "any", "OPENAI_BASE_URL": here.url}
    job = resolve_job(str(prompts(tmp_path, row)), flags, environ, tmp_path)
    assert run(job).succeeded == 1
    ours = here.tap.requests[-1]
    assert (ours.method, ours.target) == (theirs.method, theirs.target)
    assert orjson.loads(ours.body) == orjson.loads(theirs.body)
    them, us = ({name.lower(): value for name, value in each.headers} for each in (theirs, ours))
    assert {name: value for name, value in us.items() if name not in OF_OUR_OWN and them.get(name) != value} == {}
    left_out = them.keys() - us.keys() - OF_OUR_OWN
    assert {name for name in left_out if not name.startswith("x-stainless-")} == set(), "those tell which SDK it is"


# ---- files and batches


@pytest.fixture
def lines(tmp_path):
    path = tmp_path / "in.jsonl"
    body = {"model": MODEL, "messages": ASKED}
    requests = [
        {"custom_id": f"r{n}", "method": "POST", "url": "/v1/chat/completions", "body": {**body, "user": f"u{n}"}}
        for n in range(3)
    ]
    path.write_bytes(b"".join(orjson.dumps(request) + b"\n" for request in requests))
    return path


def order(client, lines, **more):
    with lines.open("rb") as file:
        uploaded = client.files.create(file=file, purpose="batch")
    kind = {"endpoint": "/v1/chat/completions", "completion_window": "24h", **more}
    return uploaded, client.batches.create(input_file_id=uploaded.id, **kind)


def test_a_batch_goes_its_way_as_the_sdk_expects(client, lines):
    uploaded, batch = order(client, lines, metadata={"arkbatch_run": "x"})
    assert (uploaded.filename, uploaded.bytes, uploaded.purpose) == ("in.jsonl", lines.stat().st_size, "batch")
    done = client.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed, done.metadata) == ("completed", 3, {"arkbatch_run": "x"})
    answers = [orjson.loads(line) for line in client.files.content(done.output_file_id).text.splitlines()]
    assert {answer["custom_id"] for answer in answers} == {"r0", "r1", "r2"}
    chat = client.chat.completions.create(model=MODEL, messages=ASKED, user="u0")
    first = next(answer for answer in answers if answer["custom_id"] == "r0")
    assert first["response"]["body"]["choices"][0]["message"]["content"] == chat.choices[0].message.content
    assert done.usage.input_tokens == sum(each["response"]["body"]["usage"]["prompt_tokens"] for each in answers)


def test_lists_are_paged_newest_first_and_files_can_be_deleted(client, lines):
    orders = [order(client, lines) for _ in range(3)]
    listed = [batch.id for batch in client.batches.list(limit=1)]
    assert listed[:3] == [batch.id for _, batch in reversed(orders)]
    for uploaded, _ in orders:
        assert client.files.delete(uploaded.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.files.retrieve(orders[0][0].id)


def test_a_batch_that_has_ended_cannot_be_cancelled(client, lines):
    _, batch = order(client, lines)
    client.batches.retrieve(batch.id)
    with pytest.raises(openai.ConflictError):
        client.batches.cancel(batch.id)


def test_a_file_that_is_wrong_fails_with_the_line(client, lines):
    lines.write_bytes(lines.read_bytes() + b"{oops\n")
    _, batch = order(client, lines)
    failed = client.batches.retrieve(batch.id)
    assert (failed.status, failed.errors.data[0].line, failed.output_file_id) == ("failed", 4, None)


def test_arkbatch_uploads_as_the_sdk_does(here, lines):
    """The form has the same fields in the same order, the same file name and the same type."""
    with lines.open("rb") as file, openai.OpenAI(base_url=here.url, api_key="any", max_retries=0) as client:
        client.files.create(file=file, purpose="batch")
    theirs = here.tap.requests[-1].body

    async def upload():
        async with aiohttp.ClientSession(headers={"Authorization": "Bearer any"}) as session:
            http = BatchHttp(session, here.url)
            await HttpBatchService(http, form_for(here.url)).upload_file(lines, "in.jsonl", 0)

    asyncio.run(upload())
    assert parts_of(here.tap.requests[-1].body) == parts_of(theirs)


def parts_of(form):
    """Name, file name and content of each part of a form."""
    boundary = form.split(b"\r\n", 1)[0]
    found = []
    for part in form.split(boundary)[1:-1]:
        head, _, content = part.strip(b"\r\n").partition(b"\r\n\r\n")
        disposition = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-disposition"))
        found.append((disposition.split(b":", 1)[1].strip(), content))
    return found


def test_the_collector_cannot_close_a_stream_while_the_sdk_holds_its_lock():
    assert not gc.isenabled()

"""What we send beside what the official SDK sends for the same call: header by header and field by field.

Both talk to the simulator through a tap on the wire. What may differ stands in tables, each entry with its reason: a
difference that is in none of them fails, and so does an entry that is no difference any more.
"""

import orjson
import pytest
from judge import ASKED, BATCH, ENDPOINT, MODEL, TOOL, USAGE, home, site
from runs import prompts

from arkbatch.api.jobs import run
from arkbatch.config.resolve import resolve_job
from arkbatch.protocol.signing import Request, is_genuine
from arkbatch.simulator.encryption import Vault
from arkbatch.simulator.settings import ACCESS_KEY

__all__ = ["home"]  # a fixture

pytestmark = pytest.mark.filterwarnings("ignore")  # the SDK's own

CONTROL = "/?Action="
# Headers that only the SDK sends.
LEFT_OUT = {
    "connection": "keep-alive is what HTTP/1.1 does without being asked",
    "x-sdk-invocation-id": "tells the control plane which of the SDK's calls this is; nothing in the answer needs it",
    "x-sdk-request": "tells the control plane the number of the try",
    "x-project-name": "how the SDK is told a project; it reaches the data plane by accident, which does not read it",
}
# Headers that both send, with other values.
OTHERWISE = {
    "user-agent": "each says its own name",
    "x-client-request-id": "ours is made of run, session, row and attempt, so that a log line leads to its row",
    "content-length": "of a body without nulls and spaces",
    "x-session-token": "a fresh public key for each call",
    "accept-encoding": "the SDK's control plane client reads no compressed answers, ours does",
    "x-date": "the second in which it was signed",
    "x-content-sha256": "of a body without spaces",
    "authorization": "a signature over the above; that it is a good one is checked",
}
# Of these, two are the same outside the control plane.
SIGNED = {"accept-encoding", "authorization"}
# Fields of the body.
FIELDS = {"null": "the SDK writes each parameter that was not given as null, which the service takes for absent"}

FLAT_TOOL = {"type": "function", **TOOL["function"]}
PARTS = [
    {"type": "text", "text": "这是什么？"},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"}},
    {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
]
SHOWN = [{"role": "system", "content": ""}, {"role": "user", "content": PARTS}]
SEALED = {"extra_headers": {"x-is-encrypted": "true"}}
PROJECT = {"extra_headers": {"X-Project-Name": "default"}}
MORE = {"temperature": 0.5, "max_completion_tokens": 100, "stop": ["。"], "thinking": {"type": "disabled"}, "user": "u"}


def chat(model=MODEL, messages=ASKED, **more):
    return lambda client: client.chat.completions.create(model=model, messages=messages, **more)


def streamed(**more):
    return lambda client: list(chat(stream=True, stream_options=USAGE, **more)(client))


def batch(model=BATCH, **more):
    return lambda client: client.batch.chat.completions.create(model=model, messages=ASKED, **more)


ASKED_ITEMS = [{"role": "user", "content": [{"type": "input_text", "text": "天空为什么这么蓝？"}]}]
RESPONSE = {"input": ASKED_ITEMS, "instructions": "Be brief.", "max_output_tokens": 100, "temperature": 0.5}


def response(**more):
    return lambda client: client.responses.create(model=MODEL, **RESPONSE, **more)


def streamed_response(**more):
    return lambda client: list(response(stream=True, **more)(client))


TEXTS = {"model": "doubao-embedding-large-text-250515", "input": ["a", "b"], "encoding_format": "float"}
SEEN = {"model": "doubao-embedding-vision-250615", "input": PARTS, "encoding_format": "float"}
# The SDK's call, our row, our flags. A client that signs is used where `access` is set.
CALLS = {
    "chat": (chat(), {"messages": ASKED}, {}),
    "chat with parameters": (chat(**MORE), {"messages": ASKED, **MORE}, {}),
    "chat with tools": (
        chat(tools=[TOOL], tool_choice="required"),
        {"messages": ASKED, "tools": [TOOL], "tool_choice": "required"},
        {},
    ),
    "chat about images": (chat(messages=SHOWN), {"messages": SHOWN}, {}),
    "a stream": (streamed(), {"messages": ASKED}, {"stream": True}),
    "a response": (response(), RESPONSE, {}),
    "a response with a text": (
        lambda client: client.responses.create(model=MODEL, input="天空为什么这么蓝？", store=False),
        {"input": "天空为什么这么蓝？", "store": False},
        {"endpoint": "responses"},
    ),
    "a response with tools": (
        response(tools=[FLAT_TOOL], tool_choice="required"),
        {**RESPONSE, "tools": [FLAT_TOOL], "tool_choice": "required"},
        {},
    ),
    "a streamed response": (streamed_response(), RESPONSE, {"stream": True}),
    "embeddings": (lambda client: client.embeddings.create(**TEXTS), TEXTS, {}),
    "multimodal embeddings": (lambda client: client.multimodal_embeddings.create(**SEEN), SEEN, {}),
    "tokenization": (
        lambda client: client.tokenization.create(model=MODEL, text=["a", "b"]),
        {"text": ["a", "b"]},
        {"endpoint": "tokenization"},
    ),
    "batch multimodal embeddings": (
        lambda client: client.batch.multimodal_embeddings.create(**{**SEEN, "model": BATCH}),
        {**SEEN, "model": BATCH},
        {"lane": "batch", "model": BATCH},
    ),
    "batch chat": (batch(), {"messages": ASKED}, {"model": BATCH, "lane": "batch"}),
    "batch embeddings": (
        lambda client: client.batch.embeddings.create(**{**TEXTS, "model": BATCH}),
        {**TEXTS, "model": BATCH},
        {"lane": "batch", "model": BATCH},
    ),
    "sealed chat": (chat(**SEALED), {"messages": ASKED}, {"encrypt": True}),
    "sealed chat about images": (chat(messages=SHOWN, **SEALED), {"messages": SHOWN}, {"encrypt": True}),
    "a sealed stream": (streamed(**SEALED), {"messages": ASKED}, {"encrypt": True, "stream": True}),
    "sealed batch chat": (batch(**SEALED), {"messages": ASKED}, {"encrypt": True, "model": BATCH, "lane": "batch"}),
    "confidential chat": (chat(**SEALED), {"messages": ASKED}, {"encrypt": True, "aicc": True}),
    "access key": (chat(ENDPOINT), {"messages": ASKED}, {"model": ENDPOINT, "access": True}),
    "access key and project": (chat(**PROJECT), {"messages": ASKED}, {"access": True, "project": "default"}),
    "access key, sealed": (
        chat(ENDPOINT, **SEALED),
        {"messages": ASKED},
        {"model": ENDPOINT, "access": True, "encrypt": True},
    ),
}


def both(call, row, flags, folder, monkeypatch):
    """The requests of the SDK and ours, each in the order of their targets, for each is asked for once."""
    flags = {"model": MODEL, **flags}
    access, aicc = flags.pop("access", False), flags.pop("aicc", False)
    environ = (
        dict(zip(("VOLC_ACCESSKEY", "VOLC_SECRETKEY"), ACCESS_KEY, strict=True)) if access else {"ARK_API_KEY": "any"}
    )
    if aicc:
        environ["VOLC_ARK_ENCRYPTION"] = "AICC"
        monkeypatch.setenv("VOLC_ARK_ENCRYPTION", "AICC")
    with site() as here:
        call(here.signing_client() if access else here.client())
        theirs = here.tap.requests[:]
        environ |= {"ARK_BASE_URL": here.url, "ARK_CONTROL_PLANE": here.url.removesuffix("/api/v3")}
        job = resolve_job(str(prompts(folder, row)), flags, environ, folder)
        assert run(job).succeeded == 1
        ours = here.tap.requests[len(theirs) :]
    monkeypatch.undo()
    by_target = lambda request: request.target  # noqa: E731
    return list(zip(sorted(theirs, key=by_target), sorted(ours, key=by_target), strict=True))


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """All calls, made once by each."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        found = {}
        for name, (call, row, flags) in CALLS.items():
            folder = tmp_path_factory.mktemp("call")
            monkeypatch.setenv("HOME", str(folder))
            found[name] = both(call, row, flags, folder, monkeypatch)
        return found


def headers(request):
    """By their names in lower case. No name comes twice."""
    found = {name.lower(): value for name, value in request.headers}
    assert len(found) == len(request.headers)
    return found


def excused(name, target):
    """Whether a header may have another value in a call of this target."""
    return name in OTHERWISE and (name not in SIGNED or target.startswith(CONTROL))


def said(request):
    """The body as the service understands it: in clear, and without nulls."""
    body = {name: value for name, value in orjson.loads(request.body).items() if value is not None}
    if request.header("x-is-encrypted"):
        body, _ = Vault(0, "good").open_body(body, dict(request.headers))
    return body


@pytest.mark.parametrize("name", CALLS)
def test_we_ask_the_same_things(pairs, name):
    for theirs, ours in pairs[name]:
        assert (ours.method, ours.target) == (theirs.method, theirs.target)


@pytest.mark.parametrize("name", CALLS)
def test_header_by_header(pairs, name):
    for theirs, ours in pairs[name]:
        them, us = headers(theirs), headers(ours)
        assert set(us) == set(them) - set(LEFT_OUT)
        assert {key for key in us if us[key] != them[key] and not excused(key, ours.target)} == set()
        assert int(us["content-length"]) == len(ours.body)


@pytest.mark.parametrize("name", CALLS)
def test_field_by_field(pairs, name):
    for theirs, ours in pairs[name]:
        assert said(ours) == said(theirs)
        assert None not in orjson.loads(ours.body).values()


def test_headers_that_mean_something_are_spelt_as_the_sdk_spells_them(pairs):
    spelt = {key for found in pairs.values() for theirs, _ in found for key, _ in theirs.headers}
    assert {key for found in pairs.values() for _, ours in found for key, _ in ours.headers} <= spelt


def test_each_excuse_is_needed(pairs):
    needed, absent, nulls = set(), set(), False
    for found in pairs.values():
        for theirs, ours in found:
            them, us = headers(theirs), headers(ours)
            needed |= {key for key in us if us[key] != them.get(key)}
            absent |= set(them) - set(us)
            nulls = nulls or None in orjson.loads(theirs.body).values()
    # Both may sign within one second.
    assert (needed | {"x-date"}, absent, nulls) == (set(OTHERWISE), set(LEFT_OUT), bool(FIELDS))


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("access key")])
def test_both_signatures_are_good(pairs, name):
    for both in pairs[name]:
        for heard in both:
            if heard.target.startswith(CONTROL):
                query = dict(pair.split("=") for pair in heard.target.partition("?")[2].split("&"))
                assert is_genuine(Request("POST", "/", query, dict(heard.headers), heard.body), ACCESS_KEY[1])

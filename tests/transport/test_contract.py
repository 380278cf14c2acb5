"""One table of what a transport does, for the real one against the simulator and for the scripted fake."""

import asyncio
from contextlib import asynccontextmanager

import orjson
import pytest
from fakes import SCRIPT, FakeTransport
from simulating import THINKING, chat_body
from virtual import run_virtual

from arkbatch.core.calls import Again, Broken, Call, Done, Halt, Refused, Reply, Scope
from arkbatch.core.job_sections import ReplyPolicy, Timeouts
from arkbatch.core.secret import Secret
from arkbatch.protocol.endpoints import ENDPOINTS
from arkbatch.protocol.verdict import judge
from arkbatch.simulator.server import Settings, serve
from arkbatch.transport.auth import ApiKey
from arkbatch.transport.transport import open_transport

BEHAVIOURS = [
    ("", Done, None),
    ("server_error", Again, Scope.ROW),
    ("bad_gateway", Again, Scope.ROW),
    ("rate_rpm", Again, Scope.RATE),
    ("overloaded", Again, Scope.CONCURRENCY),
    ("inflight", Again, Scope.CONCURRENCY),
    ("drop_before", Again, Scope.ROW),
    ("drop_inside", Again, Scope.ROW),
    ("stall", Again, Scope.ROW),
    ("garbled", Again, Scope.ROW),
    ("error_in_200", Again, Scope.ROW),
    ("no_choices", Again, Scope.ROW),
    ("empty", Again, Scope.ROW),
    ("content_filter", Refused, None),
    ("length", Done, None),
    ("refuse", Refused, None),
    ("sensitive", Refused, None),
    ("overdue", Halt, None),
    ("not_open", Halt, None),
    ("free_quota", Halt, None),
    ("set_limit", Halt, None),
]


@asynccontextmanager
async def real():
    async with serve(Settings()) as url, open_transport(url, ApiKey(Secret("k")), Timeouts(read=30), 4) as transport:
        yield transport


@asynccontextmanager
async def fake():
    def script(call, attempt):
        return next(response for name, response in SCRIPT.items() if name and f"fault:{name}]".encode() in call.body)

    yield FakeTransport(lambda call, attempt: script(call, attempt) if b"fault:" in call.body else SCRIPT[""])


def call_for(fault):
    text = f"hello [[fault:{fault}]]" if fault else "hello"
    return Call("c-1", "chat", "/chat/completions", orjson.dumps(chat_body(text, THINKING)))


def responses(transport, *calls):
    async def main():
        async with transport() as opened:
            return [await opened.send(call) for call in calls]

    return run_virtual(main())


@pytest.mark.parametrize("transport", [real, fake])
@pytest.mark.parametrize(("fault", "verdict", "scope"), BEHAVIOURS, ids=[row[0] or "answer" for row in BEHAVIOURS])
def test_a_response_means_the_same(transport, fault, verdict, scope):
    (response,) = responses(transport, call_for(fault))
    judged = judge(response, ENDPOINTS["chat"], ReplyPolicy(), wall=0.0)
    assert type(judged) is verdict, judged
    assert getattr(judged, "scope", None) is scope


@pytest.mark.parametrize(("fault", "verdict", "scope"), BEHAVIOURS, ids=[row[0] or "answer" for row in BEHAVIOURS])
def test_the_fake_says_what_the_simulator_says(fault, verdict, scope):
    (is_real,), (is_fake,) = responses(real, call_for(fault)), responses(fake, call_for(fault))
    assert type(is_real) is type(is_fake)
    if isinstance(is_real, Broken):
        assert is_real.how is is_fake.how
    else:
        assert is_real.status == is_fake.status


@pytest.mark.parametrize("transport", [real, fake])
def test_a_reply_has_its_request_id_under_a_lower_case_name(transport):
    (reply,) = responses(transport, call_for(""))
    assert isinstance(reply, Reply)
    assert reply.headers.get("x-request-id", "").startswith("02")


@pytest.mark.parametrize("transport", [real, fake])
def test_a_broken_exchange_does_not_spoil_the_next(transport):
    last = responses(transport, call_for("drop_before"), call_for("drop_inside"), call_for("stall"), call_for(""))[-1]
    assert isinstance(last, Reply)
    assert last.status == 200


@pytest.mark.parametrize("transport", [real, fake])
def test_a_cancelled_call_raises(transport):
    async def main():
        async with transport() as opened:
            await asyncio.wait_for(opened.send(call_for("stall")), 5)

    with pytest.raises(TimeoutError):
        run_virtual(main())

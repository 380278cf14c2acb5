import asyncio

import pytest
from simulating import PLAIN, ask, chat_body, simulator
from virtual import run_virtual

from arkbatch.core.errors import UsageError
from arkbatch.simulator.server import Settings, make_app

BATCH_ID = "ep-bi-20260101000000-abcde"
PATH = "/batch/chat/completions"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/embeddings", {"input": ["a", "b"]}),
        ("/embeddings/multimodal", {"input": [{"type": "text", "text": "a"}]}),
    ],
)
def test_each_lane_has_its_own_ids_and_gives_the_same_answers(path, body):
    online, batch = {"model": "ep-20260101000000-abcde", **body}, {"model": BATCH_ID, **body}
    here, there = ask(online, path), ask(batch, f"/batch{path}")
    assert (here.status, there.status) == (200, 200)
    assert here.json.keys() == there.json.keys()
    assert here.json["model"] == there.json["model"]
    for wrong in (ask(batch, path), ask(online, f"/batch{path}"), ask({**body, "model": PLAIN}, f"/batch{path}")):
        assert (wrong.status, wrong.code) == (404, "InvalidEndpointOrModel.NotFound")


def test_lanes_can_be_open_to_all_ids():
    assert ask(chat_body(), PATH, lanes=False).status == 200
    assert ask(chat_body(model=BATCH_ID), lanes=False).status == 200


def test_the_batch_lane_does_not_stream():
    assert ask(chat_body(model=BATCH_ID, stream=True), PATH).code == "InvalidParameter.UnsupportedParameter"
    assert ask(chat_body(model=BATCH_ID, stream=False), PATH).status == 200


def test_limits_of_online_calls_do_not_count_for_the_batch_lane():
    async def main():
        async with simulator(rpm=1, tpm=1, max_inflight=1, latency=1) as client:
            calls = [client.post(PATH, chat_body(f"{n}", BATCH_ID)) for n in range(5)]
            return [reply.status for reply in await asyncio.gather(*calls)]

    assert run_virtual(main()) == [200] * 5


def all_at_once(count, patience=10_000_000, **settings):
    """The replies to so many batch calls, in the order of the calls, and when the first was sent."""

    async def main():
        async with simulator(patience=patience, **settings) as client:
            began = asyncio.get_running_loop().time()
            calls = [client.post(PATH, chat_body(f"{n}", BATCH_ID)) for n in range(count)]
            return await asyncio.gather(*calls), began, client.counters

    return run_virtual(main())


def test_calls_are_held_open_for_hours():
    replies, began, counters = all_at_once(50, batch_hold=20_000)
    waits = [reply.at - began for reply in replies]
    assert min(waits) >= 10_000
    assert 15_000 < sum(waits) / 50 < 25_000
    assert counters.most_in_flight == 50


def test_beyond_the_slots_calls_wait_for_their_turn():
    replies, began, _ = all_at_once(10, batch_hold=100, batch_slots=2)
    times = sorted(reply.at - began for reply in replies)
    assert {reply.status for reply in replies} == {200}
    assert times[-1] > 250, "five rounds of at least 50 s"


@pytest.mark.parametrize(("seconds", "said"), [(None, None), (30, "30")])
def test_beyond_the_line_the_service_is_overloaded_and_may_say_how_long(seconds, said):
    replies, _, counters = all_at_once(10, batch_hold=10, batch_slots=2, batch_queue=3, batch_retry_after=seconds)
    refused = [reply for reply in replies if reply.status == 429]
    assert len(refused) == 5
    assert {(reply.code, reply.headers.get("Retry-After")) for reply in refused} == {("ServerOverloaded", said)}
    assert counters.outcomes == {"ok": 5, "ServerOverloaded": 5}


def test_a_client_that_leaves_gives_up_its_place():
    async def main():
        async with simulator(patience=50, batch_hold=10_000, batch_slots=1, batch_queue=0) as client:
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await client.post(PATH, chat_body(model=BATCH_ID))
                await asyncio.sleep(0.1)
            return client.counters.outcomes

    assert run_virtual(main()) == {"client_gone": 3}


def test_a_retry_gets_through_when_the_service_has_time_again():
    async def main():
        async with simulator(
            patience=None, batch_hold=100, batch_slots=1, batch_queue=0, batch_retry_after=60
        ) as client:
            calls = []

            async def persist(n):
                while (reply := await client.post(PATH, chat_body(f"{n}", BATCH_ID))).status == 429:
                    calls.append(n)
                    await asyncio.sleep(int(reply.headers["Retry-After"]))
                return reply.status

            return await asyncio.gather(*map(persist, range(5))), len(calls)

    statuses, refusals = run_virtual(main())
    assert statuses == [200] * 5
    assert refusals > 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"batch_slots": 0}, "batch_slots is 0"),
        ({"batch_queue": -1}, "batch_queue"),
        ({"batch_hold": -1}, "batch_hold"),
    ],
)
def test_a_lane_that_makes_no_sense_is_refused(wrong, said):
    with pytest.raises(UsageError, match=said):
        make_app(Settings(**wrong))

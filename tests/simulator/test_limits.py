import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulating import THINKING, ask, chat_body, simulator
from virtual import run_virtual

from arkbatch.simulator.limits import UsageWindow


def replies(bodies, gap=0.0, path="/chat/completions", **settings):
    async def main():
        async with simulator(**settings) as client:
            heard = []
            for body in bodies:
                heard.append(await client.post(path, body))
                await asyncio.sleep(gap)
            return heard, client.counters

    return run_virtual(main())


def test_requests_beyond_the_allowance_of_a_minute_are_429_without_retry_after():
    heard, counters = replies([chat_body()] * 7, rpm=5)
    assert [reply.status for reply in heard] == [200] * 5 + [429] * 2
    assert heard[5].code == "ModelAccountRpmRateLimitExceeded"
    assert "Retry-After" not in heard[5].headers
    assert counters.most_spent == {"rpm": 5}


def test_the_window_slides():
    heard, _ = replies([chat_body()] * 8, gap=10, rpm=3)
    assert [reply.status for reply in heard] == [200] * 3 + [429] * 3 + [200] * 2


def test_failed_calls_count_as_requests():
    heard, _ = replies([chat_body(temperature=9)] * 2 + [chat_body()], rpm=2)
    assert [reply.status for reply in heard] == [400, 400, 429]


def test_calls_that_a_limit_turned_away_count_only_if_the_settings_say_so():
    bodies = [chat_body()] * 14
    forgiving, _ = replies(bodies, gap=5, rpm=2)
    strict, _ = replies(bodies, gap=5, rpm=2, count_refused=True)
    assert [reply.status for reply in forgiving][-2:] == [200, 200]
    assert [reply.status for reply in strict][-2:] == [429, 429]


def test_versions_of_a_model_share_their_limits_and_other_models_do_not():
    models = ["doubao-seed-1-6-250615", "doubao-seed-1-6-251015", "doubao-seed-1-6-flash-250828"]
    heard, _ = replies([chat_body(model=model) for model in models], rpm=1)
    assert [reply.status for reply in heard] == [200, 429, 200]


def test_tokens_in_and_out_count_against_the_minute():
    one = ask(chat_body(model=THINKING)).json["usage"]
    heard, counters = replies([chat_body(model=THINKING)] * 3, tpm=one["total_tokens"] + one["prompt_tokens"])
    assert [reply.status for reply in heard] == [200, 200, 429]
    assert heard[2].code == "ModelAccountTpmRateLimitExceeded"
    assert counters.most_spent["tpm"] == 2 * one["total_tokens"]


def test_a_call_larger_than_the_allowance_is_admitted_into_an_empty_window():
    heard, _ = replies([chat_body("long " * 500), chat_body()], tpm=100)
    assert [reply.status for reply in heard] == [200, 429]


def test_beyond_the_rate_of_a_second_the_429_says_when_to_come_back():
    heard, _ = replies([chat_body()] * 3, rps=2)
    assert [reply.status for reply in heard] == [200, 200, 429]
    assert heard[2].headers["Retry-After"] == "1"


def test_retry_after_of_a_minute_is_the_time_until_the_window_has_room():
    heard, _ = replies([chat_body()] * 3, gap=7, rpm=2, retry_after=True)
    assert heard[2].headers["Retry-After"] == "46"


def test_calls_in_flight_are_limited_per_model():
    async def main():
        async with simulator(latency=5, max_inflight=3) as client:
            first = await asyncio.gather(*(client.chat(chat_body(str(n))) for n in range(5)))
            then = await client.chat(chat_body())
            return [*first, then]

    heard = run_virtual(main())
    assert sorted(reply.status for reply in heard) == [200] * 4 + [429] * 2
    assert {reply.code for reply in heard if reply.status == 429} == {"InflightBatchsizeExceeded"}
    assert heard[-1].status == 200


@pytest.mark.parametrize(
    ("amount", "now", "wait"), [(1, 5, 0), (2, 5, 55), (8, 5, 55), (9, 5, 59), (99, 5, 59), (8, 60, 0), (99, 70, 0)]
)
def test_the_wait_is_until_enough_has_left_the_window(amount, now, wait):
    window = UsageWindow(limit=10, seconds=60)
    window.spend(7, now=0)
    window.spend(2, now=4)
    assert window.seconds_until_fits(amount, now) == wait


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(1, 50)), max_size=40))
def test_no_window_ever_holds_more_than_its_limit(arrivals):
    window, now, spent = UsageWindow(limit=100, seconds=60), 0.0, []
    for gap, amount in arrivals:
        now += gap
        if window.seconds_until_fits(amount, now) == 0:
            window.spend(amount, now)
            spent.append((now, amount))
    for end, _ in spent:
        assert sum(amount for at, amount in spent if at <= end < at + 60) <= 100

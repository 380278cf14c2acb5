"""The limit of requests a minute, without a limiter around it: any schedule of callers, in virtual time."""

import asyncio
import random

import pytest
from virtual import run_virtual

from arkbatch.limits.request_rate import RequestRate
from arkbatch.limits.token_rate import WINDOW_SECONDS, Window


def sent_by(per_minute, rests, seconds=150.0):
    """When each call went, of a caller that takes whatever it gets, and rests now and then for so long."""

    async def main():
        loop = asyncio.get_running_loop()
        began, times = loop.time(), []
        requests = RequestRate(per_minute, Window(began, WINDOW_SECONDS, 0.25))
        for rest in rests:
            end = loop.time() + seconds / len(rests)
            while loop.time() < end:
                if wait := requests.ready_in(loop.time()):
                    await asyncio.sleep(wait)
                else:
                    requests.take()
                    times.append(loop.time() - began)
            await asyncio.sleep(rest)
        return times

    return run_virtual(main())


@pytest.mark.parametrize("per_minute", [1.0, 90.0, 6_000.0, 9_000.0])
def test_no_minute_has_more_and_nearly_all_of_it_is_used(per_minute):
    chance = random.Random(1)
    times = sent_by(per_minute, [chance.choice([0.0, 0.001, 0.4, 7.0]) for _ in range(20)])
    first = 0
    for place, time in enumerate(times):
        while time - times[first] > WINDOW_SECONDS:
            first += 1
        assert place - first + 1 <= per_minute
    assert len(sent_by(per_minute, [0.0])) >= 0.97 * per_minute * 150 / 60


@pytest.mark.parametrize("per_minute", [90.0, 6_000.0, 9_000.0])
def test_a_burst_is_one_call_and_a_two_hundredth_of_the_minute(per_minute):
    times = sent_by(per_minute, [1.0, 1.0, 1.0], seconds=6.0)
    burst, rate = 1 + per_minute / 200, per_minute / 60
    for start in times[::97]:
        assert sum(start <= time <= start + 0.01 for time in times) <= burst + 0.01 * rate

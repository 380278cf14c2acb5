"""The pace against tiny servers with limits it does not know, in simulated time."""

import heapq
import math
import random
from collections import deque

import pytest

from arkbatch.core.pace import Pace
from arkbatch.core.records import Scope


class Granting:
    """A server that grants `limit` calls in each `window` seconds and says Retry-After in whole seconds."""

    def __init__(self, limit, window=1.0, *, sliding, offset=0.0, says_when=True):
        self.limit, self.window, self.sliding = limit, window, sliding
        self.offset, self.says_when = offset, says_when
        self.granted = deque()
        self.refused = 0

    def ask(self, now):
        """None when granted, else seconds to wait (0 when it does not say)."""
        begin = now - self.window if self.sliding else now - (now + self.offset) % self.window
        while self.granted and self.granted[0] < begin + (1e-9 if self.sliding else 0):
            self.granted.popleft()
        if len(self.granted) < self.limit:
            self.granted.append(now)
            return None
        self.refused += 1
        opens = self.granted[0] + self.window if self.sliding else begin + self.window
        return math.ceil(opens - now) if self.says_when else 0


def drive(pace, server, *, rows, concurrency, latency=(0.05, 0.3), seed=0, start=1000.0):
    """Every row is sent until it is granted; returns the seconds it took."""
    chance = random.Random(seed)
    now, left, in_flight, ends, turn = start, rows, 0, [], 0
    while left or in_flight:
        wait = pace.ready_in(now, in_flight) if left and in_flight < concurrency else math.inf
        if wait == 0:
            pace.sent(now)
            verdict = server.ask(now)
            turn += 1
            heapq.heappush(ends, (now + chance.uniform(*latency), turn, now, verdict))
            left, in_flight = left - 1, in_flight + 1
        elif ends and ends[0][0] <= now + wait:
            now, _, sent_at, verdict = heapq.heappop(ends)
            in_flight -= 1
            if verdict is None:
                pace.answered(now)
            else:
                pace.pushed_back(now, Scope.RATE, verdict or None, sent_at)
                left += 1
        else:
            now += wait
    return now - start


@pytest.mark.parametrize("latency", [(0.05, 0.3), (0.01, 0.02)], ids=["slow", "quick"])
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sliding", [True, False], ids=["sliding", "fixed"])
def test_twenty_a_second_is_found_and_used(sliding, seed, latency):
    """400 rows, 32 at once, no limit given: 95 % of the quota used and fewer than 20 refusals."""
    server = Granting(20, sliding=sliding)
    seconds = drive(Pace(1000.0, concurrency=32), server, rows=400, concurrency=32, seed=seed, latency=latency)
    assert server.refused < 20
    assert 400 / seconds >= 0.95 * 20


def test_a_server_that_never_complains_is_not_slowed():
    """Five thousand calls of 2 ms at 64 in flight take hardly longer than the calls themselves."""
    server = Granting(math.inf, sliding=False)
    seconds = drive(Pace(1000.0, concurrency=64), server, rows=5000, concurrency=64, latency=(0.002, 0.002))
    assert seconds < 1.25 * 5000 / 64 * 0.002

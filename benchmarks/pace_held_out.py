"""Servers that nobody looks at while the pace is changed: it is judged by them afterwards."""

import math
import random
from collections import deque

from pace_kinds import Base, FixedWindow, Gcra, Kind, Limit, Places, Refusal, World, always

from arkbatch.core.calls import Scope


class LateLog(Base):
    """A sliding window of 15 s in which each call counts for some seconds more or less, as clocks differ."""

    def __init__(self, chance: random.Random, calls: int) -> None:
        super().__init__(chance)
        self.calls, self.seen = calls, deque[float]()

    def ask(self, now: float) -> Refusal | None:
        while self.seen and self.seen[0] <= now:
            self.seen.popleft()
        if len(self.seen) >= self.calls:
            return Refusal(Scope.RATE)
        self.seen.append(now + 15 + self.chance.uniform(-2, 2))
        return None


class Backends(Base):
    """Each call goes to one of four machines by chance. Each refuses all for 2 to 10 s, every minute or so."""

    def __init__(self, chance: random.Random, length: float) -> None:
        super().__init__(chance)
        self.bad: list[list[tuple[float, float]]] = []
        for _ in range(4):
            phases, now = list[tuple[float, float]](), 0.0
            while (now := now + chance.expovariate(1 / 60)) < length:
                phases.append((now, now + chance.uniform(2, 10)))
                now = phases[-1][1]
            self.bad.append(phases)
        self.bad_seconds = sum(min(end, length) - begin for phases in self.bad for begin, end in phases)

    def ask(self, now: float) -> Refusal | None:
        phases = self.chance.choice(self.bad)
        return Refusal(Scope.RATE) if any(begin <= now < end for begin, end in phases) else None


class CostlyRefusals(Places):
    """So many calls at once, and a refused call takes a place for a second too."""

    def __init__(self, chance: random.Random, places: int) -> None:
        super().__init__(chance, lambda _: places, Scope.RATE, 2.0)
        self.held = deque[float]()

    def ask(self, now: float) -> Refusal | None:
        while self.held and self.held[0] <= now:
            self.held.popleft()
            self.taken -= 1
        refusal = super().ask(now)
        if refusal is not None and self.taken < self.places(now) * 1.5:
            self.held.append(now + 1.0)
            self.taken += 1
        return refusal


class LongPrompts(Base):
    """A bucket of tokens. One prompt of twenty is forty times as long; the next call has it until it is granted."""

    def __init__(self, chance: random.Random, per_second: float) -> None:
        super().__init__(chance)
        self.bucket = Gcra(chance, always(per_second), 100.0)
        self.cost = 1.0

    def ask(self, now: float) -> Refusal | None:
        bucket = self.bucket
        bucket.tokens = min(bucket.burst, bucket.tokens + (now - bucket.at) * bucket.limit(now))
        bucket.at = now
        if bucket.tokens < self.cost:
            return Refusal(Scope.RATE)
        bucket.tokens -= self.cost
        self.cost = 40.0 if self.chance.random() < 0.05 else 1.0
        return None


class Quota(Gcra):
    """A bucket that takes nothing for twenty minutes, and says each time how long that still lasts."""

    def ask(self, now: float) -> Refusal | None:
        return Refusal(Scope.RATE, 2100 - now) if 900 <= now < 2100 else super().ask(now)


def late_log(chance: random.Random) -> World:
    calls = round(15 * math.exp(chance.uniform(math.log(3), math.log(60))))
    return World(LateLog(chance, calls), 1200 * calls / 15, length=1200.0)


def neighbour(chance: random.Random) -> World:
    """A minute shared with somebody who takes six tenths of it for a minute or two, every few minutes."""
    rate = math.exp(chance.uniform(math.log(8), math.log(60)))
    ends, now = [0.0], 0.0
    while now < 3600:
        now += chance.expovariate(1 / (240 if len(ends) % 2 else 100))
        ends.append(now)
    limit: Limit = lambda now: rate * (1.0 if sum(end <= now for end in ends) % 2 else 0.4)  # noqa: E731
    oracle = sum(limit(second) for second in range(3600))
    return World(FixedWindow(chance, limit, 10.0, after=False), oracle, length=3600.0)


def backends(chance: random.Random) -> World:
    server = Backends(chance, 1200.0)
    share = server.bad_seconds / 4 / 1200
    return World(server, 1200 * 32 * (1 - share) / (0.2 * (1 - share) + 0.0125 * share), share, 1200.0)


def late_refusals(chance: random.Random) -> World:
    """A bucket behind a gateway that holds each refusal back for two seconds."""
    rate = math.exp(chance.uniform(math.log(5), math.log(60)))
    return World(Gcra(chance, always(rate), 10), 1200 * rate, length=1200.0, refusal=(2.0, 2.3))


def costly_refusals(chance: random.Random) -> World:
    places = chance.choice([4, 8, 16, 24])
    return World(CostlyRefusals(chance, places), 1200 * places / 2.0, length=1200.0)


def long_prompts(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(20), math.log(150)))
    return World(LongPrompts(chance, rate), 1200 * rate / 2.95, length=1200.0)


def quota(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(5), math.log(60)))
    return World(Quota(chance, always(rate), 20), 2400 * rate, length=3600.0)


HELD_OUT: dict[str, Kind] = {
    "sliding 15 s, late edges": late_log,
    "a neighbour at times": neighbour,
    "four machines, bad at times": backends,
    "refusals 2 s late": late_refusals,
    "refusals take places": costly_refusals,
    "long prompts": long_prompts,
    "quota for 20 minutes": quota,
}

"""Servers of many kinds for `pace.py`, each with an oracle that knows how many calls it would have taken.

A `Kind` makes one world from a seed: a server, the time its answers and refusals take, the calls at once that the
user allows, and the oracle's calls. Nothing here knows a policy.
"""

import math
import random
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol

from arkbatch.core.calls import Scope

WORKERS = 32  # calls at once, as many as the loops beside us have tasks


class Refusal(NamedTuple):
    """scope: as the words say; after: `Retry-After` in seconds."""

    scope: Scope
    after: float | None = None


class Server(Protocol):
    """`ask`: None for a granted call. `ended`: a granted call is over. `seconds`: how long its answer takes."""

    def ask(self, now: float) -> Refusal | None: ...
    def ended(self) -> None: ...
    def seconds(self, now: float) -> float: ...


class World(NamedTuple):
    """One night: oracle: calls granted to who knows the server; floor: the share that is refused at any pace.

    length: virtual seconds; workers: calls at once; users: runs that share the server
    """

    server: Server
    oracle: float
    floor: float = 0.0
    length: float = 600.0
    workers: int = WORKERS
    refusal: tuple[float, float] = (0.005, 0.02)
    users: int = 1


Kind = Callable[[random.Random], World]


class Base:
    """Takes everything; answers take `mean` seconds, give or take a half."""

    def __init__(self, chance: random.Random, mean: float = 0.2) -> None:
        self.chance, self.mean = chance, mean

    def ask(self, now: float) -> Refusal | None:  # noqa: ARG002
        return None

    def ended(self) -> None:
        pass

    def seconds(self, now: float) -> float:  # noqa: ARG002
        return self.mean * self.chance.uniform(0.5, 1.5)


# ---- refusals that do not depend on the load


class Noise(Base):
    """Refuses a share of the calls by chance, before or without a real limit behind it."""

    def __init__(
        self, chance: random.Random, share: float, refusal: Refusal, behind: Server | None = None, mean: float = 0.2
    ) -> None:
        super().__init__(chance, mean)
        self.share, self.refusal, self.behind = share, refusal, behind

    def ask(self, now: float) -> Refusal | None:
        if self.chance.random() < self.share:
            return self.refusal
        return self.behind.ask(now) if self.behind else None

    def ended(self) -> None:
        if self.behind:
            self.behind.ended()


class Phases(Base):
    """Refuses a share of the calls in each phase: (seconds from the start, share) in order."""

    def __init__(self, chance: random.Random, phases: list[tuple[float, float]], refusal: Refusal, mean: float) -> None:
        super().__init__(chance, mean)
        self.phases, self.refusal, self.at = phases, refusal, 0

    def ask(self, now: float) -> Refusal | None:
        while self.at + 1 < len(self.phases) and self.phases[self.at + 1][0] <= now:
            self.at += 1
        return self.refusal if self.chance.random() < self.phases[self.at][1] else None


# ---- limits of rate: `per_second` is a function of time


Limit = Callable[[float], float]


def always(per_second: float) -> Limit:
    return lambda _now: per_second


class Gcra(Base):
    """A token bucket."""

    def __init__(self, chance: random.Random, limit: Limit, burst: float, *, after: bool = False, mean: float = 0.2):
        super().__init__(chance, mean)
        self.limit, self.burst, self.after = limit, burst, after
        self.tokens, self.at = burst, 0.0

    def ask(self, now: float) -> Refusal | None:
        rate = self.limit(now)
        self.tokens = min(self.burst, self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens >= 1.0 - 1e-9:
            self.tokens -= 1.0
            return None
        return Refusal(Scope.RATE, math.ceil((1.0 - self.tokens) / rate) if self.after else None)


class FixedWindow(Base):
    """So many calls in each window. after: `Retry-After` of the whole window, None: none is sent."""

    def __init__(
        self,
        chance: random.Random,
        limit: Limit,
        window: float,
        *,
        after: bool = True,
        counts_refused: bool = False,
        costs: Callable[[], float] | None = None,
        mean: float = 0.2,
    ) -> None:
        super().__init__(chance, mean)
        self.limit, self.window, self.after, self.costs = limit, window, after, costs
        self.counts_refused = counts_refused
        self.offset = chance.uniform(0, window)
        self.number, self.used = -1, 0.0

    def ask(self, now: float) -> Refusal | None:
        number, cost = int((now + self.offset) / self.window), self.costs() if self.costs else 1.0
        if number != self.number:
            self.number, self.used = number, 0.0
        if self.used + cost <= self.limit(now) * self.window + 1e-9:
            self.used += cost
            return None
        self.used += cost * self.counts_refused
        return Refusal(Scope.RATE, math.ceil(self.window) if self.after else None)


class SlidingLog(Base):
    """So many calls in any window."""

    def __init__(self, chance: random.Random, limit: Limit, window: float, *, counts_refused: bool, mean: float = 0.2):
        super().__init__(chance, mean)
        self.limit, self.window, self.counts_refused = limit, window, counts_refused
        self.seen = deque[float]()

    def ask(self, now: float) -> Refusal | None:
        while self.seen and self.seen[0] <= now - self.window:
            self.seen.popleft()
        takes = len(self.seen) + 1 <= self.limit(now) * self.window
        if takes or self.counts_refused:
            self.seen.append(now)
        return None if takes else Refusal(Scope.RATE)


# ---- limits of calls at once


class Places(Base):
    """So many calls at once."""

    def __init__(self, chance: random.Random, places: Callable[[float], int], scope: Scope, mean: float = 0.3) -> None:
        super().__init__(chance, mean)
        self.places, self.scope, self.taken = places, scope, 0

    def ask(self, now: float) -> Refusal | None:
        if self.taken >= self.places(now):
            return Refusal(self.scope)
        self.taken += 1
        return None

    def ended(self) -> None:
        self.taken -= 1


class Queue(Base):
    """Works off so many calls a second, one after another; the others wait. `longest`: refuses when so many wait."""

    def __init__(self, chance: random.Random, per_second: float, longest: float = math.inf) -> None:
        super().__init__(chance, 0.1)
        self.per_second, self.longest, self.free_at, self.waiting = per_second, longest, 0.0, 0

    def ask(self, now: float) -> Refusal | None:  # noqa: ARG002
        if self.waiting >= self.longest:
            return Refusal(Scope.CONCURRENCY)
        self.waiting += 1
        return None

    def ended(self) -> None:
        self.waiting -= 1

    def seconds(self, now: float) -> float:
        self.free_at = max(self.free_at, now) + 1 / self.per_second
        return self.free_at - now + super().seconds(now)


class PenaltyBox(Gcra):
    """Who passes the limit is refused everything for some seconds."""

    def __init__(self, chance: random.Random, limit: Limit, burst: float, penalty: float) -> None:
        super().__init__(chance, limit, burst)
        self.penalty, self.until = penalty, 0.0

    def ask(self, now: float) -> Refusal | None:
        if now < self.until:
            return Refusal(Scope.RATE)
        if (refusal := super().ask(now)) is not None:
            self.until = now + self.penalty
        return refusal


class Both(Base):
    """Two limits, of which the second is asked when the first takes the call."""

    def __init__(self, chance: random.Random, first: Server, second: Server) -> None:
        super().__init__(chance)
        self.first, self.second = first, second

    def ask(self, now: float) -> Refusal | None:
        return self.first.ask(now) or self.second.ask(now)


class Failing(Base):
    """A share of the calls is reset or answered 5xx, after some time."""

    def __init__(self, chance: random.Random, share: float, mean: float = 0.2) -> None:
        super().__init__(chance, mean)
        self.share = share

    def ask(self, now: float) -> Refusal | None:  # noqa: ARG002
        return Refusal(Scope.ROW) if self.chance.random() < self.share else None


# ---- worlds


def _busy(mean: float, floor: float = 0.0, workers: int = WORKERS, refusal: float = 0.0125) -> float:
    """Calls granted a second where nothing but the workers limits."""
    return workers * (1 - floor) / (mean * (1 - floor) + refusal * floor)


def noise(share: float, after: float | None, *, limit: float | None = None, mean: float = 0.2) -> Kind:
    def kind(chance: random.Random) -> World:
        behind = Gcra(chance, always(limit), 20, after=True) if limit else None
        server = Noise(chance, share, Refusal(Scope.RATE, after), behind, mean)
        return World(server, 300 * min(_busy(mean, share), limit or math.inf), share, 300.0)

    return kind


def overloaded(share: float) -> Kind:
    def kind(chance: random.Random) -> World:
        return World(Noise(chance, share, Refusal(Scope.CONCURRENCY)), 300 * _busy(0.2, share), share, 300.0)

    return kind


def bursts(chance: random.Random, shortest: float = 1.0, longest: float = 30.0, pause: float = 120.0) -> World:
    phases, now, away, length = [(0.0, 0.0)], 0.0, 0.0, 1800.0
    while (now := now + chance.uniform(pause, 2.5 * pause)) < length - 60:
        seconds = chance.uniform(shortest, longest)
        phases += [(now, 1.0), (now + seconds, 0.0)]
        now += seconds
        away += seconds
    scope = chance.choice([Scope.RATE, Scope.CONCURRENCY])
    return World(Phases(chance, phases, Refusal(scope), 0.2), (length - away) * _busy(0.2), length=length)


def once(chance: random.Random) -> World:
    """Everything is taken, but all is refused for 3 s, once, after 3 s."""
    server = Phases(chance, [(0.0, 0.0), (3.0, 1.0), (6.0, 0.0)], Refusal(Scope.RATE), 0.0567)
    return World(server, 27 * _busy(0.0567), length=30.0)


def gcra(burst: float) -> Kind:
    def kind(chance: random.Random) -> World:
        rate = math.exp(chance.uniform(math.log(3), math.log(100)))
        server = Gcra(chance, always(rate), burst, after=chance.random() < 0.3)
        return World(server, min(600 * rate + burst, 600 * _busy(0.2)))

    return kind


def window(seconds: float) -> Kind:
    def kind(chance: random.Random) -> World:
        rate = math.ceil(math.exp(chance.uniform(math.log(5), math.log(80))) * seconds) / seconds
        after = chance.random() < 0.7
        return World(FixedWindow(chance, always(rate), seconds, after=after), 1800 * rate, length=1800.0)

    return kind


def sliding(seconds: float) -> Kind:
    def kind(chance: random.Random) -> World:
        rate = math.ceil(math.exp(chance.uniform(math.log(3), math.log(60))) * seconds) / seconds
        server = SlidingLog(chance, always(rate), seconds, counts_refused=chance.random() < 0.5)
        return World(server, 1800 * rate, length=1800.0)

    return kind


def places(scope: Scope) -> Kind:
    def kind(chance: random.Random) -> World:
        number, mean = chance.choice([2, 4, 8, 16, 24]), math.exp(chance.uniform(math.log(0.2), math.log(5)))
        return World(Places(chance, lambda _: number, scope, mean), 1200 * number / mean, length=1200.0)

    return kind


def tokens(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(3), math.log(60)))
    costs = lambda: min(chance.lognormvariate(-0.32, 0.8), 10)  # noqa: E731 - the mean is one
    server = FixedWindow(chance, always(rate), 60.0, after=chance.random() < 0.5, costs=costs)
    return World(server, 1800 * rate, length=1800.0)


def queue(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(5), math.log(100)))
    return World(Queue(chance, rate), 600 * rate)


def failing(share: float) -> Kind:
    def kind(chance: random.Random) -> World:
        return World(Failing(chance, share), 300 * WORKERS * (1 - share) / 0.2, 0.0, 300.0)

    return kind


def steps(chance: random.Random, most: float) -> Limit:
    """A limit that doubles, or falls to a third, every ten minutes or so."""
    at, rates = [0.0], [most / 2]
    while at[-1] < 7200:
        at.append(at[-1] + chance.uniform(400, 900))
        rates.append(rates[-1] * 2 if rates[-1] * 2 <= most else rates[-1] / 3)

    def limit(now: float) -> float:
        return next(rate for begin, rate in zip(reversed(at), reversed(rates), strict=True) if begin <= now)

    return limit


def _sum(limit: Limit, length: float) -> float:
    return sum(limit(second) for second in range(int(length)))


def changing(make: Callable[[random.Random, Limit], Server]) -> Kind:
    def kind(chance: random.Random) -> World:
        limit = steps(chance, math.exp(chance.uniform(math.log(10), math.log(80))))
        return World(make(chance, limit), _sum(limit, 3600), length=3600.0)

    return kind


def shared(chance: random.Random) -> World:
    rate = math.ceil(math.exp(chance.uniform(math.log(3), math.log(60))) * 60) / 60
    server: Server = chance.choice(
        [Gcra(chance, always(rate), 20), FixedWindow(chance, always(rate), 60.0), FixedWindow(chance, always(rate), 10)]
    )
    return World(server, 1800 * rate, length=1800.0, users=2)


# ---- kinds that were held out until their weaknesses were looked at


def clumps(chance: random.Random) -> World:
    """Half of the calls are refused in phases of half a second to two, every ten seconds or so."""
    phases, now, bad = [(0.0, 0.0)], 0.0, 0.0
    while (now := now + chance.expovariate(0.1)) < 600:
        seconds = chance.uniform(0.5, 2)
        phases += [(now, 0.5), (now + seconds, 0.0)]
        now, bad = now + seconds, bad + seconds
    good = 600 - bad
    oracle = good * _busy(0.2) + bad * _busy(0.2, 0.5)
    return World(Phases(chance, phases, Refusal(Scope.RATE), 0.2), oracle, 0.5 * bad / 600)


def penalty(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(5), math.log(80)))
    return World(PenaltyBox(chance, always(rate), 5, 5.0), 1800 * rate, length=1800.0)


def tide(chance: random.Random) -> World:
    """A limit that other users move up and down all the time."""
    mean, begin = math.exp(chance.uniform(math.log(5), math.log(60))), chance.uniform(0, 1200)
    limit = lambda now: mean * (1 + 0.5 * math.sin((now + begin) / 1200 * 2 * math.pi))  # noqa: E731
    server = Gcra(chance, limit, 10)
    return World(server, _sum(limit, 3600), length=3600.0)


def second_and_minute(chance: random.Random) -> World:
    """A limit by the second, and one by the minute that is a little tighter."""
    rate = math.ceil(math.exp(chance.uniform(math.log(5), math.log(60))))
    second, minute = FixedWindow(chance, always(rate * 1.3 // 1), 1.0), FixedWindow(chance, always(rate), 60.0)
    return World(Both(chance, second, minute), 1800 * rate, length=1800.0)


def full_queue(chance: random.Random) -> World:
    """Works off so many a second, and refuses who finds more than a handful in line."""
    rate = math.exp(chance.uniform(math.log(5), math.log(80)))
    return World(Queue(chance, rate, longest=max(4, rate * 0.3)), 600 * rate)


def slow_news(chance: random.Random) -> World:
    """A bucket whose refusals take as long as answers."""
    rate = math.exp(chance.uniform(math.log(5), math.log(60)))
    return World(Gcra(chance, always(rate), 10), 1200 * rate, length=1200.0, refusal=(0.5, 1.5))


def noisy_log(chance: random.Random) -> World:
    """A sliding 20 seconds behind a proxy that refuses one call in twenty by chance."""
    rate = math.ceil(math.exp(chance.uniform(math.log(5), math.log(60))) * 20) / 20
    behind = SlidingLog(chance, always(rate), 20, counts_refused=False)
    return World(Noise(chance, 0.05, Refusal(Scope.RATE), behind), 1200 * rate, 0.05, 1200.0)


def noisy_places(chance: random.Random) -> World:
    """Eight calls at once, and one call in thirty refused by chance with the same words."""
    behind = Places(chance, lambda _: 8, Scope.RATE, 1.0)
    return World(Noise(chance, 0.033, Refusal(Scope.RATE), behind, 1.0), 1200 * 8 / 1.0, 0.033, 1200.0)


def rush_hours(chance: random.Random) -> World:
    """A bucket that gives half for two minutes of every eight."""
    rate, begin = math.exp(chance.uniform(math.log(8), math.log(60))), chance.uniform(0, 480)
    limit = lambda now: rate / 2 if (now + begin) % 480 < 120 else rate  # noqa: E731
    return World(Gcra(chance, limit, 20), _sum(limit, 3600), length=3600.0)


# ---- kinds that were held out in the second round


def mild_clumps(chance: random.Random) -> World:
    """A fifth of the calls is refused for 3 to 6 s, every 40 seconds or so, with a `Retry-After` of a second."""
    phases, now, bad = [(0.0, 0.0)], 0.0, 0.0
    while (now := now + chance.expovariate(1 / 40)) < 900:
        seconds = chance.uniform(3, 6)
        phases += [(now, 0.2), (now + seconds, 0.0)]
        now, bad = now + seconds, bad + seconds
    oracle = (900 - bad) * _busy(0.2) + bad * _busy(0.2, 0.2)
    return World(Phases(chance, phases, Refusal(Scope.RATE, 1.0), 0.2), oracle, 0.2 * bad / 900, 900.0)


def noise_at_times(chance: random.Random) -> World:
    """15 % of the calls are refused by chance, for two minutes of every six."""
    phases = [(0.0, 0.0)]
    for begin in range(60, 1800, 360):
        phases += [(float(begin), 0.15), (begin + 120.0, 0.0)]
    bad = 600.0
    oracle = (1800 - bad) * _busy(0.2) + bad * _busy(0.2, 0.15)
    return World(Phases(chance, phases, Refusal(Scope.RATE), 0.2), oracle, 0.15 * bad / 1800, 1800.0)


def long_penalty(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(5), math.log(80)))
    return World(PenaltyBox(chance, always(rate), 20, 20.0), 1800 * rate, length=1800.0)


def walk(chance: random.Random) -> World:
    """A limit that moves by up to a tenth every half minute."""
    rates = [math.exp(chance.uniform(math.log(8), math.log(60)))]
    for _ in range(120):
        rates.append(min(max(rates[-1] * chance.uniform(0.9, 1.11), 4.0), 90.0))
    limit = lambda now: rates[int(now / 30)]  # noqa: E731
    return World(Gcra(chance, limit, 10), _sum(limit, 3600), length=3600.0)


def half_minute(chance: random.Random) -> World:
    """A window of 30 s that counts refused calls too."""
    rate = math.ceil(math.exp(chance.uniform(math.log(3), math.log(60))) * 30) / 30
    server = FixedWindow(chance, always(rate), 30.0, after=False, counts_refused=True)
    return World(server, 1800 * rate, length=1800.0)


def moving_places(chance: random.Random) -> World:
    """Twelve calls at once, or five, by turns of five minutes; the words do not say so."""
    places = lambda now: 12 if int(now / 300) % 2 == 0 else 5  # noqa: E731
    return World(Places(chance, places, Scope.RATE, 1.0), 1800 * 8.5 / 1.0, length=1800.0)


# ---- kinds that were held out in the third round


class Shards(Base):
    """Each call goes to one of some machines by chance, and each machine has a bucket of its own."""

    def __init__(self, chance: random.Random, machines: int, rate: float, burst: float) -> None:
        super().__init__(chance)
        self.machines = [Gcra(chance, always(rate / machines), burst) for _ in range(machines)]

    def ask(self, now: float) -> Refusal | None:
        return self.chance.choice(self.machines).ask(now)


class Shedding(Base):
    """Refuses the more of the calls, the more came in the last seconds: none up to its rate, half at twice of it."""

    def __init__(self, chance: random.Random, per_second: float) -> None:
        super().__init__(chance)
        self.per_second, self.load, self.at = per_second, 0.0, 0.0

    def ask(self, now: float) -> Refusal | None:
        self.load *= math.exp((self.at - now) / 2)
        self.load, self.at = self.load + 0.5, now
        share = max(0.0, 1 - self.per_second / self.load)
        return Refusal(Scope.RATE) if self.chance.random() < share else None


def shards(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(10), math.log(80)))
    return World(Shards(chance, 3, rate, 20), 1200 * rate, length=1200.0)


def shedding(chance: random.Random) -> World:
    rate = math.exp(chance.uniform(math.log(10), math.log(80)))
    return World(Shedding(chance, rate), 1200 * rate, length=1200.0)


def failing_bucket(chance: random.Random) -> World:
    """A bucket that also counts the calls which fail by chance, one in ten."""
    rate = math.exp(chance.uniform(math.log(8), math.log(60)))
    server = Both(chance, Gcra(chance, always(rate), 15, after=True), Failing(chance, 0.1))
    return World(server, 1200 * rate * 0.9, length=1200.0)


def hiccups(chance: random.Random) -> World:
    """A bucket, and every minute or so nine of ten calls refused for some seconds, with a `Retry-After` of five."""
    rate = math.exp(chance.uniform(math.log(10), math.log(60)))
    phases, now, bad = [(0.0, 0.0)], 0.0, 0.0
    while (now := now + chance.uniform(40, 90)) < 1800:
        seconds = chance.uniform(1, 6)
        phases += [(now, 0.9), (now + seconds, 0.0)]
        now, bad = now + seconds, bad + seconds
    server = Both(chance, Phases(chance, phases, Refusal(Scope.RATE, 5.0), 0.2), Gcra(chance, always(rate), 20))
    return World(server, (1800 - bad) * rate, length=1800.0)


def failing_places(chance: random.Random) -> World:
    """Six calls at once, some of which last ten times as long as the others."""

    class Long(Places):
        def seconds(self, now: float) -> float:
            return super().seconds(now) * (10 if self.chance.random() < 0.05 else 1)

    return World(Long(chance, lambda _: 6, Scope.RATE, 1.0), 1200 * 6 / 1.45, length=1200.0)


KINDS: dict[str, Kind] = {
    **{f"{p}% refused": noise(p / 100, None) for p in (1, 3, 10, 30)},
    **{f"{p}% refused, 1 s": noise(p / 100, 1.0) for p in (1, 3, 10, 30)},
    **{f"{p}% refused, 2 s": noise(p / 100, 2.0) for p in (3, 10)},
    "10% refused, 2 s, 3 ms": noise(0.1, 2.0, mean=0.03),
    **{f"{p}% refused, 60 s": noise(p / 100, 60.0) for p in (1, 3, 10, 30)},
    "5% refused, a day": noise(0.05, 3600.0),
    **{f"{p}%, limit above": noise(p / 100, None, limit=50.0) for p in (1, 10, 30)},
    "10%, 2 s, limit above": noise(0.1, 2.0, limit=50.0),
    "5% overloaded": overloaded(0.05),
    "bursts": bursts,
    "3 s, once": once,
    "1 of 4 backends": noise(0.25, None),
    **{f"bucket, burst {n}": gcra(n) for n in (1, 20, 100)},
    **{f"window {n} s": window(n) for n in (1, 4, 10, 60)},
    "sliding 10 s": sliding(10),
    "sliding 60 s": sliding(60),
    "places, named": places(Scope.CONCURRENCY),
    "places, unnamed": places(Scope.RATE),
    "tokens a minute": tokens,
    "slow queue": queue,
    **{f"{p}% fail": failing(p / 100) for p in (5, 20, 40)},
    "bucket x2, /3": changing(lambda chance, limit: Gcra(chance, limit, 20)),
    "window x2, /3": changing(lambda chance, limit: FixedWindow(chance, limit, 60, after=False)),
    "two runs": shared,
    "clumps": clumps,
    "penalty of 5 s": penalty,
    "tide": tide,
    "second and minute": second_and_minute,
    "queue of a handful": full_queue,
    "slow refusals": slow_news,
    "sliding 20 s, 5% by chance": noisy_log,
    "8 at once, 3% by chance": noisy_places,
    "rush hours": rush_hours,
    "20% for 5 s, every 40 s": mild_clumps,
    "15% at times": noise_at_times,
    "penalty of 20 s": long_penalty,
    "limit that walks": walk,
    "window 30 s": half_minute,
    "12 at once, or 5": moving_places,
    "three machines": shards,
    "load shedding": shedding,
    "bucket, 10% fail": failing_bucket,
    "hiccups and a bucket": hiccups,
    "6 at once, some long": failing_places,
}

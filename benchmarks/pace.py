"""What an adaptive pace is worth, over simulated nights against servers whose limits nobody tells and that change.

    python benchmarks/pace.py            the whole table, some four minutes
    python benchmarks/pace.py --quick    one short night of each, some seconds
    python benchmarks/pace.py --from 100    nights that nothing was tuned on

Each night is a discrete-event model: rows without end, answers of 2 to 12 seconds, refusals of 0.1 to 0.3. The
server's limit is shared with other users, is cut to a third and given back, and is gone for some minutes; it is
enforced over fixed or sliding minutes with refused calls counted (Ark; it names no time to come back), over ten
seconds with a `Retry-After`, or as calls in flight at once. The oracle knows the limit at each moment and gets all
of it. A night's figures are the share of the oracle's calls that was granted, the share of calls that were refused,
the rows that were given up, and after each change of the limit the seconds until a minute at 90 % of the oracle began.
The last columns are the share of the nights with 95 % of the oracle, of the nights with under 0.5 % refused, and of
the changes after which 90 % was reached within five minutes.
"""

import argparse
import bisect
import heapq
import itertools
import math
import random
import statistics
import sys
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple, Protocol

from arkbatch.core.calls import Scope
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.permit import Permit
from arkbatch.limits.starting_point import Ramp, Start

HOUR = 3600.0
CONCURRENCY = 400
ANSWER = (2.0, 12.0)  # seconds, uniform
MEAN_ANSWER = sum(ANSWER) / 2
REFUSAL = (0.1, 0.3)


# ---- the server


class Night(NamedTuple):
    """The limit over time: `rpm[i]` from `since[i]` on; 0 is an outage. `marks`: the changes worth timing."""

    seconds: float
    since: list[float]
    rpm: list[float]
    marks: list[float]

    def at(self, now: float) -> float:
        return self.rpm[bisect.bisect_right(self.since, now) - 1]

    def granted_by(self, end: float) -> float:
        """What the oracle got until then."""
        total = 0.0
        for begin, until, rpm in zip(self.since, [*self.since[1:], math.inf], self.rpm, strict=True):
            if begin >= end:
                break
            total += rpm / 60 * (min(until, end) - begin)
        return total


def night(seed: int, seconds: float) -> Night:
    """A limit of 120 to 1,200 calls a minute; about every half hour something happens to it."""
    chance = random.Random(f"night {seed}")
    full = math.exp(chance.uniform(math.log(120), math.log(1200)))
    now, share = 0.0, 1.0
    since, rpm, marks = [], [], []
    while now < seconds:
        marks.append(now)
        length = chance.uniform(600, 3000)
        for minute in range(math.ceil(length / 60)):
            since.append(now + minute * 60)
            rpm.append(full * share * chance.uniform(0.97, 1.0))  # other users come and go a little
        now = since[-1] + 60
        match chance.choice(["third", "others", "others", "back", "outage"]):
            case "third":
                share = 1.0 if share < 0.5 else share / 3
            case "others":
                share = chance.uniform(0.4, 1.0)
            case "back":
                share = 1.0
            case "outage":
                since.append(now)
                rpm.append(0.0)
                now += chance.uniform(120, 1200)
    return Night(seconds, since, rpm, marks)


class Refusal(NamedTuple):
    scope: Scope
    after: float | None = None


class Server(Protocol):
    """None for a granted call."""

    def ask(self, now: float) -> Refusal | None: ...
    def ended(self) -> None: ...


class Sliding:
    """So many calls in any 60 seconds, refused ones counted."""

    def __init__(self, night: Night) -> None:
        self.night, self.seen = night, deque[float]()

    def ask(self, now: float) -> Refusal | None:
        limit = self.night.at(now)
        if not limit:
            return Refusal(Scope.CONCURRENCY)
        while self.seen and self.seen[0] <= now - 60:
            self.seen.popleft()
        self.seen.append(now)
        return Refusal(Scope.RATE) if len(self.seen) > limit else None

    def ended(self) -> None:
        pass


class Fixed:
    """So many calls in each window from the full minute, or from every tenth second with a `Retry-After`."""

    def __init__(self, night: Night, *, window: float, says_when: bool) -> None:
        self.night, self.window, self.says_when = night, window, says_when
        self.number, self.count = -1, 0.0

    def ask(self, now: float) -> Refusal | None:
        limit = self.night.at(now) * self.window / 60
        if not limit:
            return Refusal(Scope.CONCURRENCY)
        number = int(now / self.window)
        if number != self.number:
            # what a window cannot grant of a fraction it grants later, so that the limit is met exactly
            left = max(limit - self.count, 0.0) % 1.0 if number == self.number + 1 else 0.0
            self.number, self.count = number, -left
        self.count += 1
        if self.count <= limit:
            return None
        wait = math.ceil((number + 1) * self.window - now) if self.says_when else None
        self.count -= self.says_when  # the one that says when does not count refused calls
        return Refusal(Scope.RATE, wait)

    def ended(self) -> None:
        pass


class Places:
    """So many calls at once, as many as make the limit with answers of mean length."""

    def __init__(self, night: Night) -> None:
        self.night, self.taken = night, 0

    def ask(self, now: float) -> Refusal | None:
        if self.taken + 1 > self.night.at(now) / 60 * MEAN_ANSWER + 1e-6:
            return Refusal(Scope.CONCURRENCY)
        self.taken += 1
        return None

    def ended(self) -> None:
        self.taken -= 1


SERVERS: dict[str, Callable[[Night], Server]] = {
    "sliding minute": Sliding,
    "fixed minute": lambda night: Fixed(night, window=60.0, says_when=False),
    "10 s, Retry-After": lambda night: Fixed(night, window=10.0, says_when=True),
    "calls in flight": Places,
}


# ---- the policies


class Policy(Protocol):
    """`pushed_back` returns the delay after which its row is tried again, None to give the row up."""

    def ready_in(self, now: float, in_flight: int) -> float: ...
    def sent(self, now: float, in_flight: int) -> Permit | None: ...
    def answered(self, now: float, permit: Permit | None) -> None: ...
    def pushed_back(
        self, now: float, refusal: Refusal, permit: Permit | None, sent_at: float, attempt: int
    ) -> float | None: ...


class Adaptive:
    """The adaptive limit: a refused row goes back to the front of the queue, the pace is what waits."""

    def __init__(self, *, ramp: Ramp | None = None, start: Start | None = None) -> None:
        self.limit = AdaptiveLimit(0.0, concurrency=CONCURRENCY, ramp=ramp, start=start)
        self.ready_in = self.limit.ready_in

    def sent(self, now: float, in_flight: int) -> Permit:
        return Permit(now, None, None, self.limit.begin_call(now), in_flight)  # type: ignore[arg-type]

    def answered(self, now: float, permit: Permit | None) -> None:
        assert permit is not None
        self.limit.note_grant(now, permit)

    def pushed_back(
        self, now: float, refusal: Refusal, permit: Permit | None, _sent_at: float, _attempt: int
    ) -> float | None:
        assert permit is not None
        self.limit.note_refusal(now, permit, refusal.scope, refusal.after)
        return 0.0


class Even:
    """Evenly spaced calls at `rate` a second."""

    def __init__(self, rate: float) -> None:
        self.rate, self.due = rate, 0.0

    def ready_in(self, now: float, in_flight: int) -> float:
        return math.inf if in_flight >= CONCURRENCY else max(self.due - now, 0.0)

    def sent(self, now: float, in_flight: int) -> None:  # noqa: ARG002
        self.due = max(self.due, now - 0.02) + 1 / self.rate

    def answered(self, now: float, permit: Permit | None) -> None:
        pass


class FixedRate(Even):
    """A rate given beforehand; a refused row waits by itself, exponentially longer and with jitter."""

    def __init__(self, rate: float, chance: random.Random) -> None:
        super().__init__(rate)
        self.chance = chance

    def pushed_back(
        self, _now: float, refusal: Refusal, _permit: Permit | None, _sent_at: float, attempt: int
    ) -> float | None:
        return max(refusal.after or 0, self.chance.uniform(0.5, 1.0) * min(2.0**attempt, 60.0))


class Aimd(Even):
    """Halves its rate at a refusal of a call sent since the last halving, and adds a hundredth each second."""

    def __init__(self, rate: float) -> None:
        super().__init__(rate / 2)
        self.step, self.last, self.cut = rate / 100, 0.0, -1.0

    def sent(self, now: float, in_flight: int) -> None:
        self.rate += self.step * (now - self.last)
        self.last = now
        super().sent(now, in_flight)

    def pushed_back(
        self, now: float, refusal: Refusal, _permit: Permit | None, sent_at: float, _attempt: int
    ) -> float | None:
        if sent_at > self.cut:
            self.rate, self.cut = max(self.rate / 2, 0.02), now
            self.due = now + max(refusal.after or 0, 1.0)
        return 0.0


class Sdk(Even):
    """Ark's official SDK behind 64 workers: two more tries after 0.5 and 1 s, `Retry-After` not read."""

    def __init__(self, chance: random.Random) -> None:
        super().__init__(math.inf)
        self.chance = chance

    def ready_in(self, _now: float, in_flight: int) -> float:
        return math.inf if in_flight >= 64 else 0.0

    def pushed_back(
        self, _now: float, _refusal: Refusal, _permit: Permit | None, _sent_at: float, attempt: int
    ) -> float | None:
        return None if attempt > 2 else 0.25 * 2**attempt * self.chance.uniform(0.75, 1.0)


def first_limit(night: Night) -> float:
    """What the service publishes and the night may begin with, in calls a second."""
    return max(night.rpm) / 60


POLICIES: dict[str, Callable[[Night, random.Random], Policy]] = {
    "arkbatch": lambda _night, _chance: Adaptive(),
    "arkbatch, Ark's ramp": lambda night, _: Adaptive(ramp=Ramp(), start=Start(rpm=first_limit(night) * 60)),
    "fixed, right at first": lambda night, chance: FixedRate(first_limit(night), chance),
    "fixed, twice too high": lambda night, chance: FixedRate(first_limit(night) * 2, chance),
    "AIMD, no memory": lambda night, _: Aimd(first_limit(night)),
    "official SDK": lambda _, chance: Sdk(chance),
}

OURS = ("arkbatch", "arkbatch, Ark's ramp")


# ---- one night


class Figures(NamedTuple):
    granted: int
    oracle: float
    refused: int
    lost: int
    recoveries: list[float]


def simulate(policy: Policy, server: Server, night: Night, chance: random.Random) -> Figures:
    """Rows without end until the night is over. A row that waits for its retry keeps its place in flight."""
    now, in_flight, turn = 0.0, 0, itertools.count()
    events: list[tuple[float, int, Refusal | None, float, int, Permit | None]] = []
    minutes = [0] * (int(night.seconds / 10) + 1)  # granted calls by ten seconds
    granted = refused = lost = 0
    again: list[tuple[float, int, int]] = []  # rows that wait, by time
    while now < night.seconds:
        waiting = again[0][0] <= now if again else False
        wait = policy.ready_in(now, in_flight - waiting)
        if wait == 0:
            attempt = heapq.heappop(again)[2] if waiting else 1
            permit = policy.sent(now, in_flight - waiting)
            in_flight += not waiting
            refusal = server.ask(now)
            if refusal is None:
                granted += 1
                minutes[int(now / 10)] += 1
                seconds = ANSWER[0] + (ANSWER[1] - ANSWER[0]) * chance.random()
            else:
                refused += 1
                seconds = REFUSAL[0] + (REFUSAL[1] - REFUSAL[0]) * chance.random()
            heapq.heappush(events, (now + seconds, next(turn), refusal, now, attempt, permit))
            continue
        upcoming = min(events[0][0] if events else math.inf, again[0][0] if again and not waiting else math.inf)
        if now + wait < upcoming:
            now += wait
            continue
        now = upcoming
        if not events or events[0][0] > now:
            continue
        _, _, refusal, sent_at, attempt, permit = heapq.heappop(events)
        if refusal is None:
            in_flight -= 1
            server.ended()
            policy.answered(now, permit)
            continue
        delay = policy.pushed_back(now, refusal, permit, sent_at, attempt)
        if delay:
            heapq.heappush(again, (now + delay, next(turn), attempt + 1))
        else:
            in_flight -= 1
            lost += delay is None
    return Figures(granted, night.granted_by(night.seconds), refused, lost, list(recoveries(minutes, night)))


def recoveries(tens: list[int], night: Night) -> Iterator[float]:
    """After each change, the seconds until a minute began in which 90 % of the oracle's calls were granted."""
    for mark, following in zip(night.marks, [*night.marks[1:], night.seconds], strict=True):
        end = next((t for t, rpm in zip(night.since, night.rpm, strict=True) if t > mark and not rpm), following)
        end = min(end, following)
        if end - mark < 480:
            continue
        for begin in range(math.ceil(mark / 10), int(end / 10) - 6):
            due = night.granted_by(begin * 10 + 60) - night.granted_by(begin * 10)
            if sum(tens[begin : begin + 6]) >= 0.9 * due:
                yield begin * 10 - mark
                break
        else:
            yield math.inf


def one(task: tuple[str, str, int, float]) -> tuple[str, str, Figures]:
    policy, server, seed, seconds = task
    dark = night(seed, seconds)
    chance = random.Random(f"{seed} {server}")
    if server == "calls in flight":
        dark = dark._replace(rpm=[math.floor(rpm / 60 * MEAN_ANSWER) / MEAN_ANSWER * 60 for rpm in dark.rpm])
    figures = simulate(POLICIES[policy](dark, chance), SERVERS[server](dark), dark, chance)
    return policy, server, figures


def table(policies: list[str], servers: list[str], nights: dict[str, range], hours: float) -> None:
    tasks = [(p, s, seed, hours * HOUR) for p in policies for s in servers for seed in nights[p]]
    found: dict[tuple[str, str], list[Figures]] = {}
    print(f"Nights of {hours:g} hours. Share of the oracle: mean of the nights, and the worst of them.\n")
    print(
        "policy                server             nights   of the oracle    429   rows lost   90 %: median, p95"
        "   95 %  0.5 %  5 min"
    )
    with ProcessPoolExecutor() as pool:
        for policy, server, figures in pool.map(one, tasks):
            found.setdefault((policy, server), []).append(figures)
            if len(found[policy, server]) == len(nights[policy]):
                print(f"{policy:22}{server:20}{line(found[policy, server])}", flush=True)


def line(nights: list[Figures]) -> str:
    shares = [figures.granted / figures.oracle for figures in nights]
    refused = sum(f.refused for f in nights) / sum(f.refused + f.granted for f in nights)
    times = sorted(t for f in nights for t in f.recoveries)
    median, p95 = (f"{times[int(len(times) * q)]:.0f} s".replace("inf s", "never") for q in (0.5, 0.95))
    share = f"{statistics.mean(shares):6.1%} {min(shares):6.1%}"
    lost = sum(figures.lost for figures in nights)
    kept = (
        statistics.mean(share >= 0.95 for share in shares),
        statistics.mean(f.refused < 0.005 * (f.refused + f.granted) for f in nights),
        statistics.mean(time <= 300 for time in times),
    )
    promises = "".join(f"{each:7.0%}" for each in kept)
    return f"{len(nights):5}   {share:14}{refused:7.2%}{lost:12,}{median:>12}{p95:>7}{promises}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one short night of each")
    parser.add_argument("--nights", type=int, default=6, help="of ours; the others get two at most")
    parser.add_argument("--from", dest="first", type=int, default=0, help="number of the first night")
    parser.add_argument("--hours", type=float, default=8)
    parser.add_argument("--policy", action="append", choices=POLICIES)
    parser.add_argument("--server", action="append", choices=SERVERS)
    given = parser.parse_args()
    if given.quick:
        given.hours, given.nights = 2, 1
    first = given.first
    nights = {p: range(first, first + (given.nights if p in OURS else min(given.nights, 2))) for p in POLICIES}
    table(given.policy or list(POLICIES), given.server or list(SERVERS), nights, given.hours)


if __name__ == "__main__":
    sys.exit(main())

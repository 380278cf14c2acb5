"""Who plays against the servers of `pace_kinds.py`: ours, a loop of SDK calls, and a plain semaphore loop."""

import heapq
import itertools
import math
import random
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from pace_kinds import Refusal, World

from arkbatch.core.calls import Again, Cause, Done, Kind, Scope
from arkbatch.limits.adaptive_limit import AdaptiveLimit
from arkbatch.limits.circuit_breaker import CircuitBreaker
from arkbatch.limits.permit import Permit

PARKED = 1000  # rows of ours that wait for their retry without a worker


class Policy(Protocol):
    """`ended` returns the seconds until the row of the call goes again, 0 when it is done or may go at once.

    places: calls at once; parked: rows that may wait beside them
    """

    places: int
    parked: int

    def ready_in(self, now: float, in_flight: int) -> float: ...
    def sent(self, now: float, call: int, in_flight: int) -> None: ...
    def ended(self, now: float, call: int, refusal: Refusal | None, attempt: int) -> float: ...


class Ours:
    """The adaptive limit and the circuit breaker, with the backoff of rows."""

    parked = PARKED

    def __init__(self, world: World, chance: random.Random) -> None:
        self.places, self.chance = world.workers, chance
        self.limit = AdaptiveLimit(0.0, concurrency=world.workers)
        self.outage = CircuitBreaker(0.0, width=world.workers, give_up_after=math.inf, known=True)
        self.permits: dict[int, Permit] = {}

    def ready_in(self, now: float, in_flight: int) -> float:
        if self.outage.is_away and (wait := self.outage.ready_in(now, in_flight)) > 0:
            return wait
        return self.limit.ready_in(now, in_flight)

    def sent(self, now: float, call: int, in_flight: int) -> None:
        self.outage.note_call(now)
        self.permits[call] = Permit(now, None, None, self.limit.begin_call(now), in_flight)  # type: ignore[arg-type]

    def ended(self, now: float, call: int, refusal: Refusal | None, attempt: int) -> float:
        permit = self.permits.pop(call)
        if refusal is None:
            self.outage.note_verdict(now, call, Done({}), permit.at)
            self.limit.note_grant(now, permit)
            return 0.0
        verdict = Again(Cause(Kind.SERVER_ERROR, "x", ""), refusal.scope, refusal.after)
        self.outage.note_verdict(now, call, verdict, permit.at)
        after: float | None = 0.0
        if refusal.scope is Scope.ROW:
            self.limit.note_grant(now, permit)
        else:
            after = self.limit.note_refusal(now, permit, refusal.scope, refusal.after)
        return max(min(60.0, 2.0 ** (attempt - 1)) * self.chance.uniform(0.5, 1), after or 0.0)


class Sdk:
    """32 tasks with the `openai` SDK, `max_retries=10`: 0.5 s doubling to 8 s, a `Retry-After` up to 60 s obeyed."""

    parked = 0

    def __init__(self, world: World, chance: random.Random) -> None:  # noqa: ARG002
        self.chance, self.places = chance, 32

    def ready_in(self, now: float, in_flight: int) -> float:  # noqa: ARG002
        return math.inf if in_flight >= self.places else 0.0

    def sent(self, now: float, call: int, in_flight: int) -> None: ...

    def ended(self, now: float, call: int, refusal: Refusal | None, attempt: int) -> float:  # noqa: ARG002
        if refusal is None or attempt > 10:  # given up
            return 0.0
        if refusal.after is not None and 0 < refusal.after <= 60:
            return refusal.after
        return min(0.5 * 2.0 ** (attempt - 1), 8.0) * self.chance.uniform(0.75, 1)


class Semaphore(Sdk):
    """As many tasks; a refused row sleeps a second and goes again, for ever."""

    def ended(self, now: float, call: int, refusal: Refusal | None, attempt: int) -> float:  # noqa: ARG002
        return 0.0 if refusal is None else 1.0


POLICIES: dict[str, type[Ours] | type[Sdk]] = {"arkbatch": Ours, "SDK loop": Sdk, "semaphore": Semaphore}


class Result(NamedTuple):
    """longest_rest: seconds with nothing in flight."""

    granted: int
    refused: int
    longest_rest: float


class User:
    """One who has rows without end. A row that waits for its retry keeps its worker, beyond those that are parked."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.again: list[tuple[float, int]] = []
        self.in_flight = self.granted = self.refused = 0
        self.rests_since = self.longest_rest = 0.0

    def wait(self, now: float) -> float:
        """Seconds until a call may go, or until it is worth asking again."""
        again, policy = self.again, self.policy
        is_due = bool(again) and again[0][0] <= now
        held = max(0, len(again) - policy.parked)
        if not is_due and self.in_flight + held >= policy.places:
            return again[0][0] - now if again else math.inf
        wait = policy.ready_in(now, self.in_flight)
        return min(wait, again[0][0] - now) if again and not is_due and wait > 0 else wait

    def take(self, now: float) -> int:
        """The next row; at which attempt it is."""
        if self.again and self.again[0][0] <= now:
            return heapq.heappop(self.again)[1]
        return 1

    def starts(self, now: float) -> None:
        if not self.in_flight:
            self.longest_rest = max(self.longest_rest, now - self.rests_since)
        self.in_flight += 1

    def ends(self, now: float) -> None:
        self.in_flight -= 1
        if not self.in_flight:
            self.rests_since = now


def play(world: World, policies: Sequence[str], chance: random.Random) -> Result:
    """One night of each of these policies, all at the same server."""
    users = [User(POLICIES[name](world, chance)) for name in policies]
    events: list[tuple[float, int, User, Refusal | None, int]] = []
    calls = itertools.count()
    now = 0.0
    while now < world.length:
        wake = math.inf
        for user in users:
            while (wait := user.wait(now)) <= 0:
                _send(world, user, events, now, next(calls), chance)
            wake = min(wake, now + wait)
        if not events or wake < events[0][0]:
            now = wake
            continue
        now, call, user, refusal, attempt = heapq.heappop(events)
        user.ends(now)
        if refusal is None:
            world.server.ended()
            user.granted += now <= world.length
        else:
            user.refused += refusal.scope is not Scope.ROW
        if delay := user.policy.ended(now, call, refusal, attempt):
            heapq.heappush(user.again, (now + delay, attempt + 1))
    return Result(
        sum(user.granted for user in users),
        sum(user.refused for user in users),
        max(user.longest_rest for user in users),
    )


def _send(
    world: World,
    user: User,
    events: list[tuple[float, int, User, Refusal | None, int]],
    now: float,
    call: int,
    chance: random.Random,
) -> None:
    attempt = user.take(now)
    user.policy.sent(now, call, user.in_flight)
    user.starts(now)
    refusal = world.server.ask(now)
    is_worked_on = refusal is None or refusal.scope is Scope.ROW
    seconds = world.server.seconds(now) if is_worked_on else chance.uniform(*world.refusal)
    heapq.heappush(events, (now + seconds, call, user, refusal, attempt))

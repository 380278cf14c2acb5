"""Whether a row is tried again, and after how many seconds. All times are seconds.

There are two purses. A failure of the row's own (`Scope.ROW`) spends one of its attempts, and the n-th is followed by

    ceiling = min(max_delay, first_delay * 2 ** (n - 1))
    delay   = ceiling / 2 + chance * ceiling / 2              (chance: evenly from [0, 1))

A refusal that concerns everyone (`RATE`, `CONCURRENCY`) spends none; the row gives up when it would have waited for
longer than `patience`. Its ceiling is what the row has waited so far, at least `first_delay` and at most `max_delay`,
so it too grows by about three quarters with each refusal and needs no counter. A service that is away (`SERVICE`)
spends nothing at all: the row only steps back for `first_delay`, since the limiter grants no permit meanwhile.

In both, the server's `Retry-After` is a lower bound, also above `max_delay`, and no delay is under `FLOOR`: a loop
without a delay is how one overload becomes an outage. An answer that was billed and discarded (empty, cut off) costs
money each time and tends to come back the same: it gets half of the attempts, rounded up, unless the verdict says how
many such answers there may be; those are counted apart.
"""

from msgspec import Struct

from arkbatch.core.calls import Again, Scope
from arkbatch.core.job_sections import RetryPolicy

FLOOR = 0.1
MOST_DOUBLINGS = 32  # beyond any ceiling, and a float still holds it


class Delay(Struct, frozen=True, gc=False):
    seconds: float


class GiveUp(Struct, frozen=True, gc=False):
    """`reason` is for the person who reads why the row failed."""

    reason: str


def spends_attempt(verdict: Again) -> bool:
    return verdict.scope is Scope.ROW


def decide_retry(
    policy: RetryPolicy, attempts_spent: int, waited: float, verdict: Again, chance: float
) -> Delay | GiveUp:
    """What follows a verdict.

    attempts_spent: how many attempts the row has spent on such failures, the one of this verdict included
    waited: how long the row has waited because of refusals that concern everyone
    chance: evenly from [0, 1)
    """
    if spends_attempt(verdict):
        return _after_failure(policy, attempts_spent, verdict, chance)
    return _after_refusal(policy, waited, verdict, chance)


def _after_failure(policy: RetryPolicy, attempts_spent: int, verdict: Again, chance: float) -> Delay | GiveUp:
    allowed = verdict.most
    if allowed is None:
        allowed = (policy.max_attempts + 1) // 2 if verdict.usage else policy.max_attempts
    if attempts_spent >= allowed:
        return GiveUp(f"{attempts_spent} of {allowed} attempts spent")
    doublings = min(max(0, attempts_spent - 1), MOST_DOUBLINGS)
    return Delay(_add_jitter(policy, policy.first_delay * 2.0**doublings, verdict.after, chance))


def _after_refusal(policy: RetryPolicy, waited: float, verdict: Again, chance: float) -> Delay | GiveUp:
    if verdict.scope is Scope.SERVICE:
        return Delay(_add_jitter(policy, policy.first_delay, verdict.after, chance))
    seconds = _add_jitter(policy, max(policy.first_delay, waited), verdict.after, chance)
    patience = policy.give_up_after if verdict.is_time_named else policy.patience
    if waited + seconds > patience:
        return GiveUp(f"waited {waited:.0f} s for the service, of {patience:.0f} s at most")
    return Delay(seconds)


def _add_jitter(policy: RetryPolicy, ceiling: float, after: float | None, chance: float) -> float:
    ceiling = min(policy.max_delay, ceiling)
    return max(FLOOR, after or 0.0, ceiling / 2 + chance * ceiling / 2)

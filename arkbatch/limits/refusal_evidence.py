"""What was granted and refused since the pace last changed, and what that says of the cause.

Three causes look alike in one reply and differ in many: a limit of the rate (fewer refusals when calls go slower), a
limit of calls in flight (calls are refused when many are in flight, and granted when few are), and chance (the same
share is refused at any pace). Counts only, so the state is constant.
"""

import math
from enum import StrEnum
from typing import NamedTuple

from msgspec import Struct

from arkbatch.core.calls import Scope
from arkbatch.limits.permit import Permit
from arkbatch.limits.token_rate import Window

MINUTE = 60.0  # s; limits are counted by the minute or shorter
FEWEST = 3  # refusals, below which nothing is concluded
TOLERATED = 0.002  # share refused that is not worth slowing down for
SIGMAS = 3.0  # by which refusals must pass those that chance explains
PASSES, APART = 2.0, 1.0  # s; bursts that are shorter pass without a cut; between two bursts
DENSE, DENSE_PER_SECOND = 0.3, 10.0  # of the calls in a burst were refused, and so many a second
BY_CHANCE = 9.0  # -log of how seldom so many calls in a row are granted by chance
NAMED_ABOVE = 4  # times as many calls granted with as many in flight: words that name concurrency are wrong


class Suspect(StrEnum):
    """What may be the cause of refusals."""

    RATE = "rate"
    WIDTH = "width"


class CallCounts:
    """All calls sent, and those not refused, of which the last two minutes are known by the second."""

    __slots__ = ("_began", "_minute", "granted", "sent")

    def __init__(self, now: float) -> None:
        self._began = now
        self._minute = Window(now, 2 * MINUTE, 1.0)
        self.sent = self.granted = 0

    def add_call(self, now: float) -> int:
        """Count a call that starts. Returns its number."""
        self.sent += 1
        self.granted += 1
        self._minute.add(now, 1)
        return self.sent

    def add_refusal(self, now: float, sent_at: float) -> None:
        """The call that was sent then was not granted."""
        self.granted -= 1
        self._minute.correct(now, sent_at, -1)

    def per_second(self, now: float, seconds: float = MINUTE) -> float:
        """Calls granted a second over the last so many seconds, as far as they were watched."""
        watched = min(max(now - self._began, 0.1), seconds)
        return self._minute.sum_of_last(now, watched) / watched


class Expected(NamedTuple):
    """The share of calls that chance explains, and how many calls have shown it."""

    share: float
    calls: float = math.inf


class Burst(Struct):
    """Refusals close to each other. calm: seconds without a refusal before the first of them."""

    since: float
    last_at: float
    first: int
    last: int
    calm: float
    refused: int = 1

    @property
    def is_dense(self) -> bool:
        """They are more than a few, and have not lasted long so far: they may pass as they came."""
        seconds = self.last_at - self.since
        is_short = seconds < PASSES < self.calm
        return is_short and self.refused >= max(FEWEST, DENSE * self.calls, DENSE_PER_SECOND * seconds)

    @property
    def calls(self) -> int:
        return self.last - self.first + 1

    def is_over(self, permit: Permit) -> bool:
        """Whether a refusal now belongs to another burst: so many calls between them are not granted by chance."""
        return permit.at - self.last_at > APART and permit.number - self.last > BY_CHANCE * self.calls / self.refused


class RefusalEvidence:
    """Since `since`, when call number `first` was the next.

    refused: calls refused; fewest: the fewest calls that were in flight beside one that was refused
    answer_seconds: the usual time of a call that is granted, whenever it was sent
    """

    __slots__ = (
        "_above",
        "_beside",
        "_burst",
        "_counts",
        "_granted",
        "_named",
        "answer_seconds",
        "fewest",
        "first",
        "refused",
        "since",
    )

    def __init__(self, now: float, counts: CallCounts) -> None:
        self._counts = counts
        self._burst = Burst(now, now, 0, 0, 0.0)
        self.answer_seconds = 0.0
        self.restart(now)

    def restart(self, now: float) -> None:
        """Count anew from the next call on."""
        self.since, self.first = now, self._counts.sent + 1
        self.refused = self._named = self._above = self._granted = self._beside = 0
        self.fewest = math.inf

    def add_refusal(self, permit: Permit, scope: Scope) -> None:
        """Count a refused call, unless it is older than the evidence."""
        burst = self._burst
        if burst.is_over(permit):
            if burst.is_dense and burst.first >= self.first:
                self._discard_burst(burst)
            self._burst = Burst(permit.at, permit.at, permit.number, permit.number, permit.at - burst.last_at)
        else:
            burst.refused += 1
            burst.last_at, burst.last = max(burst.last_at, permit.at), max(burst.last, permit.number)
        if permit.number >= self.first:
            self.refused += 1
            self._named += scope is Scope.CONCURRENCY
            self.fewest = min(self.fewest, permit.beside)

    def _discard_burst(self, burst: Burst) -> None:
        """A burst that passed by itself while calls went as before is no evidence of a limit."""
        self.restart(burst.last_at)
        self.first = burst.last + 1

    @property
    def may_pass(self) -> bool:
        """What is refused just now may pass by itself in a moment."""
        return self._burst.is_dense

    def add_grant(self, now: float, permit: Permit) -> None:
        """Count a call that was answered, unless it is older than the evidence."""
        self.answer_seconds += (now - permit.at - self.answer_seconds) / 20
        if permit.number >= self.first:
            self._granted += 1
            self._beside += permit.beside
            self._above += permit.beside >= self.fewest

    @property
    def sent(self) -> int:
        """Calls since then."""
        return max(self._counts.sent + 1 - self.first, self.refused, 1)

    @property
    def granted(self) -> int:
        """Those that were not refused so far."""
        return self.sent - self.refused

    @property
    def share(self) -> float:
        """Of the calls that was refused."""
        return self.refused / self.sent

    def sent_per_second(self, now: float) -> float:
        return self.sent / max(now - self.since, 0.05)

    def exceeds_chance(self, expected: Expected, *, fewest: int = FEWEST, sigmas: float = SIGMAS) -> bool:
        """Whether more was refused than chance explains."""
        by_chance = expected.share * self.sent
        spread = math.sqrt(by_chance * (1.0 + self.sent / expected.calls))
        return self.refused >= fewest and self.refused > by_chance + sigmas * spread

    def falls_short_of(self, floor: float, *, sigmas: float = SIGMAS) -> bool:
        """Whether less was refused than the share `floor` explains, so that it is not refused at any pace."""
        by_chance = floor * self.sent
        return self.refused < by_chance - sigmas * math.sqrt(by_chance)

    @property
    def is_named(self) -> bool:
        """The words of most refusals name the calls in flight."""
        return self._named * 2 > self.refused

    @property
    def suspect(self) -> Suspect:
        """The cause that the words name, or else what separates the refused calls from the granted ones."""
        if self.is_named:
            is_width = self._above <= NAMED_ABOVE * self.refused
        else:
            is_width = self._granted >= 2 * self.refused >= 2 * FEWEST and self._above * 2 <= self.refused
        is_separated = 1 <= self.fewest < math.inf and self.fewest * self._granted >= self._beside
        return Suspect.WIDTH if is_width and is_separated else Suspect.RATE

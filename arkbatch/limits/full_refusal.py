"""Whether the service refuses everything just now, and when it takes calls again.

It knows the order and the times of calls only. A refusal closes the service for all; calls that were sent after the
refused one and are not refused open it again at once, since a service that takes some calls is not closed. Otherwise
single calls are tried at growing pauses. A time that the server named ends the closure without a try, but it is tried
before too: servers name the whole window when a second of it is left, or a day when they mean a minute.
"""

import math

from arkbatch.limits.permit import Permit

SHORTEST_PAUSE, PAUSE_GROWTH = 0.02, 1.7  # s, and times, between tries
LONG_PAUSE, PAUSE_OF = 5.0, 0.1  # s, or this share of the time it was closed so far
LONGEST_PAUSE, LONGEST_TOLD_PAUSE = 30.0, 300.0  # s; the second where the server named a time
FIRST_PATIENCE = 1.0  # s; how long a try must stay unrefused, while no refusal has shown how fast the news is
SHORTEST_PATIENCE, LONGEST_PATIENCE = 0.02, 5.0  # s
NEWS = 2.0  # times the usual time of a refusal; a call not refused by then is taken as granted
SURE = 4  # calls refused in a row, to learn from it
OPEN = 3  # calls sent after the refused one, and not refused: it is not closed
DENSE = 0.75  # of the calls in a row; news overtakes news, so some refusals are heard of later
CHANCE = 1e-4  # that so many are refused by chance
MOST_WITNESSES = 40


class FullRefusal:
    """Open until refusals in a row close it.

    first_at: when the first refused call was sent; until: when something is to be done next
    told_seconds: what the server asked for, 0 when it named no time
    """

    __slots__ = (
        "_closed_at",
        "_cut",
        "_granted",
        "_news",
        "_pause",
        "_refused_at",
        "_run",
        "_run_first",
        "_told_until",
        "_tries_refused",
        "_try",
        "first_at",
        "is_closed",
        "told_seconds",
        "until",
    )

    def __init__(self) -> None:
        self.is_closed = False
        self.first_at = self.until = -math.inf
        self.told_seconds = 0.0
        self._closed_at = self._refused_at = self._told_until = -math.inf
        self._tries_refused = 0
        self._cut = -1  # calls up to this number were under way when it was found closed last
        self._run = self._granted = 0  # refused since the first of a row of refusals; granted of those sent after it
        self._run_first = -1
        self._try: int | None = None
        self._pause = SHORTEST_PAUSE
        self._news = -1.0  # s; below 0: no call was refused so far

    @property
    def is_sure(self) -> bool:
        """It is closed, and several tries said so."""
        return self.is_closed and self._tries_refused >= SURE

    def note_refusal(  # noqa: PLR0917
        self, now: float, permit: Permit, last: int, after: float | None, floor: float, interval: float
    ) -> bool:
        """Note a refusal; whether it is one that comes in between calls that are granted.

        last: the number of the newest call; floor: the share that is refused by chance; interval: s between calls
        """
        self._news = max(now - permit.at, 0.9 * self._news)
        if self.is_closed:
            self._refused_again(now, permit, last, after)
            return False
        if permit.number - self._run_first + 1 > (self._run + 1) / DENSE + 2:
            self._run, self._run_first, self._granted, self.first_at = 0, permit.number, 0, permit.at
        self._run += 1
        if permit.number <= self._cut or self._run < _refusals_needed(floor) or self._run <= self._granted:
            return True
        self.is_closed, self._try, self._tries_refused, self._closed_at = True, None, 0, now
        self._pause = min(max(2 * interval, SHORTEST_PAUSE), LONGEST_PAUSE)
        self._found_closed(now, permit, last, after, max(self.patience, self._pause))
        return False

    def _refused_again(self, now: float, permit: Permit, last: int, after: float | None) -> None:
        """The news of a call that was under way before, or of a try."""
        if permit.number <= self._cut:
            self._run += 1
            if not self._tries_refused:
                self.first_at = min(self.first_at, permit.at)
            self._hear_time(now, max(after or 0.0, self._told_until - now))
            return
        self._tries_refused += 1
        longest = LONGEST_PAUSE if after is None else LONGEST_TOLD_PAUSE
        longest = min(max(LONG_PAUSE, (now - self._closed_at) * PAUSE_OF), longest)
        self._pause = min(self._pause * PAUSE_GROWTH, longest)
        self._found_closed(now, permit, last, after, self._pause)

    def _found_closed(self, now: float, permit: Permit, last: int, after: float | None, pause: float) -> None:
        self._cut, self._try, self._refused_at = last, None, permit.at
        self._hear_time(now, after or 0.0)
        self.until = now + pause
        if self.told_seconds:
            self.until = min(self.until, max(self._told_until, now + self.patience))

    def _hear_time(self, now: float, after: float) -> None:
        self.told_seconds, self._told_until = (after, now + after) if after > 0 else (0.0, -math.inf)

    def note_grant(self, number: int) -> bool:
        """A call was granted; whether that shows that a closed service is open."""
        if number <= self._run_first:
            return False
        self._granted += 1
        if not self.is_closed:
            return False
        return number > self._cut or (not self._tries_refused and self._granted >= max(self._run, 1))

    def may_try(self, now: float) -> bool:
        """Whether a single call may go, to find out."""
        return self._try is None and now >= self.until - 1e-6

    def note_no_call(self) -> None:
        """No call is in flight any more, so no news is waited for before the first try."""
        if self._try is None and not self._tries_refused:
            self.until = min(self.until, self._closed_at + self._pause)

    def begin_try(self, now: float, number: int) -> None:
        """This call is the try."""
        self._try, self.until = number, now + self.patience

    def is_over(self, now: float) -> bool:
        """Whether it is open again: the try was not refused, the named time has come, or others were not refused."""
        if now < self.until - 1e-6:
            return False
        if self._try is not None or (self.told_seconds > 0 and self._told_until <= now + 1e-6):
            return True
        unrefused = self._cut - self._run_first - (self._run - 1)
        return not self._tries_refused and unrefused >= max(OPEN, self._run)

    def end_closure(self) -> float | None:
        """Open it. When it was closed until, or None when it turned out not to have been closed."""
        tried_at = self.until - self.patience if self._try is not None else self._told_until
        refused, self._run, self._run_first = self._run + self._tries_refused, 0, -1
        self.is_closed, self.told_seconds = False, 0.0
        if not self._tries_refused or refused < SURE:
            return None
        return (self._refused_at + max(tried_at, self._refused_at)) / 2

    @property
    def patience(self) -> float:
        """How long a call must stay unrefused to be taken as granted."""
        if self._news < 0:
            return FIRST_PATIENCE
        return min(max(NEWS * self._news, SHORTEST_PATIENCE), LONGEST_PATIENCE)


def _refusals_needed(floor: float) -> int:
    """How many refusals nearly in a row are more than chance: by the Chernoff bound."""
    if floor <= CHANCE:
        return 1
    if floor >= DENSE / 1.2:
        return MOST_WITNESSES
    surprise = math.log(DENSE / floor) + (1 / DENSE - 1) * math.log((1 - DENSE) / (1 - floor))
    return min(math.ceil(-math.log(CHANCE) / surprise), MOST_WITNESSES)

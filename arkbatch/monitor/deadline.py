"""Predicts whether a run will be done in time, and suggests a remedy.

The module is pure: it receives the seconds in which the run worked, the rows recorded in them, and the time. It reports
when it first knows, and when the prediction changes; it never stops a run. The rules:

* **Only working time counts.** Outside its hours and during an outage no row ends; that says nothing about its speed.
* **The rate of the last ten minutes** is used, or of some times the length of a call where calls take longer: rows
  that begin together end together, and between two such bursts no rate can be measured.
* **A rate that still rises is not used.** At Ark a run begins at a tenth of its speed or less.
* **A prediction changes only by a margin**, so that a run which is just in time does not report every minute.
"""

import datetime as dt
import math
from collections import deque

from msgspec import Struct

from arkbatch.core.schedule import Hours, clock_text
from arkbatch.core.text import count_text, duration_text

SETTLED = 120.0  # s at work before anything is said
WINDOW = 600.0  # s
CALLS = 3.0  # lengths of a long call that the window spans at least
FEWEST = 20  # rows in the window, unless they are that slow
PATIENCE = 1800.0  # s; what still climbs then will do so for long
CLIMBS = 1.1  # the last quarter is faster than the whole by more
MARGIN, SHORTEST_MARGIN = 0.03, 60.0  # of the time that is left to work, and s
_LOOKS = 40  # kept of the window


class DeadlineOutlook(Struct, frozen=True):
    """The prediction for a run with a deadline.

    done_at, due: unix seconds, the first infinite when it cannot be known; unfinished: rows left at the deadline
    faster: how many times as fast the run would have to be; infinite when no time is left
    """

    is_late: bool
    done_at: float
    due: float
    unfinished: int
    faster: float


class SpeedUpOptions(Struct, frozen=True):
    """The settings of a run that could be changed to speed it up.

    bound: the limiter's word for what limits the run most
    other_lane: the service has a lane with its own limits, and the run does not use it
    run_dir: quoted for a shell, for the command that changes a limit
    """

    bound: str
    concurrency: int
    rpm: float | None = None
    tpm: float | None = None
    other_lane: bool = False
    run_dir: str = ""


def describe_outlook(outlook: DeadlineOutlook, now: float, zone: dt.tzinfo | None = None) -> str:
    """Return the prediction as text.

    Example: `will be late: done at about 10:10 and not by 08:00, when 12,300 rows will be left`.
    """
    due, to_go = clock_text(outlook.due, now, zone), count_text(outlook.unfinished, "row")
    if outlook.done_at == math.inf:
        return f"late: it was due by {due}, with {to_go} to go"
    done = clock_text(outlook.done_at, now, zone)
    if not outlook.is_late:
        return f"will be in time: done at about {done}, due by {due}"
    late = duration_text(outlook.done_at - outlook.due)
    return f"will be late by {late}: done at about {done}, due by {due}, with {to_go} to go"


def suggest_speed_up(outlook: DeadlineOutlook, means: SpeedUpOptions) -> str:
    """Return what would make a late run end in time, "" if overdue.

    Of the limits, only the one that limits the run is suggested.
    """
    if outlook.faster == math.inf:
        return ""
    ways = [_suggest_limit(outlook.faster, means)]
    if means.other_lane:
        ways.append("the batch lane has limits of its own, at half the price (--lane batch)")
    ways.append("send fewer rows (--limit)")
    return "; ".join(way for way in ways if way)


def _suggest_limit(faster: float, means: SpeedUpOptions) -> str:
    settings = {"requests": ("rpm", means.rpm), "tokens": ("tpm", means.tpm), "concurrency": ("concurrency", None)}
    if means.bound == "server":
        return "the service grants no more: ask it for a higher limit, or share the rows among models"
    if means.bound not in settings:
        return ""
    name, value = settings[means.bound]
    value = means.concurrency if name == "concurrency" else value
    if not value:
        return ""
    wanted = _round_up(value * faster)
    command = f" (arkbatch ctl {means.run_dir} set {name}={wanted})" if means.run_dir else ""
    return f"raise {name} from {value:.0f} to about {wanted}{command}"


def _round_up(number: float) -> str:
    """Round up to two digits."""
    step = 10.0 ** max(0, math.floor(math.log10(number)) - 1)
    return f"{math.ceil(number / step) * step:.0f}"


class Deadline:
    """Watches one session's deadline.

    due: unix seconds; hours: in which calls may be sent, None for always
    """

    def __init__(self, due: float, hours: Hours | None = None) -> None:
        self.due = due
        self._hours = hours
        self._looks: deque[tuple[float, int]] = deque([(0.0, 0)])
        self.outlook: DeadlineOutlook | None = None
        self._told: bool | None = None

    def check_outlook(
        self, now: float, worked: float, recorded: int, left: int, call_seconds: float = 0.0
    ) -> DeadlineOutlook | None:
        """Return the prediction when it is new or has changed, mostly None.

        worked: seconds of work so far; recorded: rows in them; call_seconds: how long a long call takes
        """
        window = max(WINDOW, CALLS * call_seconds)
        self._keep_sample(worked, recorded, window)
        rate = self._rows_per_second(worked, call_seconds)
        if not left or (rate is None and now < self.due):
            return None
        self.outlook = self._overdue_outlook(left) if rate is None else self._predict_end(now, left, rate)
        if self.outlook.is_late == self._told:
            return None
        self._told = self.outlook.is_late
        return self.outlook

    def _keep_sample(self, worked: float, recorded: int, window: float) -> None:
        looks = self._looks
        if worked - looks[-1][0] >= window / _LOOKS:
            looks.append((worked, recorded))
        while len(looks) > 2 and looks[1][0] <= worked - window:
            looks.popleft()

    def _rows_per_second(self, worked: float, call_seconds: float) -> float | None:
        """Return rows per second of work; None when that is not known well enough."""
        looks = self._looks
        (began, before), (ended, after) = looks[0], looks[-1]
        if worked < max(SETTLED, 2 * call_seconds) or after - before < (FEWEST if worked < WINDOW else 1):
            return None
        rate = (after - before) / (ended - began)
        middle = next((at, count) for at, count in looks if at >= ended - (ended - began) / 4)
        climbs = ended > middle[0] and (after - middle[1]) / (ended - middle[0]) > rate * CLIMBS
        return None if climbs and worked < PATIENCE and self._told is None else rate

    def _predict_end(self, now: float, left: int, rate: float) -> DeadlineOutlook:
        needed = left / rate
        done_at = now + needed if self._hours is None else self._hours.moment_after(now, needed)
        room = self._seconds_until_due(now)
        margin = 0.0 if self._told is None else max(SHORTEST_MARGIN, MARGIN * needed) * (-1 if self._told else 1)
        return DeadlineOutlook(
            is_late=needed > room + margin,
            done_at=done_at,
            due=self.due,
            unfinished=max(0, math.ceil(left - rate * room)),
            faster=needed / room if room else math.inf,
        )

    def _overdue_outlook(self, left: int) -> DeadlineOutlook:
        """Return the prediction for a deadline that has passed, with an unknown end."""
        return DeadlineOutlook(is_late=True, done_at=math.inf, due=self.due, unfinished=left, faster=math.inf)

    def _seconds_until_due(self, now: float) -> float:
        """Return the seconds of work that are left until the deadline."""
        if self.due <= now:
            return 0.0
        return self.due - now if self._hours is None else self._hours.open_seconds(now, self.due)

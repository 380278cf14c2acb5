"""What refusals teach about the rate and the calls in flight: cut to what was granted, and see whether it helped.

A cut is a test: at the lower rate, is as large a share refused, or far less? If as large, the rate was not the cause:
the old value comes back, and that share is the *floor*, refused at any pace. If far less, the old rate is tried
once more, since trouble may pass; refused again, it is cut. Only what is refused beyond the floor is evidence from then
on. The floor is lowered when less is refused, and is tested now and then.
"""

import math

from msgspec import Struct

from arkbatch.limits.cut import AS_OFTEN, SURE, Cut
from arkbatch.limits.noise_floor import NoiseFloor
from arkbatch.limits.refusal_evidence import (
    FEWEST,
    MINUTE,
    SIGMAS,
    TOLERATED,
    CallCounts,
    Expected,
    RefusalEvidence,
    Suspect,
)
from arkbatch.limits.search_curve import BEGIN, QUICKEST, SAME, SearchCurve

EXPECTED = 10.0  # refusals that a part of the floor is made of
MANY = 15  # refusals that show chance, so that its share is known well
ANSWERS, MANY_ANSWERS = 2.0, 10.0  # times that of an answer; what fills places of the service first is granted
FEW_SIGMAS, MANY_SIGMAS = 2.5, 4.0  # looked at once in a while, and at each refusal
CHANCE_FOR_SURE = 0.01  # share of the calls; less may be a limit that moves a little
NEARLY = 0.9  # of the base; above it, it was not really cut
MOST_CHANCE = 0.45  # share of the calls; more is never taken for chance
LONGEST_TEST = 100.0  # s
SHORTEST_MEASURE, LATELY = 1.0, 10.0  # s; over which granted calls are counted, at first and once a limit is known
FAR = 1.2  # times the base; refused so far above it, the base is not the limit
CHECK_AFTER = 20.0  # times as many calls as the check takes
COMES_BACK, MOST_DOUBTS = 5.0, 3  # s; in a minute
FEWEST_GRANTED = 4  # calls between two closures, to tell a rate from them
CLOSED_LITTLE, CLOSED_MUCH = 0.02, 0.3  # share of the time; between them a closure may come at any pace
OPEN_AT_LEAST = 0.1  # of the time that it was closed; less is the same closure
INCIDENT_SECONDS = 15.0  # the first closure, if it is shorter, says nothing of a limit
MARGIN = 0.985  # of what was granted
DEEPEST_CUT = 0.25  # of the rate; a window that is used up just after a cut looks as if nothing were granted


class ClosureCut(Struct, frozen=True):
    """The rate before a closure made it smaller, and for which share of the time the service was closed."""

    value: float
    base: float
    closed: float


class LimitSearch:
    """The rate and the width that the service grants, as found so far.

    rate: calls a second; width: calls in flight
    has_met: a refusal has shown a limit of the rate; reason: one phrase, why the pace is what it is
    """

    def __init__(self, now: float, counts: CallCounts, rate: SearchCurve, width: SearchCurve, reason: str) -> None:
        self.rate, self.width, self.reason = rate, width, reason
        self.evidence = RefusalEvidence(now, counts)
        self._noise = NoiseFloor()
        self.has_met = False
        self._counts = counts
        self._cut: Cut | None = None
        self._check_at, self._check_every = math.inf, CHECK_AFTER  # numbers of calls
        self._began = self._opened_at = now
        self._granted_then = 0
        self._is_first_closure = True
        self._last_minute = self._last_turn = 0.0  # calls granted a second before the last closure, two measures
        self._raised_at = now
        self._returned_at, self._doubts, self._is_passing = -math.inf, 0, False
        self._horizon = LATELY
        self._tested_at, self._tested = -math.inf, (math.inf, math.inf)
        self._refused_below = 0.0  # share of the calls, before more was tried
        self._before: ClosureCut | None = None
        self._closed_by_chance = 0.0  # share of the time

    @property
    def floor(self) -> float:
        """The share of the calls that is refused at any pace."""
        return self._noise.share

    @property
    def is_holding(self) -> bool:
        """The effect of a cut is awaited, so nothing may rise."""
        return self._cut is not None

    def look(self, now: float) -> None:
        """A call is sent: conclude what can be concluded from the last cut."""
        cut = self._cut
        if cut is None:
            if self.rate.is_testing and now - self._raised_at > MINUTE:
                self._raise_base(now)
            return
        seconds = now - self.evidence.since
        is_long_enough = seconds >= ANSWERS * self.evidence.answer_seconds
        if seconds > LONGEST_TEST or (is_long_enough and cut.log_odds(self.evidence, self.floor) < -SURE):
            self._conclude(now, cut)

    def _raise_base(self, now: float) -> None:
        """More was tried for a minute, and no window is longer: what was granted in it is known to be granted."""
        self._raised_at, rate = now, self.rate
        granted = min(self._counts.per_second(now) / (1 - self.floor), rate.value)
        if granted > rate.base:
            rate.base = granted
            rate.go_on_from(rate.value)

    def begin_test(self, now: float) -> None:
        """More than what is known is tried from now on, so what was refused before says nothing of it."""
        self._raised_at = now
        evidence = self.evidence
        self._refused_below = min(evidence.share, TOLERATED) if evidence.refused >= FEWEST else 0.0
        self._begin(now)

    def begin_anew(self, now: float) -> None:
        """What was counted before now says nothing of what comes."""
        self._begin(now)
        self._opened_at, self._granted_then = now, self._counts.granted

    # ---- refusals between calls that are granted

    def weigh(self, now: float) -> None:
        """A call was refused while others are granted."""
        evidence, cut = self.evidence, self._cut
        if cut is not None:
            is_long_enough = now - evidence.since >= ANSWERS * evidence.answer_seconds and evidence.refused >= MANY
            if is_long_enough and cut.log_odds(self.evidence, self.floor) > SURE:
                self._conclude(now, cut)
        elif self.floor and evidence.undercuts(self.floor):
            self._noise.lower_to(evidence.share, evidence)
            self._begin(now)
        elif self._is_beyond_chance:
            self._cut_suspect(now)
        elif self.floor and evidence.sent * self.floor >= EXPECTED * 4:
            self._check_floor(now)

    @property
    def _is_beyond_chance(self) -> bool:
        """While more is tried, a single refusal is enough, if none came before and none comes by chance."""
        evidence = self.evidence
        if self.floor:
            return evidence.exceeds(self._noise.expected, sigmas=MANY_SIGMAS if self.floor > TOLERATED else SIGMAS)
        if self._curve(self._suspect).is_testing:
            return evidence.exceeds(Expected(self._refused_below), fewest=1)
        return evidence.exceeds(Expected(TOLERATED))

    @property
    def _suspect(self) -> Suspect:
        """More calls a minute are more in flight too: what was just raised is the first suspect."""
        evidence, width = self.evidence, self.width
        if width.is_testing and evidence.fewest >= width.base:
            return Suspect.WIDTH
        return Suspect.RATE if self.rate.is_testing and not evidence.is_named else evidence.suspect

    def _curve(self, suspect: Suspect) -> SearchCurve:
        return self.width if suspect is Suspect.WIDTH else self.rate

    def _cut_suspect(self, now: float, before: Cut | None = None) -> None:
        """Go on at what was granted. before: a cut that did not help enough, whose old value is kept in mind."""
        evidence, suspect = self.evidence, self._suspect
        seconds = now - evidence.since
        self._cut = None
        curve = self._curve(suspect)
        if not curve.is_testing and (evidence.granted < 2 or seconds < SHORTEST_MEASURE):
            return
        value, base = curve.value, curve.base
        if before is not None and before.suspect is suspect:
            value, base = before.value, before.base
        measured = seconds if before is None else math.inf
        cut = Cut(suspect, evidence.share, evidence.sent_per_second(now), value, base, measured)
        # More was tried, and what was granted below it is known: nothing is to be tested.
        was_tried = curve.is_testing and (suspect is Suspect.RATE or evidence.refused < FEWEST)
        if suspect is Suspect.WIDTH:
            self._cut_width(now, evidence.fewest)
        else:
            if before is None:
                self._is_passing = self._may_pass(now)
            if self._is_passing and not curve.is_testing:
                curve.go_on_from(min(curve.value, cut.per_second * (1 - cut.depth)))
            else:
                self._cut_rate_to_granted(now, cut, seconds)
        self._begin(now)
        self._cut = None if was_tried else cut

    def _may_pass(self, now: float) -> bool:
        """Trouble at a rate that was granted: only if it comes again once the rate is back, the rate is the cause."""
        gap = now - self._returned_at
        self._doubts = self._doubts + 1 if gap < MINUTE else 1
        return self.rate.base < math.inf and gap > COMES_BACK and self._doubts < MOST_DOUBTS

    def _cut_rate_to_granted(self, now: float, cut: Cut, seconds: float) -> None:
        rate, granted = self.rate, self.evidence.granted / seconds
        minute = self._counts.per_second(now)
        if rate.is_testing:  # a minute that slides grants more until the slower calls before the test have left it
            if now - self._began < MINUTE:  # too little is known of longer windows: halfway
                minute = math.sqrt(rate.base * rate.value)
            self._tested_at, self._tested = now, (rate.value, rate.base)
            self._cut_rate(minute, MINUTE)
            return
        if rate.base < math.inf and seconds < LATELY:
            seconds = max(min(LATELY, now - self._opened_at), seconds, SHORTEST_MEASURE)
            granted = self._counts.per_second(now, seconds)
        if self._is_minute(minute, granted):
            self._wait_for_minute(minute, granted)
        else:
            self._cut_rate(granted, seconds)
        rate.go_on_from(min(rate.value, cut.per_second * (1 - cut.depth)))

    def _wait_for_minute(self, minute: float, granted: float) -> None:
        """A sliding minute grants as unevenly as it was used: go as slowly for now, and back within a minute."""
        rate, value = self.rate, self.rate.value
        rate.meet(minute, granted)
        rate.patience = MINUTE
        rate.go_on_from(min(max(granted, minute * DEEPEST_CUT), value, rate.base))

    def _conclude(self, now: float, cut: Cut) -> None:
        """Enough calls went after the cut to see whether fewer are refused."""
        share, less = self.evidence.share, 1 - cut.depth / 2
        per_second = self.evidence.sent_per_second(now)
        # at a real limit as many are granted as before, however many are sent
        is_less_granted = per_second * (1 - share) <= cut.per_second * (1 - cut.share) * less
        is_slower = cut.suspect is Suspect.WIDTH or (per_second <= cut.per_second * less and is_less_granted)
        evidence = self.evidence
        if cut.suspect is Suspect.RATE and evidence.refused >= FEWEST and evidence.suspect is Suspect.WIDTH:
            self._cut_suspect(now, cut)  # with fewer calls it is seen that those with most beside them are refused
        elif cut.log_odds(self.evidence, self.floor) < 0:
            self._noise.lower_to(share, self.evidence)
            if cut.suspect is Suspect.RATE:
                self.rate.go_on_from(min(self.rate.base * BEGIN, cut.value))
                self._returned_at = now
            self._begin(now)
        elif share > min(MOST_CHANCE, cut.share / AS_OFTEN) or not is_slower:
            self._cut_suspect(now, cut)
        elif share < AS_OFTEN * cut.share and cut.suspect is Suspect.RATE:
            if now - self.evidence.since >= min(MANY_ANSWERS * self.evidence.answer_seconds, LONGEST_TEST):
                self._take_for_both(now, cut, share)
        elif cut.suspect is Suspect.RATE and LATELY < self._horizon > cut.seconds:
            self._cut_suspect(now, cut)  # too short for a window to be used up, which hides what is refused later
        else:
            self._take_for_chance(now, cut, share)

    def _take_for_both(self, now: float, cut: Cut, share: float) -> None:
        """The rate was a part of the cause, and chance is the other."""
        self._noise.replace_by(share, self.evidence)
        self.rate.base = min(cut.base, cut.per_second * (1 - cut.share) / (1 - share))
        self.rate.patience = self._horizon
        self.rate.go_on_from(self.rate.base * BEGIN)
        self.has_met = True
        self._begin(now)

    def _take_for_chance(self, now: float, cut: Cut, share: float) -> None:
        """Slower calls, or fewer at once, were refused as often."""
        if not self.floor:
            self._check_every = CHECK_AFTER
        if self.evidence.exceeds(self._noise.expected):
            self._noise.replace_by(share, self.evidence)
        else:
            self._noise.add_evidence(self.evidence)
        self._check_at = self._counts.sent + self._check_every * EXPECTED / share
        curve = self._curve(cut.suspect)
        if cut.suspect is Suspect.WIDTH:
            curve.base = cut.base
        else:
            curve.base = cut.base if cut.base < math.inf else cut.per_second
            if share > CHANCE_FOR_SURE or cut.base == math.inf:
                curve.patience = QUICKEST
        curve.go_on_from(min(cut.value, curve.base))
        self._begin(now)

    def _check_floor(self, now: float) -> None:
        """Now and then go slower, to see whether that brings fewer refusals after all."""
        evidence, rate = self.evidence, self.rate
        if evidence.exceeds(self._noise.expected, sigmas=FEW_SIGMAS):
            self._cut_suspect(now)
            return
        if self._counts.sent < self._check_at:
            if not rate.is_testing:
                self._noise.add_evidence(self.evidence)
            self._begin(now)
            return
        self._check_every *= 2
        cut = Cut(Suspect.RATE, self.floor, evidence.sent_per_second(now), rate.value, rate.base)
        rate.base = min(cut.per_second * (1 - cut.depth), rate.value)
        rate.go_on_from(rate.base)
        self._begin(now)
        self._cut = cut

    def _begin(self, now: float) -> None:
        self.evidence.begin(now)
        self._cut = None

    # ---- closures: for a while, all was refused

    def learn_closure(self, now: float, first_at: float, until: float, before: float) -> None:
        """All was refused from `first_at` until `until`. before: calls granted a second in the minute before it.

        From the end of one closure to the end of the next, a window of the server was used up and has turned over. So
        the calls granted in that time are its limit, whatever its window is like.
        """
        suspect, fewest = self._suspect, self.evidence.fewest
        if self._cut is not None and until - first_at < SHORTEST_MEASURE:
            return  # what is refused by chance comes in rows too; the test shows whether it is
        if until - first_at > SHORTEST_MEASURE:
            self._begin(now)  # what was refused in it did not come between granted calls
        if until - first_at < MINUTE:  # the minute before it was of two windows, the one until its end of one
            over = MINUTE + min(now - until, MINUTE)
            before = min(before, self._counts.per_second(now, over) * over / MINUTE)
        seconds, granted = until - self._opened_at, self._counts.granted - self._granted_then
        was_open = first_at - self._opened_at > OPEN_AT_LEAST * (until - first_at)
        if granted < FEWEST_GRANTED or seconds < SHORTEST_MEASURE or not was_open:
            return
        closed = (until - first_at) / seconds
        self._horizon = min(max(self._horizon, 4 * (until - first_at)), MINUTE)
        if first_at <= self._tested_at <= until and suspect is Suspect.RATE:  # more was tried than the window gives
            self._opened_at, self._granted_then = until, self._counts.granted
            self.rate.base = self._tested[1]
            self.rate.value = max(self._tested[0], self.rate.base * 1.02)
            self._cut_rate(before, MINUTE, is_closure=True)
            self._last_minute, self._last_turn = before, granted / seconds
            self._begin(now)
            return
        is_incident = self._is_first_closure and until - first_at < INCIDENT_SECONDS
        self._is_first_closure = False
        self._opened_at, self._granted_then = until, self._counts.granted
        if suspect is Suspect.WIDTH:
            self._cut_width(now, fewest)
            self._begin(now)
        elif seconds > 2 * MINUTE or (
            now - self._began > MINUTE and self._is_minute(before, granted / seconds) and not is_incident
        ):
            self._learn_rate(now, before, MINUTE, closed)
        elif not is_incident:
            turn = granted / seconds
            if seconds < LATELY and self.rate.base < math.inf:
                turn = max(turn, self._counts.per_second(now, LATELY))
            self._learn_rate(now, turn, seconds, closed)
        self._last_minute, self._last_turn = before, granted / seconds

    def _is_minute(self, minute: float, turn: float) -> bool:
        """Of two measures, the one that repeats is the limit: a sliding minute turns over by no single closure."""
        if not (self._last_minute and self._last_turn and minute):
            return False
        change = abs(math.log(minute / self._last_minute))
        return change < SAME and change < abs(math.log(turn / self._last_turn))

    def _learn_rate(self, now: float, granted: float, seconds: float, closed: float) -> None:
        """One closure may have any cause. A rate that was too high is closed for less of the time once it is cut."""
        rate, last, self._before = self.rate, self._before, None
        if closed <= self._closed_by_chance:
            return
        is_chance = last is not None and not rate.is_testing and CLOSED_LITTLE < closed < CLOSED_MUCH
        if is_chance and last is not None and closed >= AS_OFTEN * last.closed:
            self._closed_by_chance = closed / AS_OFTEN
            rate.base = last.base
            rate.go_on_from(min(last.value, last.base))
        else:
            self._closed_by_chance = 0.0
            before = ClosureCut(rate.value, rate.base, closed)
            self._cut_rate(granted, seconds, is_closure=True)
            if seconds > LATELY / 2 and rate.base < NEARLY * before.base:
                self._before = before
        self._begin(now)

    # ---- cuts

    def _cut_rate(self, granted: float, seconds: float, *, is_closure: bool = False) -> None:
        """So many calls a second were granted over so many seconds while others were refused."""
        rate = self.rate
        granted /= 1.0 - self.floor
        if rate.value < FAR * rate.base < math.inf:
            granted *= MARGIN
        known = min(rate.value, rate.base)
        if known < math.inf:
            granted = max(granted, known * DEEPEST_CUT)
        if rate.base < math.inf and rate.is_testing:
            granted = max(granted, rate.base)
        if seconds == MINUTE:  # while the pace rose, a minute measured too little of a shorter window
            rate.meet(granted, granted, quick=MINUTE if is_closure and granted < FAR * rate.base else self._horizon)
        else:
            rate.meet(min(granted, rate.value), granted, quick=seconds if is_closure else min(seconds, self._horizon))
        self.has_met = True
        self.reason = f"the service refused more than {rate.base * 60:.0f} calls a minute"

    def _cut_width(self, now: float, fewest: float) -> None:
        """With so few calls beside it a call was refused, so as many are granted."""
        width, evidence = self.width, self.evidence
        if not evidence.is_named and not width.is_testing:
            self.rate.patience = QUICKEST  # the rate was perhaps cut for what the calls in flight did
        width.meet(min(fewest, width.value), self._counts.per_second(now))
        self.reason = f"the service refused more than {width.base:.0f} calls at once"

"""What refusals teach about the rate and the calls in flight: cut to what was granted, and see whether it helped.

A cut is a test: at the lower rate, is as large a share refused, or far less? If as large, the rate was not the cause:
the old value comes back, and that share is the *floor*, refused at any pace. If far less, the old rate is tried
once more, since trouble may pass; refused again, it is cut. Only what is refused beyond the floor is evidence from then
on. The floor is lowered when less is refused, and is tested now and then.
"""

import math

from arkbatch.limits.closure_rate import Closure, ClosureRate
from arkbatch.limits.cut import AS_OFTEN, SURE, Cut
from arkbatch.limits.found_limits import FAR, LATELY, SHORTEST_MEASURE, FoundLimits
from arkbatch.limits.permit import Permit
from arkbatch.limits.refusal_evidence import (
    FEWEST,
    MINUTE,
    SIGMAS,
    TOLERATED,
    Expected,
    RefusalEvidence,
    Suspect,
)
from arkbatch.limits.search_curve import BEGIN, QUICKEST, SearchCurve

EXPECTED = 10.0  # refusals that a part of the floor is made of
MANY = 15  # refusals that show chance, so that its share is known well
ANSWERS, MANY_ANSWERS = 2.0, 10.0  # times that of an answer; what fills places of the service first is granted
PROBABLE = 1.5  # sigmas; fewer refusals after a cut that brought fewer
FEW_SIGMAS, MANY_SIGMAS = 2.5, 4.0  # looked at once in a while, and at each refusal
CHANCE_FOR_SURE = 0.01  # share of the calls; less may be a limit that moves a little
MOST_CHANCE = 0.45  # share of the calls; more is never taken for chance
LONGEST_TEST = 100.0  # s
CHECK_AFTER = 20.0  # times as many calls as the check takes
COMES_BACK, MOST_DOUBTS = 5.0, 3  # s; in a minute


class LimitSearch:
    """The rate and the width that the service grants, as found so far.

    found: what is known of them; rate, width: its two curves
    """

    def __init__(self, now: float, found: FoundLimits) -> None:
        self.found, self.rate, self.width = found, found.rate, found.width
        self._counts, self._noise = found.counts, found.noise
        self.evidence = RefusalEvidence(now, found.counts)
        self._closures = ClosureRate(now, found)
        self._cut: Cut | None = None
        self._check_at, self._check_every = math.inf, CHECK_AFTER  # numbers of calls
        self._began = self._raised_at = now
        self._returned_at, self._doubts, self._is_passing = -math.inf, 0, False
        self._refused_below = 0.0  # share of the calls, before more was tried

    @property
    def floor(self) -> float:
        """The share of the calls that is refused at any pace."""
        return self._noise.share

    @property
    def is_holding(self) -> bool:
        """The effect of a cut is awaited, so nothing may rise."""
        return self._cut is not None

    def check_cut(self, now: float) -> None:
        """A call is sent: conclude what can be concluded from the last cut."""
        cut = self._cut
        if cut is None:
            if self.rate.is_testing and now - self._raised_at > MINUTE:
                self._raised_at = now
                self.found.raise_rate(now)
            return
        seconds = now - self.evidence.since
        is_long_enough = seconds >= ANSWERS * self.evidence.answer_seconds
        if seconds > LONGEST_TEST or (is_long_enough and cut.log_odds(self.evidence, self.floor) < -SURE):
            self._conclude_cut(now, cut)

    def note_grant(self, now: float, permit: Permit) -> None:
        """A call was granted."""
        evidence = self.evidence
        evidence.add_grant(now, permit)
        if permit.number >= evidence.first and not evidence.refused:
            self.found.raise_width(permit.beside)

    def begin_test(self, now: float) -> None:
        """More than what is known is tried from now on, so what was refused before says nothing of it."""
        self._raised_at = now
        evidence = self.evidence
        self._refused_below = min(evidence.share, TOLERATED) if evidence.refused >= FEWEST else 0.0
        self._restart_evidence(now)

    def begin_anew(self, now: float) -> None:
        """What was counted before now says nothing of what comes."""
        self._restart_evidence(now)
        self._closures.begin_anew(now)

    # ---- refusals between calls that are granted

    def weigh_refusal(self, now: float) -> None:
        """A call was refused while others are granted."""
        evidence, cut = self.evidence, self._cut
        if cut is not None:
            is_long_enough = now - evidence.since >= ANSWERS * evidence.answer_seconds and evidence.refused >= MANY
            if is_long_enough and cut.log_odds(self.evidence, self.floor) > SURE:
                self._conclude_cut(now, cut)
        elif self.floor and evidence.falls_short_of(self.floor):
            self._noise.follow_cut(evidence, sigmas=SIGMAS)
            self._restart_evidence(now)
        elif self._is_beyond_chance:
            if not evidence.may_pass or self._curve_of(self._suspect).is_testing:
                self._cut_suspect(now)
        elif self.floor and evidence.sent * self.floor >= EXPECTED * 4:
            self._check_floor(now)

    @property
    def _is_beyond_chance(self) -> bool:
        """While more is tried, a single refusal is enough, if none came before and none comes by chance."""
        evidence = self.evidence
        if self.floor:
            return evidence.exceeds_chance(
                self._noise.expected, sigmas=MANY_SIGMAS if self.floor > TOLERATED else SIGMAS
            )
        if self._curve_of(self._suspect).is_testing:
            return evidence.exceeds_chance(Expected(self._refused_below), fewest=1)
        return evidence.exceeds_chance(Expected(TOLERATED))

    @property
    def _suspect(self) -> Suspect:
        """More calls a minute are more in flight too: what was just raised is the first suspect."""
        evidence, width = self.evidence, self.width
        if width.is_testing and evidence.fewest >= width.base:
            return Suspect.WIDTH
        return Suspect.RATE if self.rate.is_testing and not evidence.is_named else evidence.suspect

    def _curve_of(self, suspect: Suspect) -> SearchCurve:
        return self.width if suspect is Suspect.WIDTH else self.rate

    def _cut_suspect(self, now: float, before: Cut | None = None) -> None:
        """Go on at what was granted. before: a cut that did not help enough, whose old value is kept in mind."""
        evidence, suspect = self.evidence, self._suspect
        seconds = now - evidence.since
        self._cut = None
        curve = self._curve_of(suspect)
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
            self.found.cut_width(now, evidence, evidence.fewest)
        else:
            if before is None:
                self._is_passing = self._may_pass(now)
            if self._is_passing and not curve.is_testing:
                self.found.try_rate(cut.per_second * (1 - cut.depth))
            else:
                self._cut_rate_to_granted(now, cut, seconds)
        self._restart_evidence(now)
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
                minute = math.sqrt(rate.base * rate.value) * (1.0 - self.floor)
            elif rate.value > FAR * rate.base:
                minute = self._counts.per_second(now, self.found.horizon)
            self._closures.note_test(now)
            self.found.cut_rate(minute, MINUTE)
            return
        if rate.base < math.inf and seconds < LATELY:
            seconds = max(min(LATELY, now - self._closures.opened_at), seconds, SHORTEST_MEASURE)
            granted = self._counts.per_second(now, seconds)
        if self._closures.is_minute(minute, granted):
            self.found.wait_for_minute(minute, granted)
        else:
            self.found.cut_rate(granted, seconds)
        self.found.try_rate(cut.per_second * (1 - cut.depth))

    def _conclude_cut(self, now: float, cut: Cut) -> None:
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
            self._noise.follow_cut(evidence, sigmas=0.0 if cut.is_of_floor(self.floor) else PROBABLE)
            if cut.suspect is Suspect.RATE:
                self.rate.go_on_from(min(self.rate.base * BEGIN, cut.value))
                self._returned_at = now
            self._restart_evidence(now)
        elif share > min(MOST_CHANCE, cut.share / AS_OFTEN) or not is_slower:
            self._cut_suspect(now, cut)
        elif share < AS_OFTEN * cut.share and cut.suspect is Suspect.RATE:
            if now - self.evidence.since >= min(MANY_ANSWERS * self.evidence.answer_seconds, LONGEST_TEST):
                self._take_for_both(now, cut, share)
        elif cut.suspect is Suspect.RATE and LATELY < self.found.horizon > cut.seconds:
            self._cut_suspect(now, cut)  # too short for a window to be used up, which hides what is refused later
        else:
            self._take_for_chance(now, cut, share)

    def _take_for_both(self, now: float, cut: Cut, share: float) -> None:
        """The rate was a part of the cause, and chance is the other."""
        self._noise.replace_by(share, self.evidence)
        self._plan_check(share)
        self.rate.base = min(cut.base, cut.per_second * (1 - cut.share) / (1 - share))
        self.rate.patience = self.found.horizon
        self.rate.go_on_from(self.rate.base * BEGIN)
        self.found.has_met = True
        self._restart_evidence(now)

    def _take_for_chance(self, now: float, cut: Cut, share: float) -> None:
        """Slower calls, or fewer at once, were refused as often."""
        if not self.floor:
            self._check_every = CHECK_AFTER
        if self.evidence.exceeds_chance(self._noise.expected):
            self._noise.replace_by(share, self.evidence)
        else:
            self._noise.add_evidence(self.evidence)
        self._plan_check(share)
        curve = self._curve_of(cut.suspect)
        if cut.suspect is Suspect.WIDTH:
            curve.base = cut.base
        else:
            curve.base = cut.base if cut.base < math.inf else cut.per_second
            if share > CHANCE_FOR_SURE or cut.base == math.inf:
                curve.patience = QUICKEST
        curve.go_on_from(min(cut.value, curve.base))
        self._restart_evidence(now)

    def _plan_check(self, share: float) -> None:
        self._check_at = self._counts.sent + self._check_every * EXPECTED / share

    def _check_floor(self, now: float) -> None:
        """Now and then go slower, to see whether that brings fewer refusals after all."""
        evidence, rate = self.evidence, self.rate
        if evidence.exceeds_chance(self._noise.expected, sigmas=FEW_SIGMAS):
            self._cut_suspect(now)
            return
        if self._counts.sent < self._check_at:
            if not rate.is_testing:
                self._noise.add_evidence(self.evidence)
            self._restart_evidence(now)
            return
        self._check_every *= 2
        cut = Cut(Suspect.RATE, self.floor, evidence.sent_per_second(now), rate.value, rate.base)
        rate.base = min(cut.per_second * (1 - cut.depth), rate.value)
        rate.go_on_from(rate.base)
        self._restart_evidence(now)
        self._cut = cut

    def _restart_evidence(self, now: float) -> None:
        self.evidence.restart(now)
        self._cut = None

    def learn_closure(self, now: float, closure: Closure) -> None:
        """For a while, all was refused."""
        suspect = self._suspect
        if self._cut is not None and closure.seconds < SHORTEST_MEASURE:
            return  # what is refused by chance comes in rows too; the test shows whether it is
        is_learned = self._closures.learn_closure(now, closure, self.evidence, suspect)
        if is_learned or closure.seconds > SHORTEST_MEASURE:
            self._restart_evidence(now)  # what was refused in it did not come between granted calls

"""The limits known so far, and how far a refusal cuts them."""

import math

from arkbatch.limits.noise_floor import NoiseFloor
from arkbatch.limits.refusal_evidence import MINUTE, CallCounts, RefusalEvidence
from arkbatch.limits.search_curve import QUICKEST, SearchCurve

SHORTEST_MEASURE, LATELY = 1.0, 10.0  # s; over which granted calls are counted, at first and once a limit is known
FAR = 1.2  # times the base; refused so far above it, the base is not the limit
MARGIN = 0.985  # of what was granted
DEEPEST_CUT = 0.25  # of the rate; a window that is used up just after a cut looks as if nothing were granted
WIDER = 2.0  # times as many calls granted as were known to fit: more fit


class FoundLimits:
    """The rate and the width that the service grants, as known so far.

    rate: calls a second; width: calls in flight
    noise: what is refused at any pace; horizon: seconds that the window of the server may last, as closures show it
    has_met: a refusal has shown a limit of the rate; reason: one phrase, why the pace is what it is
    """

    def __init__(self, counts: CallCounts, rate: SearchCurve, width: SearchCurve, reason: str) -> None:
        self.rate, self.width, self.reason = rate, width, reason
        self.counts, self.noise = counts, NoiseFloor()
        self.has_met, self.horizon = False, LATELY
        self._beyond = 0  # calls granted with more than the known number beside them

    def cut_rate(self, granted: float, seconds: float, *, is_closure: bool = False) -> None:
        """So many calls a second were granted over so many seconds while others were refused."""
        rate = self.rate
        granted /= 1.0 - self.noise.share
        if rate.value < FAR * rate.base < math.inf:
            granted *= MARGIN
        known = min(rate.value, rate.base)
        if known < math.inf:
            granted = max(granted, known * DEEPEST_CUT)
        if rate.base < math.inf and rate.is_testing:
            granted = max(granted, rate.base)
        if seconds == MINUTE:  # while the pace rose, a minute measured too little of a shorter window
            rate.meet_limit(
                granted, granted, quick=MINUTE if is_closure and granted < FAR * rate.base else self.horizon
            )
        else:
            rate.meet_limit(
                min(granted, rate.value), granted, quick=seconds if is_closure else min(seconds, self.horizon)
            )
        self.has_met = True
        self.reason = f"the service refused more than {rate.base * 60:.0f} calls a minute"

    def try_rate(self, rate: float) -> None:
        """Go on so much slower for a while. What was sent while we stood still ourselves is no measure."""
        known = min(self.rate.value, self.rate.base)
        slowest = known * DEEPEST_CUT if known < math.inf else 0.0
        self.rate.go_on_from(min(self.rate.value, max(rate, slowest)))

    def wait_for_minute(self, minute: float, granted: float) -> None:
        """A sliding minute grants as unevenly as it was used: go as slowly for now, and back within a minute."""
        rate, value = self.rate, self.rate.value
        rate.meet_limit(minute, granted)
        rate.patience = MINUTE
        rate.go_on_from(min(max(granted, minute * DEEPEST_CUT), value, rate.base))

    def raise_rate(self, now: float) -> None:
        """More was tried for a minute, and no window is longer: what was granted in it is known to be granted."""
        rate = self.rate
        granted = min(self.counts.per_second(now) / (1 - self.noise.share), rate.value)
        if granted > rate.base:
            rate.base = granted
            rate.go_on_from(rate.value)

    def cut_width(self, now: float, evidence: RefusalEvidence, fewest: float) -> None:
        """With so few calls beside it a call was refused, so as many are granted."""
        width, self._beyond = self.width, 0
        if not evidence.is_named and not width.is_testing:
            self.rate.patience = QUICKEST  # the rate was perhaps cut for what the calls in flight did
        width.meet_limit(min(fewest, width.value), self.counts.per_second(now))
        self.reason = f"the service refused more than {width.base:.0f} calls at once"

    def raise_width(self, beside: int) -> None:
        """A call was granted beside so many, and none was refused: it shows at once that more fit, without a window."""
        width = self.width
        if beside < width.base or width.value < FAR * width.base:
            return
        self._beyond += 1
        if self._beyond >= WIDER * width.base:
            self._beyond = 0
            width.base = float(int(width.value))
            width.patience = QUICKEST
            width.go_on_from(width.base)

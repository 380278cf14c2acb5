"""A cut of the rate or of the calls in flight, as a test: does it bring far fewer refusals, or as large a share?

The two answers are weighed against each other after each call (Wald's sequential test), so that a test ends as soon as
one of them is far more likely.
"""

import math

from msgspec import Struct

from arkbatch.limits.refusal_evidence import RefusalEvidence, Suspect

FEWER, AS_OFTEN = 0.2, 0.7  # of the share before: the cut helped; at least so much is as often
SURE = 5.0  # logarithm of the odds at which a test ends


class Cut(Struct, frozen=True):
    """A cut whose effect is awaited.

    share: refused before it, of `per_second` calls, in so many `seconds`
    value, base: of the curve that was cut, as they were
    """

    suspect: Suspect
    share: float
    per_second: float
    value: float
    base: float
    seconds: float = math.inf

    @property
    def depth(self) -> float:
        """How deep it has to be to show whether so large a share of refusals depends on the rate."""
        return max(1 - (1 - self.share) * 0.85 if self.share > 0.1 else 0.0, min(2 * self.share, 0.1))

    def is_of_floor(self, floor: float) -> bool:
        """Return whether no more was refused than at any pace, so that the floor itself is tested."""
        return self.share * AS_OFTEN <= floor

    def log_odds(self, evidence: RefusalEvidence, floor: float) -> float:
        """Return how much better "as often as before" explains the refusals since the cut than "far fewer".

        floor: share of the calls that is refused at any pace
        """
        far_fewer = FEWER * self.share if self.is_of_floor(floor) else floor + FEWER * (self.share - floor)
        return evidence.refused * math.log(self.share / far_fewer) - evidence.sent * (self.share - far_fewer)

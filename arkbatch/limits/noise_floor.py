"""The noise floor: the share of the calls that a service refuses at any pace."""

import math

from arkbatch.limits.refusal_evidence import TOLERATED, Expected, RefusalEvidence

FLOOR_REFUSALS = 200.0  # that the floor is the average of


class NoiseFloor:
    """A share of the calls, and by how many calls it is known."""

    def __init__(self) -> None:
        self.share = 0.0
        self._calls = math.inf

    @property
    def expected(self) -> Expected:
        """What is refused by chance."""
        return Expected(max(self.share, TOLERATED), self._calls)

    def add_evidence(self, evidence: RefusalEvidence) -> None:
        """Average with what was refused lately without the rate being the cause."""
        known = min(self._calls, FLOOR_REFUSALS / self.share) if self.share else 0.0
        self._calls = known + evidence.sent
        self.share = (known * self.share + evidence.refused) / self._calls

    def follow_cut(self, evidence: RefusalEvidence, *, sigmas: float) -> None:
        """After a cut: of what is sent now less may be refused, so that less is refused at any pace."""
        if evidence.falls_short_of(self.share, sigmas=sigmas):
            self.replace_by(evidence.share, evidence)
        elif self.share:
            self.add_evidence(evidence)

    def replace_by(self, share: float, evidence: RefusalEvidence) -> None:
        """Forget what was known before this evidence."""
        self.share, self._calls = share, evidence.sent if share else math.inf

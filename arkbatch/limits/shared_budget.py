"""A budget that many workers share: together they never pass it.

A worker may commit no more than its share: what it has spent and what its calls in flight may still take. It asks for
more before a call that does not fit. A share that was granted stays charged until the worker gives it back, so a
worker that died leaves what it had not spent charged: its calls in flight may have been billed.

Amounts are whole numbers of the smallest unit that counts (tokens, or a billionth of the currency).
"""

from enum import StrEnum

from msgspec import Struct

STEP_SHARE = 20  # a worker is given at most this part of what is left beyond the call that it asks for


class BudgetAnswer(StrEnum):
    """What becomes of a wish for a larger share."""

    GRANTED = "granted"
    WAIT = "wait"  # others may give back what their calls turn out not to need
    USED_UP = "used up"


class _Share(Struct):
    """Of one attempt at a shard. `held`: what its calls in flight may still take at most."""

    attempt: int
    granted: int = 0
    spent: int = 0
    held: int = 0


class SharedBudget:
    """The shares, by shard.

    most: the whole budget; spent: what was recorded before the first share was granted
    """

    def __init__(self, most: int, spent: int = 0) -> None:
        self._most = most
        self._charged = spent  # by what is recorded, and by shares of workers that were lost
        self._shares: dict[int, _Share] = {}
        self._granted = self._spent = 0  # by all shares together

    @property
    def left(self) -> int:
        """What nobody holds."""
        return self._most - self._charged - self._granted

    @property
    def is_short(self) -> bool:
        """Whether workers should give back what they do not need for calls in flight."""
        return self.left * STEP_SHARE < self._most

    def begin_with(self, shard: int, spent: int) -> None:
        """What the records of a shard that is not finished have spent. Its next attempt reports this as its own."""
        self._put_share(shard, _Share(0, spent, spent))

    def change_budget(self, most: int) -> None:
        """Another budget from now on."""
        self._most = most

    def report_spending(self, shard: int, attempt: int, spent: int, held: int, *, gives_back: bool) -> int:
        """Note what an attempt has committed so far. Returns its share, from now on."""
        share = self._share_of(shard, attempt)
        self._spent += max(spent - share.spent, 0)
        share.spent, share.held = max(share.spent, spent), held
        if share.granted < share.spent:  # a call took more than was held for it
            self._granted += share.spent - share.granted
            share.granted = share.spent
        if gives_back and share.granted > share.spent + held:
            self._granted -= share.granted - share.spent - held
            share.granted = share.spent + held
        return share.granted

    def extend_share(self, shard: int, attempt: int, needed: int) -> BudgetAnswer:
        """Grant a share with room for a call that may take this much, and for some more where there is enough."""
        share = self._share_of(shard, attempt)
        missing = share.spent + share.held + needed - share.granted
        if missing <= 0:
            return BudgetAnswer.GRANTED
        if missing <= self.left:
            more = missing + (self.left - missing) // (STEP_SHARE * max(len(self._shares), 1))
            share.granted += more
            self._granted += more
            return BudgetAnswer.GRANTED
        others = (self._granted - share.granted) - (self._spent - share.spent)
        may_return = share.held + others
        return BudgetAnswer.WAIT if may_return > 0 else BudgetAnswer.USED_UP

    def end_attempt(self, shard: int, attempt: int, spent: int) -> None:
        """An attempt has ended in order: only what it spent stays charged."""
        share = self._share_of(shard, attempt)
        self._charged += max(share.spent, spent)
        self._take_away(shard)

    def lose_attempt(self, shard: int) -> None:
        """A worker died or was shut out: what it was granted and is not known to have spent stays charged.

        What it spent stands in the records, which the next attempt begins with and reports as its own.
        """
        share = self._shares.get(shard)
        if share is not None:
            self._charged += share.granted - share.spent
            self._put_share(shard, _Share(share.attempt, share.spent, share.spent))

    def _share_of(self, shard: int, attempt: int) -> _Share:
        share = self._shares.get(shard)
        if share is None:
            share = _Share(attempt)
            self._put_share(shard, share)
        elif share.attempt != attempt:
            self.lose_attempt(shard)
            share = self._shares[shard]
            share.attempt = attempt
        return share

    def _put_share(self, shard: int, share: _Share) -> None:
        self._take_away(shard)
        self._shares[shard] = share
        self._granted += share.granted
        self._spent += share.spent

    def _take_away(self, shard: int) -> None:
        share = self._shares.pop(shard, None)
        if share is not None:
            self._granted -= share.granted
            self._spent -= share.spent

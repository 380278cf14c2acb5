"""Input and output tokens a minute, each with its own limit.

Providers limit input and output apart, and Ark refuses traffic that has grown by more than three million tokens over
the minute before. Both are allowances beside that of all tokens: a call goes when each of them lets it. Nothing
here knows who waits.
"""

import math
from collections.abc import Iterable
from typing import Protocol

from msgspec import Struct

from arkbatch.limits.token_rate import WINDOW_SECONDS, TokenRate, Window

STEEPEST = 3_000_000.0  # tokens a minute more than in the minute before; what Ark calls a burst


class Tokens(Struct, frozen=True, gc=False):
    """The tokens of one call, `input` of which are input."""

    total: int = 0
    input: int = 0

    @property
    def output(self) -> int:
        return self.total - self.input


NO_TOKENS = Tokens()


class Allowance(Protocol):
    """What the limiter asks before a call, beside the limit of all tokens.

    The methods are synchronous, so that between the question and the spending nobody comes in between.
    """

    def ready_in(self, now: float, amount: Tokens) -> float:
        """Seconds until a call of this size may go, 0 when it may go now."""
        ...

    def spend_tokens(self, now: float, amount: Tokens) -> None:
        """Reserve the amount for a call that goes now."""
        ...

    def settle_tokens(self, now: float, granted_at: float, reserved: Tokens, used: Tokens) -> None:
        """Replace what was reserved at `granted_at` by what the call turned out to use."""
        ...

    def seconds_for(self, amount: Tokens) -> float:
        """How long the allowance takes to grant this much."""
        ...


class SplitTokenRates:
    """An allowance for input, one for output, either of which may be missing."""

    def __init__(self, given: TokenRate | None, generated: TokenRate | None) -> None:
        self._given = given
        self._generated = generated
        self._given_since = self._generated_since = -math.inf

    def change_limits(
        self, now: float, given: float | None, generated: float | None, used: Window, reserved: int
    ) -> None:
        """Other limits from now on. A part that had none does not know what it used so far: all that was used in the
        last minute, and all that is reserved for calls in flight, is taken for its own.
        """
        if given is None or self._given is None:
            self._given_since = now
        if generated is None or self._generated is None:
            self._generated_since = now
        self._given = _allowed(self._given, now, given, used, reserved)
        self._generated = _allowed(self._generated, now, generated, used, reserved)

    def ready_in(self, now: float, amount: Tokens) -> float:
        """A part of which the call takes nothing holds nobody back."""
        return max((budget.ready_in(now, part) for budget, part in self._parts(amount) if part), default=0.0)

    def spend_tokens(self, now: float, amount: Tokens) -> None:
        for budget, part in self._parts(amount):
            budget.spend_tokens(now, part)

    def settle_tokens(self, now: float, granted_at: float, reserved: Tokens, used: Tokens) -> None:
        if self._given is not None:
            was = reserved.input if granted_at >= self._given_since else reserved.total
            self._given.settle_tokens(now, max(granted_at, self._given_since), was, used.input)
        if self._generated is not None:
            was = reserved.output if granted_at >= self._generated_since else reserved.total
            self._generated.settle_tokens(now, max(granted_at, self._generated_since), was, used.output)

    def seconds_for(self, amount: Tokens) -> float:
        return max((budget.seconds_for(part) for budget, part in self._parts(amount)), default=0.0)

    def _parts(self, amount: Tokens) -> Iterable[tuple[TokenRate, int]]:
        if self._given is not None:
            yield self._given, amount.input
        if self._generated is not None:
            yield self._generated, amount.output


def _allowed(
    budget: TokenRate | None, now: float, limit: float | None, used: Window, reserved: int
) -> TokenRate | None:
    if limit is None:
        return None
    if budget is None:
        budget = TokenRate.with_past_use(used, limit, now)
        budget.spend_tokens(now, reserved)
    else:
        budget.change_limit(now, limit)
    return budget


class TokenGrowth:
    """No more in a minute than in the one before, and so many tokens."""

    def __init__(self, now: float, most: float = STEEPEST) -> None:
        self._most = most
        self._minute = Window(now, WINDOW_SECONDS, 1.0)
        self._two = Window(now, 2 * WINDOW_SECONDS, 1.0)

    def ready_in(self, now: float, amount: Tokens) -> float:
        self._minute.forget_old(now)
        self._two.forget_old(now)
        spent = self._minute.total
        allowed = self._most + self._two.total - spent
        return 0.0 if spent == 0 or spent + amount.total <= allowed else self._minute.edge - now

    def spend_tokens(self, now: float, amount: Tokens) -> None:
        self._minute.add(now, amount.total)
        self._two.add(now, amount.total)

    def settle_tokens(self, now: float, granted_at: float, reserved: Tokens, used: Tokens) -> None:
        self._minute.correct(now, granted_at, used.total - reserved.total)
        self._two.correct(now, granted_at, used.total - reserved.total)

    def seconds_for(self, amount: Tokens) -> float:
        del amount
        return 0.0

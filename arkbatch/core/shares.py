"""Input and output tokens a minute, each with a limit of its own, and how steeply all tokens may rise.

Providers limit input and output apart, and Ark refuses traffic that has grown by more than three million tokens over
the minute before. Both are allowances beside that of all tokens: a call goes when each of them lets it. The gate
counts tokens as one number, so that number carries its input along. Nothing here knows who waits.
"""

from collections.abc import Iterable
from typing import Self

from arkbatch.core.budget import WINDOW_SECONDS, Budget, Window

STEEPEST = 3_000_000.0  # tokens a minute more than in the minute before; what Ark calls a burst


class Tokens(int):
    """So many tokens, `input` of which are input."""

    input: int

    @classmethod
    def of(cls, given: int, generated: int) -> Self:
        tokens = cls(given + generated)
        tokens.input = given
        return tokens


class Shares:
    """An allowance for input, one for output, either of which may be missing."""

    def __init__(self, given: Budget | None, generated: Budget | None) -> None:
        self._given = given
        self._generated = generated

    def ready_in(self, now: float, amount: int) -> float:
        """A part of which the call takes nothing holds nobody back."""
        return max((budget.ready_in(now, part) for budget, part in self._parts(amount) if part), default=0.0)

    def spend(self, now: float, amount: int) -> None:
        for budget, part in self._parts(amount):
            budget.spend(now, part)

    def settle(self, now: float, granted_at: float, reserved: int, used: int) -> None:
        for (budget, was), (_, part) in zip(self._parts(reserved), self._parts(used), strict=True):
            budget.settle(now, granted_at, was, part)

    def pause(self, until: float) -> None:
        for budget, _ in self._parts(0):
            budget.pause(until)

    def seconds_for(self, amount: int) -> float:
        return max((budget.seconds_for(part) for budget, part in self._parts(amount)), default=0.0)

    def _parts(self, amount: int) -> Iterable[tuple[Budget, int]]:
        """A plain number is of a call that was never sent, and used nothing."""
        given = amount.input if isinstance(amount, Tokens) else 0
        if self._given is not None:
            yield self._given, given
        if self._generated is not None:
            yield self._generated, amount - given


class Slope:
    """No more in a minute than in the one before, and so many tokens."""

    def __init__(self, now: float, most: float = STEEPEST) -> None:
        self._most = most
        self._minute = Window(now, WINDOW_SECONDS, 1.0)
        self._two = Window(now, 2 * WINDOW_SECONDS, 1.0)

    def ready_in(self, now: float, amount: int) -> float:
        self._minute.turn(now)
        self._two.turn(now)
        spent = self._minute.total
        allowed = self._most + self._two.total - spent
        return 0.0 if spent == 0 or spent + amount <= allowed else self._minute.edge - now

    def spend(self, now: float, amount: int) -> None:
        self._minute.add(now, amount)
        self._two.add(now, amount)

    def settle(self, now: float, granted_at: float, reserved: int, used: int) -> None:
        self._minute.correct(now, granted_at, used - reserved)
        self._two.correct(now, granted_at, used - reserved)

    def pause(self, until: float) -> None:
        """It forbids nothing by itself; the budget of all tokens does."""

    def seconds_for(self, amount: int) -> float:
        del amount
        return 0.0

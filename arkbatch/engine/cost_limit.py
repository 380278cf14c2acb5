"""Keeps a run within a budget of money or tokens.

What was recorded and what calls in flight may cost at most stay below the limit together. A call that does not fit
waits for others to end, since most cost less than they may; when none is in flight and the next still does not fit,
the budget is used up. What a call may cost at most: see `call_ceiling`. Where its request names no limit of output, the
longest answer so far stands for it, and then the budget can be passed by as much as a call in flight outdoes that.
Rows with audio or video: see `media_costs`.

The amounts of past sessions come from the records, so the limit holds for the run and not for the session. Calls that
were under way when a process was killed have no record and are not counted.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_UP, Decimal

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.core.row import Row, Size
from arkbatch.core.usage import Usage, total_tokens
from arkbatch.engine.call_ceiling import HOW_TO_PRICE, CallCeilings, CostReservation
from arkbatch.engine.media_costs import MediaCosts
from arkbatch.journal.ledger import Ledger
from arkbatch.pricing.amounts import ZERO, Cost, Unknown, amount_text
from arkbatch.pricing.run_cost import Bill, lane_of
from arkbatch.pricing.tariff import cost_of

SOME_MORE = Decimal("1.1")
UNITS = 10**9  # parts of a currency in which shares of a budget are counted

MAX_COST, MAX_TOKENS = "max_cost", "max_tokens"


class CostLimit:
    """Asked before each call of a session, and told what it took.

    spent, tokens: so far, earlier sessions included
    """

    def __init__(self, job: Job, ledger: Ledger, bill: Bill, wall: Callable[[], float]) -> None:
        limits = job.limits
        self._most_cost = None if limits.max_cost is None else Decimal(str(limits.max_cost))
        self._most_tokens = limits.max_total_tokens
        self._bill = bill
        self._wall = wall
        self.currency = "" if self._most_cost is None else _currency_of_job(job, bill, wall())
        self.spent = bill.total_cost().amounts.get(self.currency, ZERO)
        self.tokens = total_tokens(tally.usage for tally in ledger.tallies)
        self._held = CostReservation(ZERO, 0)
        self._in_flight = 0
        self._media = MediaCosts(images_too=not job.at_ark)
        self._ceilings = CallCeilings(bill, wall, self.currency, self._media)
        self._closed = False
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._whole = (self._most_cost, self._most_tokens)
        self._is_shared = self._share_is_used_up = False
        self._missing: CostReservation | None = None  # a call for which the share has no room
        self.share_is_short: Callable[[], None] = lambda: None

    async def admit(self, row: Row, size: Size, expected: int) -> CostReservation | Cause | None:
        """Wait until the call fits. A cause: it never will; None: `close` was called. `expected`: output tokens."""
        hold = self._ceilings.ceiling_of(row, size, expected)
        if isinstance(hold, Cause):
            return hold
        if self._waiting:
            await self._wait_in_line(first=False)
        while not self._closed:
            if self._media.must_wait(hold.media):
                await self._wait_in_line(first=True)
                raised = self._ceilings.ceiling_of(row, size, expected)
                if isinstance(raised, Cause):
                    return raised
                hold = raised
                continue
            over = self._exceeded_budget(hold)
            if over is None:
                self._take(hold)
                self._wake_first()  # there may be room for the next as well
                return hold
            if self._is_shared and not self._share_is_used_up:
                self._missing = hold
                self.share_is_short()
            elif not self._in_flight:
                return self._used_up(over, hold)
            await self._wait_in_line(first=True)
        return None

    def admit_now(self, row: Row, size: Size, expected: int) -> CostReservation | None:
        """The same for a call that can be done without: None when it does not fit at once."""
        hold = self._ceilings.ceiling_of(row, size, expected)
        if self._closed or self._waiting or isinstance(hold, Cause) or self._exceeded_budget(hold) is not None:
            return None
        if self._media.must_wait(hold.media):
            return None
        self._take(hold)
        return hold

    async def _wait_in_line(self, *, first: bool) -> None:
        """In line, so that a large call is not passed by small ones for ever."""
        bell: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._waiting.appendleft if first else self._waiting.append)(bell)
        await bell

    def settle(
        self, hold: CostReservation, row: Row, usage: Usage, *, model: str, service_tier: str, answered: bool
    ) -> None:
        """The call ended. One that was answered and did not count its tokens is taken to have used all it might."""
        self._held = CostReservation(self._held.cost - hold.cost, self._held.tokens - hold.tokens)
        self._in_flight -= 1
        cost, tokens = ZERO, total_tokens((usage,))
        if usage:
            self._ceilings.note_answer(hold, usage.get("output", 0))
            self.tokens += tokens
            cost = self._cost_of_call(hold, row, usage, model, service_tier)
            self.spent += cost
        elif answered:
            self.tokens += hold.tokens
            self.spent += hold.cost
        self._media.note_end(hold.media, cost, tokens)
        self._wake_first()

    def allow(self, most_cost: float) -> None:
        """Another budget of money from now on, where there is one. Less than is spent ends the run as any other."""
        self._most_cost = Decimal(str(most_cost))
        self._whole = (self._most_cost, self._most_tokens)
        self._wake_first()

    @property
    def spent_text(self) -> str:
        """What is spent, in money."""
        return f"{amount_text(self.spent)} {self.currency}"

    def suggested_budget(self, code: str) -> Decimal:
        """A budget with which the next session goes on, after this one ended for want of it.

        That begins with a row that has asked in this one, and knows no answers yet by which it could be judged to be
        short. What ended may be judged dearer by then, at another time of the day: hence some more.
        """
        if code == MAX_TOKENS:
            given = Decimal(self._whole[1] or 0)
            least = Decimal(self.tokens + self._ceilings.most_tokens())
        else:
            given = self._whole[0] or ZERO
            least = self.spent + self._ceilings.most_cost()
        return max(2 * given, _rounded_up(least * SOME_MORE))

    # ---- a share of a budget that other workers hold shares of too

    def begin_sharing(self, share_is_short: Callable[[], None]) -> None:
        """From now on the budget is what `allow_share` says. `share_is_short` is called when a call does not fit."""
        self._is_shared, self.share_is_short = True, share_is_short
        self.allow_share(0, used_up=False)

    def committed(self) -> tuple[int, int]:
        """What is spent, and what calls in flight may still take, in the smallest unit that counts."""
        if self._most_cost is None:
            return self.tokens, self._held.tokens
        return _to_units(self.spent), _to_units(self._held.cost)

    def needed(self) -> int:
        """What the first call in line may take; 0 when none waits for the budget."""
        if self._missing is None:
            return 0
        return self._missing.tokens if self._most_cost is None else _to_units(self._missing.cost)

    def allow_share(self, share: int, *, used_up: bool) -> None:
        """This worker's part from now on. used_up: a larger part will never come."""
        if self._most_cost is None:
            self._most_tokens = share
        else:
            self._most_cost = Decimal(share) / UNITS
        if used_up:
            self._share_is_used_up = True
        if self._missing is not None and (used_up or self._exceeded_budget(self._missing) is None):
            self._missing = None
            self._wake_first()

    def close(self) -> None:
        """Let nobody wait any more."""
        self._closed = True
        self._wake_first()

    def _take(self, hold: CostReservation) -> None:
        self._held = CostReservation(self._held.cost + hold.cost, self._held.tokens + hold.tokens)
        self._in_flight += 1
        self._media.note_start(hold.media)

    def _exceeded_budget(self, hold: CostReservation) -> str | None:
        """The budget into which this call does not fit now."""
        most_cost, most_tokens = self._most_cost, self._most_tokens
        if most_cost is not None and self.spent + self._held.cost + hold.cost > most_cost:
            return MAX_COST
        if most_tokens is not None and self.tokens + self._held.tokens + hold.tokens > most_tokens:
            return MAX_TOKENS
        return None

    def _used_up(self, code: str, hold: CostReservation) -> Cause:
        if code == MAX_COST:
            amounts = (self._whole[0] or ZERO, self.spent, hold.cost)
            most, spent, next_call = (f"{amount_text(each)} {self.currency}" for each in amounts)
        else:
            most, spent, next_call = (f"{each or 0:,} tokens" for each in (self._whole[1], self.tokens, hold.tokens))
        flag = "--" + code.replace("_", "-")
        return Cause(
            Kind.BILLING,
            code,
            f"the budget of {most} ends here: {spent} are spent, and the next call may take up to {next_call}",
            f"Run the same command with {flag} {plain_amount(self.suggested_budget(code))} or more; "
            "what is recorded is not sent again.",
        )

    def _cost_of_call(self, hold: CostReservation, row: Row, usage: Usage, model: str, service_tier: str) -> Decimal:
        if self._most_cost is None:
            return ZERO
        tariff = self._bill.tariff_of(model, lane_of(row.endpoint), service_tier, row.asked_model)
        cost = cost_of(tariff, usage, datetime.fromtimestamp(self._wall(), UTC))
        return cost.amount if isinstance(cost, Cost) and cost.currency == self.currency else hold.cost

    def _wake_first(self) -> None:
        while self._waiting:
            bell = self._waiting.popleft()
            if not bell.done():
                bell.set_result(None)
                if not self._closed:
                    return


def build_cost_limit(job: Job, ledger: Ledger, bill: Bill | None, wall: Callable[[], float]) -> CostLimit | None:
    """The keeper of the job's budget, None when it has none. UsageError: the budget could not be held."""
    if bill is None or (job.limits.max_cost is None and job.limits.max_total_tokens is None):
        return None
    return CostLimit(job, ledger, bill, wall)


def _currency_of_job(job: Job, bill: Bill, now: float) -> str:
    """The currency of the job's model."""
    cost = bill.total_cost()
    if cost.unpriced:
        raise UsageError(
            f"--max-cost cannot hold: {cost} in the records so far ({bill.no_price_reason}). {HOW_TO_PRICE}"
        )
    tier = job.defaults.get("service_tier")
    tariff = bill.tariff_of(job.model, lane_of(job.endpoint), tier if isinstance(tier, str) else "")
    known = tariff if isinstance(tariff, Unknown) else tariff.highest_cost(1, 1, datetime.fromtimestamp(now, UTC))
    if isinstance(known, Unknown):
        raise UsageError(f"--max-cost cannot hold: {known.reason}. {HOW_TO_PRICE}")
    if others := cost.amounts.keys() - {known.currency}:
        raise UsageError(
            f"--max-cost is in {known.currency}, and this run has cost {min(others)} too: use --max-tokens"
        )
    return known.currency


def _to_units(amount: Decimal) -> int:
    """An amount in the smallest unit of shared budgets, rounded up."""
    return int((amount * UNITS).to_integral_value(rounding=ROUND_UP))


def plain_amount(amount: Decimal) -> str:
    """As it is given on a command line."""
    return f"{amount.normalize():f}"


def _rounded_up(amount: Decimal) -> Decimal:
    """To two digits."""
    return amount.quantize(Decimal(1).scaleb(amount.adjusted() - 1), rounding=ROUND_UP) if amount else amount

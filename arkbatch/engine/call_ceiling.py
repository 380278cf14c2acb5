"""The most that one call may cost, counted before it is sent.

Input is counted from the bytes of the request, since no token is shorter than one. Output is the request's own limit;
without one, or where thinking is billed on top of it, the longest answer so far stands for it.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Struct

from arkbatch.core.calls import Cause, Kind
from arkbatch.core.row import Body, Row, Size
from arkbatch.engine.media_costs import MediaCosts, MediaKey
from arkbatch.pricing.amounts import ZERO, Unknown
from arkbatch.pricing.billed_usage import FREE
from arkbatch.pricing.run_cost import Bill, lane_of
from arkbatch.pricing.tariff import Tariff

FRAME = 500  # tokens around a request, and then some: at most 97 were seen
PART = 6000  # an image takes 5120 at most
UNSEEN = 4096  # Ark's own limit of output where a request names none; thinking is beside it
MIN_ANSWERS = 20  # answers, after which the longest of them stands for what may come
NO_PRICE = "no_price"
HOW_TO_PRICE = (
    "Give the price with --prices FILE, as [[model]] with family, currency and price.online = { input, output }, "
    'or say what an endpoint id stands for: [map] "ep-..." = "doubao-seed-1.6".'
)


class CostReservation(Struct, frozen=True, gc=False):
    """What one call may take at most.

    answered: output tokens in it; media: what kind of media is in the row, of which nothing foretells the tokens
    """

    cost: Decimal
    tokens: int
    answered: int = 0
    media: MediaKey | None = None


class _Largest(Struct):
    """The most input and the most output that rows of one kind may take; `row` is one of them."""

    row: Row
    given: int
    answered: int


def most_input_tokens(size: Size) -> int:
    """The most input tokens that a request of this size may have."""
    return FRAME + size.narrow + 3 * size.wide + PART * size.parts


class CallCeilings:
    """The most that calls of one session may take, by their requests and by the answers so far.

    currency: of the budget, "" where it counts tokens alone
    """

    def __init__(self, bill: Bill, wall: Callable[[], float], currency: str, media: MediaCosts) -> None:
        self._bill = bill
        self._wall = wall
        self._currency = currency
        self._media = media
        self._longest = self._answers = 0
        self._ceilings_hold = True
        self._largest: dict[tuple[str, str, str], _Largest] = {}

    def note_answer(self, hold: CostReservation, output: int) -> None:
        """Learn from the output tokens of a call that was held as `hold`."""
        self._longest = max(self._longest, output)
        self._ceilings_hold &= output <= hold.answered  # else reasoning is billed beside the limit of output
        self._answers += 1

    def most_tokens(self) -> int:
        """The most tokens that any row so far might have taken."""
        return max((each.given + each.answered for each in self._largest.values()), default=0)

    def most_cost(self) -> Decimal:
        """The most money that any row so far might have taken, by the prices of now."""
        costs = [self._highest_cost(each.row, each.given, each.answered) for each in self._largest.values()]
        return max((cost for cost in costs if isinstance(cost, Decimal)), default=ZERO)

    def ceiling_of(self, row: Row, size: Size, expected: int) -> CostReservation | Cause:
        """The most that the call may take. A cause: that cannot be priced. `expected`: output tokens."""
        if row.endpoint in FREE:
            return CostReservation(ZERO, 0)
        given = most_input_tokens(size)
        answered, at_first = self._longest_answer(row.body, size, expected)
        self._note_highest(row, given, at_first)
        media = self._media.key_of(row, size.parts)
        cost, tokens = self._highest_cost(row, given, answered), given + answered
        if isinstance(cost, Cause):
            return cost
        if media is not None:
            cost, tokens = self._media.raised_ceiling(media, cost, tokens)
        return CostReservation(cost, tokens, answered, media)

    def _highest_cost(self, row: Row, given: int, answered: int) -> Decimal | Cause:
        """What the call may cost at most, where a budget of money asks for it."""
        if not self._currency:
            return ZERO
        tariff = self._tariff_of_row(row)
        if isinstance(tariff, Unknown):
            return _no_price(tariff.reason)
        at = datetime.fromtimestamp(self._wall(), UTC)
        window = tariff.version_on(at).brackets[-1].to_input if tariff.version_on(at).brackets else given
        cost = tariff.highest_cost(min(given, window), answered, at)
        if isinstance(cost, Unknown):
            return _no_price(cost.reason)
        if cost.currency != self._currency:
            return _no_price(f"row {row.number} is billed in {cost.currency}, and the budget is in {self._currency}")
        return cost.amount

    def _longest_answer(self, body: Body, size: Size, expected: int) -> tuple[int, int]:
        """Output tokens, as far as is known by now; and as a session takes it that knows no answers yet."""
        ceiling = size.ceiling
        if ceiling is not None and self._ceilings_hold and _is_output_bounded(body, ceiling):
            return ceiling, ceiling
        known = max(ceiling or 0, self._longest, expected)
        at_first = max(known, UNSEEN)
        return known if self._answers >= MIN_ANSWERS else at_first, at_first

    def _note_highest(self, row: Row, given: int, answered: int) -> None:
        """Remember the most that any row of its kind has asked for."""
        kind = (row.endpoint, row.asked_model, str(row.body.get("service_tier")))
        most = self._largest.get(kind)
        if most is None:
            self._largest[kind] = _Largest(row, given, answered)
        else:
            most.given, most.answered = max(most.given, given), max(most.answered, answered)

    def _tariff_of_row(self, row: Row) -> Tariff | Unknown:
        tier = row.body.get("service_tier")
        tier = tier if isinstance(tier, str) else ""
        return self._bill.tariff_of(row.asked_model, lane_of(row.endpoint), tier, row.asked_model)


def _is_output_bounded(body: Body, ceiling: int) -> bool:
    """Whether the request's limit of output bounds all that is billed: `max_tokens` does not count the thinking."""
    thinking = body.get("thinking")
    silent = isinstance(thinking, dict) and thinking.get("type") == "disabled"
    return not ceiling or silent or body.get("max_completion_tokens") is not None


def _no_price(reason: str) -> Cause:
    return Cause(Kind.BILLING, NO_PRICE, f"--max-cost cannot hold: {reason}", HOW_TO_PRICE)

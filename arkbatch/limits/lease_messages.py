"""What workers and the holder of the shared limits say to each other about leases.

All times are seconds from or until the moment of the message, so clocks of different machines are never compared.
"""

from collections.abc import Sequence

from msgspec import Struct

from arkbatch.core.calls import Scope
from arkbatch.limits.shared_budget import BudgetAnswer

SHORTEST_CHUNK, LONGEST_CHUNK = 0.25, 1.0  # s that one lease stands for; a worker asks as often
UNLIMITED = 1 << 53  # stands for "no limit" in an amount; also JavaScript can read it


class Amounts(Struct, frozen=True, omit_defaults=True):
    """Calls, and the tokens that they reserve or used."""

    requests: int = 0
    tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class SharedLimits(Struct, frozen=True, omit_defaults=True):
    """The limits of all workers together. None: no such limit. `budget` in the smallest unit that counts."""

    concurrency: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    output_tokens_per_minute: float | None = None
    budget: int | None = None


class LeaseReport(Struct, frozen=True, omit_defaults=True):
    """A lease is over: what the calls sent under it had reserved, and when the last of them started."""

    lease: int
    used: Amounts = Amounts()
    seconds_ago: float = 0.0


class Settlement(Struct, frozen=True, omit_defaults=True):
    """Calls that were sent under a lease have ended: what they used beyond what they reserved, or less (negative)."""

    lease: int
    difference: Amounts = Amounts()


class LoadRefusal(Struct, frozen=True, omit_defaults=True):
    """The service refused a call for the load. `retry_after`: the wait that it asked for."""

    scope: Scope
    sent_seconds_ago: float = 0.0
    retry_after: float | None = None


class LeaseRequest(Struct, frozen=True, omit_defaults=True):
    """What a worker tells and asks about once a second.

    shard, attempt: for which it works; first: of the first call in line, less than that is of no use
    wanted: what it could send in a second; places: calls at once that it could use
    answered: calls that the service answered, or refused as wrong, since the last message
    is_away: this worker finds the service away
    spent, held: of the budget; needed: what a call may take that does not fit into its share
    gives_back: it needs no more of the budget than it has committed
    """

    worker: str
    shard: int
    attempt: int
    wanted: Amounts = Amounts()
    first: Amounts = Amounts()
    in_flight: int = 0
    places: int = 0
    reports: Sequence[LeaseReport] = ()
    settlements: Sequence[Settlement] = ()
    refusals: Sequence[LoadRefusal] = ()
    answered: int = 0
    is_away: bool = False
    spent: int = 0
    held: int = 0
    needed: int = 0
    gives_back: bool = False


class Lease(Struct, frozen=True, omit_defaults=True):
    """A share of the limits.

    lease: its number, 0 if nothing was granted; then `starts_in` says when to ask again
    starts_in, ends_in: seconds after this message; places: calls in flight at most, until the next message
    budget: the share of the budget, None without one; budget_answer: to a wish for more
    is_fenced: another worker has this shard now, stop
    """

    lease: int = 0
    starts_in: float = 0.0
    ends_in: float = 0.0
    granted: Amounts = Amounts()
    places: int = 0
    budget: int | None = None
    budget_answer: BudgetAnswer | None = None
    budget_is_short: bool = False
    is_fenced: bool = False
    reason: str = ""

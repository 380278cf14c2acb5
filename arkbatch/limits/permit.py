"""What a call asks of the limiter, and the permit that it gets."""

from msgspec import Struct

from arkbatch.core.row import Row, Size
from arkbatch.limits.slow_calls import CallInFlight
from arkbatch.limits.token_estimator import Estimator
from arkbatch.limits.token_split import Tokens


class Demand(Struct, frozen=True, gc=False):
    """What one call asks of the limits. `tokens`: the estimate."""

    row: Row
    size: Size
    tokens: Tokens
    estimator: Estimator


class Permit(Struct, frozen=True, gc=False):
    """Leave to send one call, granted at this loop time.

    flight: watched for slowness, None where that is not
    number: of all calls, in the order of sending; beside: other calls in flight then
    """

    at: float
    demand: Demand
    flight: CallInFlight | None
    number: int = 0
    beside: int = 0

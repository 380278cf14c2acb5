"""The limits a minute that the user gave or a provider publishes.

A call goes when each of them allows it, and is counted in each. A limit that changes during a session holds for the
minute before the change too, so that no minute passes the limit of its end: after a lower one, nobody goes until that
minute keeps it.
"""

from collections.abc import Sequence

from arkbatch.limits.rate_meter import LimitedBy, RateMeter
from arkbatch.limits.request_rate import RequestRate
from arkbatch.limits.token_rate import TokenRate
from arkbatch.limits.token_split import Allowance, SplitTokenRates, Tokens
from arkbatch.limits.wait_queue import NO_OBSTACLE, Obstacle


class GivenLimits:
    """Request rate, token rate and further shares of the same tokens.

    meter: what went through in the last minute, whoever granted it
    requests_per_minute, tokens: None for no such limit
    shares: more limits on the same tokens
    """

    def __init__(
        self,
        meter: RateMeter,
        requests_per_minute: float | None = None,
        tokens: TokenRate | None = None,
        shares: Sequence[Allowance] = (),
    ) -> None:
        self._meter = meter
        self._requests = None if requests_per_minute is None else RequestRate(requests_per_minute, meter.sent)
        self._tokens = tokens
        self._shares = shares

    @property
    def counts_tokens(self) -> bool:
        """Whether small calls may go where large ones have to wait."""
        return self._tokens is not None or bool(self._shares)

    def find_obstacle(self, now: float, tokens: Tokens) -> Obstacle:
        """Seconds to wait and what for; `NO_OBSTACLE` when a call of this size may go now."""
        if self._tokens is not None and (wait := self._tokens.ready_in(now, tokens.total)) > 0:
            return wait, LimitedBy.TOKENS
        for share in self._shares:
            if (wait := share.ready_in(now, tokens)) > 0:
                return wait, LimitedBy.TOKENS
        if self._requests is not None and (wait := self._requests.ready_in(now)) > 0:
            return wait, LimitedBy.REQUESTS
        return NO_OBSTACLE

    def spend_tokens(self, now: float, tokens: Tokens) -> None:
        """Count a call that goes now."""
        if self._requests is not None:
            self._requests.take()
        if self._tokens is not None:
            self._tokens.spend_tokens(now, tokens.total)
        for share in self._shares:
            share.spend_tokens(now, tokens)

    def settle_tokens(self, now: float, granted_at: float, reserved: Tokens, used: Tokens) -> None:
        """Correct what was reserved for a call to what it used."""
        if self._tokens is not None:
            self._tokens.settle_tokens(now, granted_at, reserved.total, used.total)
        for share in self._shares:
            share.settle_tokens(now, granted_at, reserved, used)

    def seconds_for(self, tokens: Tokens) -> float:
        """How long the scarcest allowance takes to grant this much."""
        seconds = 0.0 if self._tokens is None else self._tokens.seconds_for(tokens.total)
        for share in self._shares:
            seconds = max(seconds, share.seconds_for(tokens))
        return seconds

    def allowed_in(self, now: float) -> float:
        """Seconds until they allow a call of no tokens."""
        parts = self._parts
        return max(
            self._requests.room_in(now) if self._requests is not None else 0.0,
            self._tokens.ready_in(now, 1) if self._tokens is not None else 0.0,
            parts.ready_in(now, Tokens(2, 1)) if parts is not None else 0.0,
        )

    def change_requests(self, now: float, per_minute: float | None) -> None:
        """Set another limit of requests a minute from now on."""
        if per_minute is None:
            self._requests = None
        elif self._requests is None or per_minute != self._requests.per_minute:
            self._requests = RequestRate(per_minute, self._meter.sent, changed_at=now)

    def change_tokens(self, now: float, per_minute: float | None, reserved: int) -> None:
        """Set another limit of tokens a minute from now on. `reserved`: tokens of the calls in flight."""
        if per_minute is None:
            self._tokens = None
        elif self._tokens is not None:
            self._tokens.change_limit(now, per_minute)
        else:
            self._tokens = TokenRate.with_past_use(self._meter.used, per_minute, now)
            self._tokens.spend_tokens(now, reserved)

    def change_parts(self, now: float, given: float | None, generated: float | None, reserved: int) -> None:
        """Set other limits of input and of output tokens a minute from now on."""
        parts = self._parts
        if parts is None:
            parts = SplitTokenRates(None, None)
            self._shares = [parts, *self._shares]
        parts.change_limits(now, given, generated, self._meter.used, reserved)

    @property
    def _parts(self) -> SplitTokenRates | None:
        return next((share for share in self._shares if isinstance(share, SplitTokenRates)), None)

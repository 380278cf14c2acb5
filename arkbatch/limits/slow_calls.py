"""Which calls take far longer than is usual, by what the run itself has seen.

A call is compared with similar calls: to the same endpoint and model, streamed or not, of about the same size, since a
long text takes longer than a label. What is compared is the time without data: all of the time for an answer that comes
in one piece, the longest gap for a streamed one, so that a long answer whose parts keep coming is not slow.

A slow call has been silent for `FACTOR` times as long as 95 % of the similar calls were. The 99 % quantile would be
nearer to what "slow" means, but where one call in a hundred is slow, that quantile is a slow call itself. No call is
slow while there are few similar ones, or while more of them are in flight than have ended, since the quick ones end
first. Only the last thousand calls count, so that a service that changes is followed.

Pure: `now` comes in, in seconds on the caller's clock. What follows from a slow call is decided in `engine`.
"""

import math
from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from arkbatch.core.row import Size
from arkbatch.core.text import count_text, duration_text

QUANTILE = 0.95
FACTOR = 3.0
MIN_SILENCE = 5.0  # s; a shorter silence is never slow
MIN_CALLS = 50  # similar calls that have ended; three of them are beyond the quantile
REMEMBERED = 1000  # calls
MAX_GROUPS = 64  # of similar calls, some 30 KB each
SMALL, PART = 256, 3000  # characters: up to this many make no difference; what an image is worth
HEDGED_SHARE = 0.05  # of the calls may be made a second time
MIN_SAVED = 10.0  # second calls that may always be saved up, since slow calls come in bunches

Key = tuple[str, str, bool, int]  # endpoint, model, streamed, doublings of the request


def doublings(size: Size) -> int:
    """Return about how large a request is, as a power of two of its characters.

    Estimated tokens would change while they are learned, and the first calls of a run would be similar to none.
    """
    return (SMALL + size.narrow + 2 * size.wide + PART * size.parts).bit_length()


class SlowCall(Struct, frozen=True, gc=False):
    """A slow call, as people are told of it. since: unix time of its last data; usual: median silence in seconds."""

    row: int
    since: float
    usual: float


class SimilarCalls:
    """How long similar calls were silent. `in_flight`: how many were in flight when they were last counted.

    The last durations are kept as they are, since finding their bucket in a histogram would take longer.
    """

    __slots__ = ("_lately", "_limit", "_look_again_at", "_seen", "_usual", "in_flight")

    def __init__(self) -> None:
        self._lately: deque[float] = deque(maxlen=REMEMBERED)
        self._seen = self._look_again_at = 0
        self._limit = math.inf
        self._usual = 0.0
        self.in_flight = 0

    def add_silence(self, seconds: float) -> None:
        """Count a call that ended. `seconds`: its longest silence."""
        self._lately.append(seconds)
        self._seen += 1

    @property
    def limit(self) -> float:
        """Seconds of silence after which a call is slow; infinite while that is not known."""
        if self._seen < MIN_CALLS or self._seen < self.in_flight:
            return math.inf
        self._update_limit()
        return self._limit

    @property
    def usual(self) -> float:
        """Median silence in seconds."""
        self._update_limit()
        return self._usual

    def _update_limit(self) -> None:
        """Sort the durations again after each twentieth call: to sort a thousand takes a while."""
        if self._seen < self._look_again_at or not self._seen:
            return
        lately = sorted(self._lately)
        self._limit = max(MIN_SILENCE, FACTOR * lately[int(len(lately) * QUANTILE)])
        self._usual = lately[len(lately) // 2]
        self._look_again_at = self._seen + max(1, len(lately) // 20)


class CallInFlight(Struct, eq=False, gc=False):
    """A call in flight. heard_at: when its last data came, or when it was sent; told: it was reported as slow."""

    row: int
    sent_at: float
    heard_at: float
    similar: SimilarCalls
    longest: float = 0.0
    told: bool = False

    def note_data(self, now: float) -> None:
        """Note that a part of the answer came."""
        self.longest = max(self.longest, now - self.heard_at)
        self.heard_at = now

    def learn_silence(self, now: float) -> None:
        """Count the longest silence of a call that ended."""
        self.similar.add_silence(max(self.longest, now - self.heard_at))


class CallsInFlight:
    """All calls in flight, in the order in which they were sent. It is on the path of each row."""

    def __init__(self) -> None:
        self._peers: dict[Key, SimilarCalls] = {}
        self._flying: dict[CallInFlight, None] = {}

    def add_call(self, now: float, row: int, key: Key) -> CallInFlight:
        peers = self._peers.get(key)
        if peers is None:
            peers = self._add_group(key)
        flight = CallInFlight(row, now, now, peers)
        self._flying[flight] = None
        return flight

    def remove_call(self, flight: CallInFlight) -> None:
        """Forget a call that ended in any way."""
        del self._flying[flight]

    def slow_calls(self, now: float) -> list[CallInFlight]:
        """Return the slow calls, the one sent first at the beginning."""
        for peers in self._peers.values():
            peers.in_flight = 0
        for flight in self._flying:
            flight.similar.in_flight += 1
        return [flight for flight in self._flying if now - flight.heard_at > flight.similar.limit]

    def next_in(self, now: float) -> float:
        """Return the seconds until another call may be slow."""
        waits = (flight.heard_at + flight.similar.limit - now for flight in self._flying)
        return min((wait for wait in waits if wait >= 0), default=math.inf)

    def _add_group(self, key: Key) -> SimilarCalls:
        if len(self._peers) >= MAX_GROUPS:  # rows may name models as they like
            del self._peers[next(iter(self._peers))]
        peers = self._peers[key] = SimilarCalls()
        return peers


class HedgeAllowance:
    """How many slow calls may be made a second time: a share of those that were answered, saved up to a bound.

    Without the bound, a service that slows down after a long good time would get every call twice.
    """

    def __init__(self, width: int) -> None:
        """`width`: calls at once."""
        self._most = max(MIN_SAVED, width * HEDGED_SHARE)
        self._saved = 0.0

    def note_answer(self) -> None:
        """Add the share of one answered call."""
        self._saved = min(self._saved + HEDGED_SHARE, self._most)

    def take_one(self) -> bool:
        """Return whether a second call is allowed, and count it."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


def slow_calls_text(stragglers: Iterable[SlowCall], now: float, number: int) -> str:
    """`3 stragglers (row 17 for 93 s, usually 2.1 s)`; "" without one. `now`: unix time; number: all there are."""
    first = next(iter(stragglers), None)
    return f"{count_text(number, 'straggler')} ({slow_call_text(first, now)})" if first else ""


def slow_call_text(straggler: SlowCall, now: float) -> str:
    silent = duration_text(max(0.0, now - straggler.since))
    return f"row {straggler.row} for {silent}, usually {duration_text(straggler.usual)}"

"""Which calls take far longer than is usual, by what the run itself has seen.

A call is compared with its peers: calls to the same endpoint and model, streamed or not, of about the same size, since
a long text takes longer than a label. What is compared is silence: for an answer that comes in one piece that is all
of its time, for a streamed one the longest time without a byte, so that a long answer which moves is no straggler.

A straggler has been silent for `FACTOR` times as long as all but one in twenty of its peers ever were. One in a
hundred would be nearer to what a straggler is, but where one call in a hundred is one, that quantile is the
stragglers' own. Nothing is said of calls with too few peers, nor while more are under way than have ended: those that
end first are the quick ones. Peers are forgotten after some thousand calls, so that a service that changed is followed.

Pure: `now` comes in, in seconds on the caller's clock. What is done about a straggler is decided elsewhere.
"""

import math
from collections import deque
from collections.abc import Iterable

from msgspec import Struct

from arkbatch.core.text import count_text, duration_text
from arkbatch.core.types import Size

QUANTILE = 0.95
FACTOR = 3.0
FLOOR = 5.0  # s; nobody minds less
ENOUGH = 50  # calls that have ended, of which three are beyond the quantile
REMEMBERED = 1000  # calls
MOST_PEERS = 64  # groups of them, some 30 KB each
SMALL, PART = 256, 3000  # characters: up to this many make no difference; what an image is worth
SHARE = 0.05  # of the calls may be made once more
FEWEST_SAVED = 10.0  # second calls that a run may always have saved up, since slow calls come in bunches

Key = tuple[str, str, bool, int]  # endpoint, model, streamed, doublings of the request


def doublings(size: Size) -> int:
    """About how large a request is.

    By its characters, which are known: estimated tokens change while they are learnt, so that the calls which begin a
    run would have no peers.
    """
    return (SMALL + size.narrow + 2 * size.wide + PART * size.parts).bit_length()


class Straggler(Struct, frozen=True, gc=False):
    """A call that is one, for people. since: unix time from which on it was silent; usual: seconds that most take."""

    row: int
    since: float
    usual: float


class Peers:
    """How long calls that are alike were silent. `flying`: how many were under way when they were last counted.

    The last durations are kept as they are: to find their bucket in a histogram would take longer than all else that
    is done for a call here.
    """

    __slots__ = ("_lately", "_limit", "_look_again_at", "_seen", "_usual", "flying")

    def __init__(self) -> None:
        self._lately: deque[float] = deque(maxlen=REMEMBERED)
        self._seen = self._look_again_at = 0
        self._limit = math.inf
        self._usual = 0.0
        self.flying = 0

    def learn(self, seconds: float) -> None:
        """One of them got its answer, and was silent for so long."""
        self._lately.append(seconds)
        self._seen += 1

    @property
    def limit(self) -> float:
        """Seconds of silence that make a straggler; infinite while that is not known."""
        if self._seen < ENOUGH or self._seen < self.flying:
            return math.inf
        self._look_back()
        return self._limit

    @property
    def usual(self) -> float:
        """Seconds of silence of the middle one."""
        self._look_back()
        return self._usual

    def _look_back(self) -> None:
        """Not at each call: a thousand durations take some while to be put in order."""
        if self._seen < self._look_again_at or not self._seen:
            return
        lately = sorted(self._lately)
        self._limit = max(FLOOR, FACTOR * lately[int(len(lately) * QUANTILE)])
        self._usual = lately[len(lately) // 2]
        self._look_again_at = self._seen + max(1, len(lately) // 20)


class CallInFlight(Struct, eq=False, gc=False):
    """A call under way. heard_at: its last sign of life, at first when it was sent; told: it was said to straggle."""

    row: int
    sent_at: float
    heard_at: float
    peers: Peers
    longest: float = 0.0
    told: bool = False

    def moved(self, now: float) -> None:
        """A part of its answer came."""
        self.longest = max(self.longest, now - self.heard_at)
        self.heard_at = now

    def learn(self, now: float) -> None:
        """It was answered, or given up: its peers are known better."""
        self.peers.learn(max(self.longest, now - self.heard_at))


class CallsInFlight:
    """All calls under way, in the order in which they were sent. Used for each call of a run, so it does little."""

    def __init__(self) -> None:
        self._peers: dict[Key, Peers] = {}
        self._flying: dict[CallInFlight, None] = {}

    def begin(self, now: float, row: int, key: Key) -> CallInFlight:
        peers = self._peers.get(key)
        if peers is None:
            peers = self._acquaint(key)
        flight = CallInFlight(row, now, now, peers)
        self._flying[flight] = None
        return flight

    def end(self, flight: CallInFlight) -> None:
        """It is over, however it ended."""
        del self._flying[flight]

    def stragglers(self, now: float) -> list[CallInFlight]:
        """Those that are silent for too long, the longest under way first."""
        for peers in self._peers.values():
            peers.flying = 0
        for flight in self._flying:
            flight.peers.flying += 1
        return [flight for flight in self._flying if now - flight.heard_at > flight.peers.limit]

    def next_in(self, now: float) -> float:
        """Seconds until the next of the others may be one."""
        waits = (flight.heard_at + flight.peers.limit - now for flight in self._flying)
        return min((wait for wait in waits if wait >= 0), default=math.inf)

    def _acquaint(self, key: Key) -> Peers:
        if len(self._peers) >= MOST_PEERS:  # rows may name models as they like
            del self._peers[next(iter(self._peers))]
        peers = self._peers[key] = Peers()
        return peers


class Share:
    """How many calls may be made once more: a share of those that were answered, saved up for a moment and no longer.

    Without the bound on what is saved, a service that slows down after a long good time would be asked twice for all.
    """

    def __init__(self, width: int) -> None:
        """`width`: calls at once."""
        self._most = max(FEWEST_SAVED, width * SHARE)
        self._saved = 0.0

    def earn(self) -> None:
        """A call was answered."""
        self._saved = min(self._saved + SHARE, self._most)

    def take(self) -> bool:
        """Whether one more is allowed; then it is taken."""
        if self._saved < 1.0:
            return False
        self._saved -= 1.0
        return True


def said(stragglers: Iterable[Straggler], now: float, number: int) -> str:
    """`3 stragglers (row 17 for 93 s, usually 2.1 s)`; "" without one. `now`: unix time; number: all there are."""
    first = next(iter(stragglers), None)
    return f"{count_text(number, 'straggler')} ({described(first, now)})" if first else ""


def described(straggler: Straggler, now: float) -> str:
    silent = duration_text(max(0.0, now - straggler.since))
    return f"row {straggler.row} for {silent}, usually {duration_text(straggler.usual)}"

"""A run cut into stretches of time, never more than a fixed number of them.

It starts with stretches of a second. When there are too many, neighbours are merged and all become longer, so that a
night of ten million calls takes no more memory than an hour. Stretches under a minute are few, because what happens in
some seconds is mostly noise once it is scaled to a minute. It knows calls and tokens, and neither lines nor files.

How many calls were in flight is found without touching every stretch a call lasted: a stretch keeps how many calls
began and ended in it and the sums of these moments, from which the time spent inside follows exactly.
"""

from collections.abc import Iterator

from msgspec import Struct, field

MOST = 600
_MOST_SHORT = 60  # while they are shorter than a minute
_SECOND_WIDTHS = (1, 5, 10, 30, 60, 300, 600, 1800, 3600, 10800, 21600, 43200, 86400)  # each divides the next


class Bucket(Struct):
    """What fell into one stretch.

    calls: that ended here; causes: those of them without a usable answer, by kind
    tokens: input and output of the rows that ended here; cost: what they cost, by currency
    begun, ended: calls that began and ended here; the sums are of the moments, in seconds since the run's origin
    """

    calls: int = 0
    done: int = 0
    failed: int = 0
    tokens: int = 0
    cost: dict[str, float] = field(default_factory=dict)
    causes: dict[str, int] = field(default_factory=dict)
    begun: int = 0
    begun_sum: float = 0.0
    ended: int = 0
    ended_sum: float = 0.0

    def add_bucket(self, other: "Bucket") -> None:
        self.calls += other.calls
        self.done += other.done
        self.failed += other.failed
        self.tokens += other.tokens
        for kind, count in other.causes.items():
            self.causes[kind] = self.causes.get(kind, 0) + count
        for currency, amount in other.cost.items():
            self.cost[currency] = self.cost.get(currency, 0.0) + amount
        self.begun += other.begun
        self.begun_sum += other.begun_sum
        self.ended += other.ended
        self.ended_sum += other.ended_sum


class Stretch(Struct, frozen=True):
    """One stretch on the way out. `in_flight`: calls open at the same time, on average over the stretch."""

    begin: float
    end: float
    bucket: Bucket
    in_flight: float


class Buckets:
    """Times are unix seconds.

    width: seconds of each stretch, now; first, last: the moments of the earliest and the latest event
    """

    def __init__(self, most: int = MOST) -> None:
        self.width = _SECOND_WIDTHS[0]
        self.first = self.last = 0.0
        self._most = most
        self._origin = 0.0  # the first moment; sums are counted from there, for their digits' sake
        self._buckets: dict[int, Bucket] = {}

    def bucket_at(self, moment: float) -> Bucket:
        """The bucket of a moment. Use it at once: the next call may merge it into another."""
        bucket = self._buckets.get(int(moment // self.width)) or self._add_bucket(moment)
        if moment > self.last:
            self.last = moment
        elif moment < self.first:
            self.first = moment
        return bucket

    def _add_bucket(self, moment: float) -> Bucket:
        if not self._buckets:
            self._origin = self.first = self.last = moment
        while len(self._buckets) >= (self._most if self.width >= 60 else min(self._most, _MOST_SHORT)):
            self._widen_buckets()
        return self._buckets.setdefault(int(moment // self.width), Bucket())

    def add_call(self, began: float, ended: float) -> Bucket:
        """Count a call; the bucket that it ended in."""
        start = self.bucket_at(began)
        start.begun += 1
        start.begun_sum += began - self._origin
        end = self.bucket_at(ended)
        end.calls += 1
        end.ended += 1
        end.ended_sum += ended - self._origin
        return end

    def stretches(self) -> Iterator[Stretch]:
        """In order of time. Where nothing happened for long, one stretch stands for the whole pause."""
        active, previous = 0, None
        for key in sorted(self._buckets):
            begin = float(key * self.width)
            if previous is not None and previous < begin:
                yield Stretch(previous, begin, Bucket(), float(active))
            previous = begin + self.width
            bucket = self._buckets[key]
            busy = self._busy_seconds(bucket, active, previous)
            active += bucket.begun - bucket.ended
            begin, end = max(begin, self.first), min(previous, self.last)
            yield Stretch(begin, end, bucket, max(0.0, busy / max(end - begin, self.width / 2)))

    def _busy_seconds(self, bucket: Bucket, active: int, end: float) -> float:
        """Seconds spent inside calls. `active`: calls that were open when the stretch began."""
        inside = active * self.width - (bucket.begun_sum - bucket.ended_sum)
        return inside + (bucket.begun - bucket.ended) * (end - self._origin)

    def _widen_buckets(self) -> None:
        wider = next((width for width in _SECOND_WIDTHS if width > self.width), 2 * self.width)
        factor, merged = wider // self.width, dict[int, Bucket]()
        for key, bucket in self._buckets.items():
            if (other := merged.setdefault(key // factor, bucket)) is not bucket:
                other.add_bucket(bucket)
        self.width, self._buckets = wider, merged

"""What workers and the coordinator say to each other."""

from msgspec import Struct
from msgspec.structs import astuple

from arkbatch.core.calls import Cause
from arkbatch.limits.lease_messages import Lease, LeaseRequest


class CallTallies(Struct, frozen=True, omit_defaults=True):
    """What calls came to, for metrics: counts by name.

    calls: how they ended, `done` or a kind of failure; retries, failures: by kind; tokens, discarded: by meter
    """

    calls: dict[str, int] = {}
    retries: dict[str, int] = {}
    failures: dict[str, int] = {}
    tokens: dict[str, int] = {}
    discarded: dict[str, int] = {}

    def plus(self, other: "CallTallies", sign: int = 1) -> "CallTallies":
        """Return the sums, or with sign -1 the differences."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return CallTallies(*(_added(mine, theirs, sign) for mine, theirs in pairs))


def _added(mine: dict[str, int], theirs: dict[str, int], sign: int) -> dict[str, int]:
    return mine | {name: mine.get(name, 0) + sign * count for name, count in theirs.items()}


class WorkerCounts(Struct, frozen=True, omit_defaults=True):
    """How an attempt stands. rows: of its shard; recorded: in this attempt, without what it took over."""

    rows: int = 0
    done: int = 0
    failed: int = 0
    recorded: int = 0
    retried: int = 0
    requests_per_minute: float = 0.0
    tokens_per_minute: float = 0.0
    tallies: CallTallies = CallTallies()


class NextRequest(Struct, frozen=True):
    """A worker wants a shard. holds: the shards on which it goes on working, or for which its end was not told yet."""

    worker: str
    holds: list[int] = []


class NextShard(Struct, frozen=True, omit_defaults=True):
    """The shard to work on. None: ask again after `wait` seconds, or end if nothing is left to do."""

    shard: int | None = None
    wait: float = 0.0
    is_over: bool = False


class AttemptBegan(Struct, frozen=True):
    """A worker has claimed an attempt. Earlier attempts at the shard get no lease any more."""

    worker: str
    shard: int
    attempt: int


class Heartbeat(Struct, frozen=True):
    """A worker is alive while it prepares a shard, and sends nothing."""

    worker: str
    shard: int


class LeaseMessage(Struct, frozen=True):
    """A lease is asked for, and how the attempt stands."""

    request: LeaseRequest
    counts: WorkerCounts = WorkerCounts()


class LeaseReply(Struct, frozen=True, omit_defaults=True):
    """is_draining: send no more, and end when the calls in flight have ended."""

    lease: Lease
    is_draining: bool = False


class AttemptEnded(Struct, frozen=True, omit_defaults=True):
    """An attempt has ended.

    is_finished: every row of the shard has its record; spent: of the budget, by all attempts together
    halt: why no row can work until someone acts; trouble: what else went wrong
    latency: how many calls took how long, by the bucket of a `Histogram`
    last: gives back what is left of the leases
    """

    worker: str
    shard: int
    attempt: int
    is_finished: bool
    spent: int = 0
    halt: Cause | None = None
    trouble: str = ""
    was_stopped: bool = False
    counts: WorkerCounts = WorkerCounts()
    latency: dict[int, int] = {}
    last: LeaseRequest | None = None


class MessageTaken(Struct, frozen=True):
    """The message was taken in."""

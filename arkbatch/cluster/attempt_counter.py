"""Counts how an attempt at a shard stands, for the coordinator."""

from typing import assert_never

from arkbatch.cluster.messages import CallTallies, WorkerCounts
from arkbatch.core.calls import Again, Done, Halt, Refused, Response, Verdict
from arkbatch.core.histogram import Histogram
from arkbatch.core.outcomes import OUTRUN, Failure, Outcome
from arkbatch.core.row import Row
from arkbatch.core.usage import Usage
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import FoundRows, Progress


class AttemptCounter(Observer):
    """Counts rows and calls of one attempt."""

    def __init__(self) -> None:
        self.counts = WorkerCounts()
        self.latency = Histogram()  # of the calls that gave an answer
        self._found: FoundRows | None = None
        self._tallies = CallTallies({}, {}, {}, {}, {})

    def opened(self, found: FoundRows) -> None:
        self._found = found
        self.counts = WorkerCounts(found.total, found.done, found.failed)

    def answered(self, row: Row, client_id: str, response: Response, verdict: Verdict) -> None:
        del row, client_id
        tallies = self._tallies
        if isinstance(verdict, Done):
            _count(tallies.calls, "done")
            _add(tallies.tokens, verdict.usage)
            self.latency.add(response.seconds)
            return
        match verdict:
            case Again(cause=cause, usage=usage) | Refused(cause=cause, usage=usage):
                _count(tallies.calls, cause.kind.value)
                _add(tallies.tokens, usage)
                _add(tallies.discarded, usage)
            case Halt(cause=cause):
                _count(tallies.calls, cause.kind.value)
            case _:
                assert_never(verdict)

    def hedge_lost(self, row: Row, client_id: str, usage: Usage) -> None:
        del row, client_id
        _count(self._tallies.calls, OUTRUN)
        _add(self._tallies.tokens, usage)
        _add(self._tallies.discarded, usage)

    def retrying(self, row: Row, client_id: str, verdict: Again, seconds: float) -> None:
        del row, client_id, seconds
        _count(self._tallies.retries, verdict.cause.kind.value)

    def recorded(self, outcome: Outcome) -> None:
        if isinstance(outcome, Failure) and not outcome.interrupted:
            _count(self._tallies.failures, outcome.cause.kind.value)

    def progressed(self, standing: Progress) -> None:
        found = self._found
        already = found.done + found.failed if found is not None else 0
        self.counts = WorkerCounts(
            rows=standing.total,
            done=already + standing.recorded - standing.failed,
            failed=standing.failed,
            recorded=standing.recorded,
            retried=standing.retried,
            requests_per_minute=standing.rpm,
            tokens_per_minute=standing.tpm,
            tallies=CallTallies().plus(self._tallies),
        )


def _count(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1


def _add(counts: dict[str, int], usage: Usage) -> None:
    for meter, count in usage.items():
        if count > 0:
            counts[meter] = counts.get(meter, 0) + count

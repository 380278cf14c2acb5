"""Notices that the service is away, and finds out by probes when it returns.

Pure: `now` comes in, in seconds on the caller's clock. It hears every verdict and takes the blame off a row: a failure
that is the service's gets `Scope.SERVICE`, which spends no attempt. It does not know when a row is tried again
(`engine.backoff`) nor how fast calls go (`adaptive_limit`); the limiter asks it `ready_in` and tells it `note_call`.

The reasoning:

* **An answer is a sign of life**, also a refusal.
* **No connection is never the row's fault**: nothing was sent.
* **Anything else (5xx, dropped, silence, garbage) may be the row's doing**: a row that breaks the server must not hold
  up a run. So it takes failures of several different rows without an answer between them, more where more are under
  way, and so many that chance would hardly do it where calls fail often; or four failures in five calls, whatever the
  fifth says.
* **What failed just before that was known is forgiven too**: see `covers_failure`.
* **While it is away one probe goes at a time**, at pauses that grow with the silence, up to a minute. Rows take
  turns at it, and one that failed too often answers for itself, since it may be all that is wrong. So do all, and
  probes go faster, where for minutes nobody was left to try but rows that had failed, and the server answered each of
  them with an error of its own: these may be the rows that break it.
* **A probe had better be a row that never failed**: those that failed may all be at fault, and would keep a service
  for away that is there. Such probes go sooner. While it opens, every other call is one, so that those that failed and
  those that did not are tried side by side.
* **Whom an answer clears**: that to a row which had failed clears all that failed, for then it was the service. That
  to a row which never failed makes them suspects: one that fails once more answers for it, and is no witness.
* **A row that fails as it did in an earlier session** says nothing: a retry of rows that break the server is no outage.
* **It opens slowly**: two at once, and one more with each answer, beside those that are under way from before. These
  may hang on dead connections for as long as a read may take. Failures that no answer contradicts, of half of the
  calls under way, shut it again; two alone would, where one call in eight fails for ever, keep a wide run from
  opening. The pauses then grow anew, from the last answer.
"""

import math
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from arkbatch.core.calls import Again, Cause, Kind, Scope, Verdict
from arkbatch.core.row import Before
from arkbatch.core.text import duration_text

FEWEST_WITNESSES, MOST_WITNESSES = 3, 20
WITNESSES_OF = 0.25  # of the calls under way; at one failure in five, eight in a row come once in 400,000 calls
USUAL, CALLS = 0.01, 200  # of the calls fail where nothing is known; over so many the share is learnt
CHANCE = 1e-6  # that so many in a row fail, each by itself
RELAPSE_OF = 0.5  # of the calls under way, while it opens
SHARE = 0.8  # of the last calls failed: it is as good as away
MEMORY = 20  # calls, that the share is an average over
FIRST_PAUSE = 2.0  # s
PAUSE_GROWTH = 0.1  # of the time since the last sign of life
LONGEST_PAUSE = 60.0  # s; what an outage costs beyond itself
LONGEST_UNTRIED = 20.0  # s; the same while there are rows that never failed
SLOW_PROBE = 60.0  # s without an answer to a probe, until another goes
FIRST_WIDTH = 2
EXCUSES, EXCUSES_OF_AN_ERROR = 20, 10  # failed probes of a row; an error in the service's own words may be about it
NOBODY_ELSE = 600.0  # s in which no other row was left, and those that had failed were answered with errors
NEVER_SEEN = 300.0  # s; a service that has never answered is rather a wrong address than away

_UNREACHED = "connect"  # the code of a broken exchange in which nothing was sent
_DOUBTFUL = {Kind.CONNECTION, Kind.TIMEOUT, Kind.SERVER_ERROR}
_GARBAGE = {"garbled", "not_json"}  # a captive portal, or the page of a gateway
_ANSWERED = {Kind.SERVER_ERROR, Kind.BAD_REPLY}
_OF_GATEWAYS = {f"http_{status}" for status in (502, 503, 504, *range(520, 528))}


class Outage(Struct, frozen=True):
    """An outage: since the last sign of life, noticed somewhat later. `cause`: of the last call that failed."""

    since: float
    noticed: float
    cause: Cause


class CircuitBreaker:
    """One for each service that a run talks to.

    width: calls at once from which on it counts as open
    give_up_after: seconds away after which nobody is to wait any more
    known: the service has answered before, in an earlier session
    """

    def __init__(self, now: float, *, width: int, give_up_after: float, known: bool) -> None:
        self._enough = width
        self._give_up_after = give_up_after
        self._known = known
        self._last: Outage | None = None
        self.is_away = False
        self._opening = 0  # calls at once while it opens, 0: it does not
        self._seconds = 0.0  # away, in outages that are over
        self._alive_at = now
        self._under_way = 0
        self._opened_at, self._from_before = now, 0  # and how many calls are under way since before
        self._failing: dict[int, int] = {}  # failures of each row since the last sign of life
        self._excused: dict[int, int] = {}  # the same, since one of them was answered after all
        self._suspects: set[int] = set()  # of these, who failed while others did not
        self._untried_next = True
        self._others_until = math.inf  # when the last row was read, or the last one failed that had not failed before
        self._share = 0.0
        self._usual = 0.0  # share of the calls that fail while the service is there
        self._probed_at = self._next_probe = now
        self._rests_since: float | None = None
        self._rested = 0.0  # since the last sign of life, or in the present outage

    # ---- what the limiter asks and tells

    def ready_in(self, now: float, in_flight: int) -> float:
        """Seconds until another call may start; infinite when only an ended call can make room."""
        if not self.is_away:
            return 0.0
        if self._opening:
            return 0.0 if in_flight - self._from_before < self._opening else math.inf
        return max(0.0, self._next_probe - now)

    def note_call(self, now: float) -> None:
        """A call starts. While the service is away it is a probe."""
        self._under_way += 1
        if self.is_away:
            self._probed_at, self._next_probe = now, now + SLOW_PROBE
            self._untried_next = not (self._opening and self._untried_next)

    @property
    def doubts_rows(self) -> bool:
        """It may be the rows that fail, and not the service: one that never failed would tell."""
        return self.is_away and self._last is not None and may_have_arrived(self._last.cause)

    @property
    def wants_untried(self) -> bool:
        """Whether the next call had better be of such a row."""
        return self._untried_next and self.doubts_rows

    # ---- what the engine tells and asks

    def note_verdict(
        self, now: float, row: int, verdict: Verdict, sent_at: float, before: Sequence[Before] = ()
    ) -> Verdict:
        """The verdict on a call of this row, with the blame where it belongs. before: how the row has failed so far."""
        self._note_end(sent_at)
        if isinstance(verdict, Again):
            if verdict.scope is Scope.CONCURRENCY:
                return verdict  # busy is neither here nor away: the pace takes care of it
            if verdict.scope is Scope.ROW and may_be_outage(verdict.cause):
                if before and may_have_arrived(verdict.cause) and _as_before(verdict.cause, before):
                    return self._note_old_failure(now, verdict)
                if self._note_failure(now, row, verdict.cause, sent_at):
                    return replace(verdict, scope=Scope.SERVICE)
                return verdict
        self._note_answer(now, row)
        return verdict

    def note_no_verdict(self, now: float, sent_at: float) -> None:
        """A call ended and says nothing, since it was not sent or nobody waited for it: another may probe."""
        self._note_end(sent_at)
        if self.is_away and not self._opening:
            self._next_probe = now

    def note_last_row(self, now: float) -> None:
        """There are no more rows than those that were read."""
        if self._others_until == math.inf:
            self._others_until = now

    def covers_failure(self, failed_at: float) -> bool:
        """Whether a failure that was put on a row at that time is now known to have been the service's."""
        return self._last is not None and self._last.since <= failed_at <= self._last.noticed

    @property
    def patience(self) -> float:
        """Seconds for which it is waited for."""
        return self._give_up_after if self._known else min(self._give_up_after, NEVER_SEEN)

    def given_up(self, now: float) -> Cause | None:
        """Why nobody is to wait any longer, if it is so."""
        if self._last is None or not self.is_away or self._opening or self.away_seconds(now) < self.patience:
            return None
        cause, lost = self._last.cause, duration_text(self.away_seconds(now))
        said = f"the service has been away for {lost}" if self._known else f"the service has not answered in {lost}"
        if is_answered(cause):
            said = f"every call has failed for {lost}"
        advice = "check the network and the base URL, then run it again; --give-up-after says how long to wait"
        if self.doubts_rows:
            advice += "; if other requests are answered there, the rows that are left break it: fix or remove them"
        return Cause(cause.kind, cause.code, f"{said}: {cause.message}", advice)

    def allow_concurrency(self, width: int) -> None:
        """Another number of calls at once from which on it counts as open."""
        self._enough = width

    def begin_pause(self, now: float) -> None:
        """From now on nothing is sent because somebody wants it so: that is no time in which the service was away."""
        self._rests_since = now

    def end_pause(self, now: float) -> None:
        self._rested, self._rests_since = self._rested_seconds(now), None
        self._others_until = max(self._others_until, now)

    # ---- what is shown

    @property
    def trouble_text(self) -> str:
        """What is or was wrong in the last outage."""
        if self._last is None:
            return ""
        said = "every call fails" if is_answered(self._last.cause) else "the service is away"
        return f"{said}: {self._last.cause.message}"

    @property
    def plan_text(self) -> str:
        """What is done about it."""
        if self._known:
            return "trying it again from time to time"
        is_there = self._last is not None and is_answered(self._last.cause)
        said = "no call has succeeded so far" if is_there else "it has never answered"
        tried = f"{said}, so it is tried again for {duration_text(self.patience)} only"
        return f"{tried}; if the address is wrong, press Ctrl-C and fix it"

    @property
    def reason(self) -> str:
        """What there is to say, empty when the service is there."""
        if self._last is None or not self.is_away:
            return ""
        if self._opening:
            return "the service is coming back"
        return self.trouble_text

    def away_seconds(self, now: float) -> float:
        """Seconds since the present outage began, less those in which we rested; 0 without one."""
        return now - self._last.since - self._rested_seconds(now) if self._last and self.is_away else 0.0

    def _rested_seconds(self, now: float) -> float:
        return self._rested + (0.0 if self._rests_since is None else now - self._rests_since)

    def total_seconds(self, now: float) -> float:
        """How long the service was away, all in all."""
        return self._seconds + self.away_seconds(now)

    # ---- life and failure

    def _note_end(self, sent_at: float) -> None:
        self._under_way -= 1
        if self._from_before and sent_at < self._opened_at:
            self._from_before -= 1

    def _note_answer(self, now: float, row: int) -> None:
        self._known, self._alive_at = True, now
        if self._excused:
            self._weigh_against(row)
        self._share -= self._share / MEMORY
        if not self.is_away:
            if self._rested or self._rests_since is not None:
                self._forget_rest(now)
            self._usual -= self._usual / CALLS
            return
        if not self._opening:
            self._opening, self._share = FIRST_WIDTH, SHARE / 2
            self._opened_at, self._from_before = now, self._under_way
        else:
            self._opening += 1
        if self._opening >= self._enough:
            self._close_again(now)

    def _weigh_against(self, answered: int) -> None:
        """Of the rows that failed, whether they or the service are to blame."""
        self._failing.clear()
        if not self.is_away or answered in self._excused:
            self._excused.clear()
            self._suspects.clear()
        else:
            self._suspects.update(self._excused)

    def _close_again(self, now: float) -> None:
        self._seconds += self.away_seconds(now)
        self.is_away, self._opening, self._share = False, 0, 0.0
        self._excused.clear()
        self._suspects.clear()
        self._forget_rest(now)

    def _forget_rest(self, now: float) -> None:
        self._rested = 0.0
        if self._rests_since is not None:
            self._rests_since = now

    def _note_failure(self, now: float, row: int, cause: Cause, sent_at: float) -> bool:
        """Note a failure and what follows for everyone; whether it is the service's."""
        unreached = not may_have_arrived(cause)
        self._excused[row] = failed = self._excused.get(row, 0) + 1
        if failed == 1:
            self._others_until = max(self._others_until, now)
        if self._opening and row in self._suspects and not unreached:
            self._suspects.remove(row)
            return False
        self._share += (1.0 - self._share) / MEMORY
        self._failing[row] = self._failing.get(row, 0) + 1
        witnesses = sum(self._failing.values()) if unreached else len(self._failing)
        if witnesses >= self._witnesses_needed or self._share > SHARE:
            if not self.is_away:
                self._begin_outage(now, cause)
            self._opening = 0
        if not self.is_away:
            self._usual += (1.0 - self._usual) / CALLS
            return unreached
        assert self._last is not None
        self._last = Outage(self._last.since, self._last.noticed, cause)
        has_nobody_else = self._has_nobody_else(now, cause)
        if sent_at >= self._probed_at and not self._opening:
            longest = LONGEST_UNTRIED if failed == 1 and not unreached else LONGEST_PAUSE
            grown = min(max(FIRST_PAUSE, PAUSE_GROWTH * (now - self._alive_at)), longest)
            self._next_probe = now + (FIRST_PAUSE if has_nobody_else else grown)
        return unreached or (failed <= _excused_failures(cause) and not has_nobody_else)

    def _has_nobody_else(self, now: float, cause: Cause) -> bool:
        """Whether for minutes only rows that had failed were tried, and this one was answered with an error."""
        is_answer = is_answered(cause) and cause.code not in _OF_GATEWAYS
        return is_answer and now - max(self._alive_at, self._others_until) > NOBODY_ELSE

    def _note_old_failure(self, now: float, verdict: Again) -> Again:
        """A row that fails as it did in an earlier session says nothing of the service, and is no worse off."""
        if self.is_away and not self._opening:
            self._next_probe = now + FIRST_PAUSE
        return verdict

    def _begin_outage(self, now: float, cause: Cause) -> None:
        self.is_away, self._last = True, Outage(self._alive_at, now, cause)
        self._probed_at, self._next_probe, self._untried_next = now, now + FIRST_PAUSE, True

    @property
    def _witnesses_needed(self) -> float:
        """Witnesses. While it opens two may be enough; so are a few where nobody is under way who could contradict."""
        if self.is_away:
            return min(max(FIRST_WIDTH, self._under_way * RELAPSE_OF), MOST_WITNESSES)
        if not self._under_way:
            return FEWEST_WITNESSES
        by_chance = math.log(CHANCE) / math.log(max(self._usual, USUAL))
        return min(max(FEWEST_WITNESSES, self._under_way * WITNESSES_OF, by_chance), MOST_WITNESSES)


def may_be_outage(cause: Cause) -> bool:
    """Whether a failure may be the service's as well as the row's."""
    return cause.kind in _DOUBTFUL or (cause.kind is Kind.BAD_REPLY and cause.code in _GARBAGE)


def is_answered(cause: Cause) -> bool:
    """Whether the server sent this failure, so that it is not away."""
    return cause.kind in _ANSWERED and cause.code != "garbled"


def may_have_arrived(cause: Cause) -> bool:
    """Whether the call of this failure was sent."""
    return cause.code != _UNREACHED


def _as_before(cause: Cause, before: Sequence[Before]) -> bool:
    return any((each.kind, each.code) == (cause.kind, cause.code) and not each.interrupted for each in before)


def _excused_failures(cause: Cause) -> int:
    own_words = cause.kind is Kind.SERVER_ERROR and not cause.code.startswith("http_")
    return EXCUSES_OF_AN_ERROR if own_words else EXCUSES

"""The state of a session over batch files in words, and its `ctl` commands."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from arkbatch.batch_jobs.parcel import Parcel, rows_done
from arkbatch.batch_jobs.parcel_report import state_word
from arkbatch.core.errors import UsageError
from arkbatch.core.limit_changes import LimitChange
from arkbatch.core.text import count_text
from arkbatch.engine.open_run import OpenRun
from arkbatch.journal.run_info import SessionInfo
from arkbatch.monitor.commands import VERSION, Command, CommandReply, Drain, SessionState, ShowStatus
from arkbatch.monitor.observer import Observer
from arkbatch.monitor.progress import Progress


def states_of(parcels: Sequence[Parcel]) -> dict[str, int]:
    """How many parcels are open, by the provider's word for their batch or by their own stage."""
    states: dict[str, int] = {}
    for parcel in parcels:
        word = state_word(parcel)
        states[word] = states.get(word, 0) + 1
    return states


def batches_text(parcels: Sequence[Parcel]) -> str:
    """What the session waits for, such as `2 batches at the provider (340 of 500 rows done)`; "" for nothing."""
    ordered = [parcel for parcel in parcels if parcel.is_ordered]
    if not ordered:
        return ""
    done, rows = sum(rows_done(each.counts) for each in ordered), sum(each.cut.rows for each in ordered)
    return f"{count_text(len(ordered), 'batch')} at the provider ({done:,} of {rows:,} rows done)"


class BatchCommands:
    """Obeys `arkbatch ctl` in one session. Batches cannot be held or hurried; the session itself can be ended."""

    def __init__(
        self,
        run: OpenRun,
        session: SessionInfo,
        observer: Observer,
        *,
        progress: Callable[[], Progress],
        is_stopping: Callable[[], bool],
        stop: Callable[[], None],
    ) -> None:
        self._run = run
        self._session = session
        self._observer = observer
        self._progress = progress
        self._is_stopping = is_stopping
        self._stop = stop

    def handle(self, command: Command) -> CommandReply:
        """Carry out a command. UsageError: it does not go with batch files."""
        match command.do:
            case ShowStatus():
                standing = self._progress()
                said = standing.waiting or "No batch is at the provider now"
            case Drain():
                said = self._drain_session(command)
            case _:
                raise UsageError(
                    "This session sends batch files, and the provider decides how fast they are worked off. Drain it, "
                    "and start it again with other options; arkbatch cancel takes batches back."
                )
        return CommandReply(VERSION, f"{said}.", state=self._session_state())

    def _drain_session(self, command: Command) -> str:
        at = datetime.fromtimestamp(self._run.wall(), UTC).isoformat(timespec="seconds")
        steered = LimitChange(at, str(command.do.__struct_config__.tag), "stopped", command.by, command.reason, {})
        self._session.steered = [*self._session.steered, steered]
        self._run.note_session()
        self._observer.settings_changed(steered)
        self._stop()
        return "Stopping: ordered batches run on at the provider, and the next run collects them"

    def _session_state(self) -> SessionState:
        standing = self._progress()
        return SessionState(
            session=self._session.number,
            stopping=self._is_stopping(),
            held={},
            limits=dict(self._session.limits),
            of_job={},
            in_flight=standing.in_flight,
            rpm=0.0,
            tpm=0.0,
            left=standing.left,
            failed=standing.failed,
            bound_by=standing.bound_by,
        )

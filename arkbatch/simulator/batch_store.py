"""The files and batches of the simulated service, and the state of each batch.

Nothing runs in the background: the state of a batch is computed when it is read, and its files are written when it
has ended. With a directory everything is kept on disk, so that another process can continue.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import msgspec
from msgspec import Struct

from arkbatch.simulator.batch_answers import BatchAnswers
from arkbatch.simulator.batch_check import check_file, check_tokens, spoil_lines
from arkbatch.simulator.seeded_random import random_for
from arkbatch.simulator.settings import Settings
from arkbatch.simulator.stored_batch import ENDED, Batch, BilledLine, StoredFile

STATE = "state.json"
_VALIDATING_SHARE = 0.1  # of the time that a batch takes

# Faults of a call and not of a batch; they are drawn for each call.
OF_CALLS = frozenset(
    ("lost_upload", "lost_create", "poll_502", "torn_content", "cut_content", "web_page", "oldest_first", "cut_list")
)
# At most one of these strikes a batch.
_OF_ENDINGS = ("hang", "no_output", "expired", "bad_line", "token_limit", "failed_partly")


class _State(Struct):
    files: dict[str, StoredFile] = {}
    batches: dict[str, Batch] = {}
    count: int = 0


class BatchStore:
    """All files and batches of one simulator; `billed`: each line that cost something."""

    def __init__(self, settings: Settings, wall: Callable[[], float]) -> None:
        self._settings = settings
        self._wall = wall
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._folder: Path | None = Path(settings.batch_store) if settings.batch_store else None
        self._state: _State | None = None
        self.billed: list[BilledLine] = []
        self._answers = BatchAnswers(settings, self.billed)

    @property
    def folder(self) -> Path:
        """The folder of the files, made when it is first needed."""
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="arkbatch-simulator-")
            self._folder = Path(self._temporary.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def close(self) -> None:
        """Remove the folder if it was made for this simulator alone."""
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def state(self) -> _State:
        """What is known of files and batches, read from disk at first."""
        if self._state is None:
            path = self.folder / STATE
            known = path.exists()
            self._state = msgspec.json.decode(path.read_bytes(), type=_State) if known else _State()
        return self._state

    def save_state(self) -> None:
        """Replace the state on disk as a whole."""
        path = self.folder / STATE
        fresh = path.with_suffix(".new")
        fresh.write_bytes(msgspec.json.encode(self.state))
        fresh.replace(path)

    def new_id(self, kind: str) -> str:
        """Return an id that no other file or batch has."""
        self.state.count += 1
        return f"{kind}-{self.state.count:06d}{random_for(kind.encode(), self.state.count).getrandbits(48):012x}"

    def path_of(self, file_id: str) -> Path:
        """Return where the bytes of a file stand."""
        return self.folder / file_id

    def add_file(self, id_: str, filename: str, purpose: str, expires_after: int | None = None) -> StoredFile:
        """Register a file that stands in the folder under its id."""
        now = self._wall()
        size = self.path_of(id_).stat().st_size
        expires = None if expires_after is None else now + expires_after
        file = self.state.files[id_] = StoredFile(id_, filename, purpose, size, now, expires)
        return file

    def delete_file(self, file_id: str) -> bool:
        """Delete a file; return whether there was one."""
        known = self.state.files.pop(file_id, None) is not None
        self.path_of(file_id).unlink(missing_ok=True)
        self.save_state()
        return known

    # ---- batches

    def create_batch(self, file_id: str, endpoint: str, window: str, metadata: dict[str, str] | None) -> Batch:
        """Create a batch; it fails for errors in its file once it was validated."""
        id_ = self.new_id("batch")
        chance = random_for(id_.encode())
        usual = self._settings.batch_seconds
        seconds = usual * (0.5 + 0.5 * chance.expovariate(1)) if usual else 0.0
        batch = Batch(id_, file_id, endpoint, window, self._wall(), seconds, metadata)
        batch.faults = list(self._draw_faults(chance))
        check_file(batch, self.path_of(file_id))
        others = list(self.state.batches.values())
        check_tokens(batch, others, self._waiting_tokens(others, batch.model), self._settings.enqueued_tokens)
        spoil_lines(batch)
        self.state.batches[id_] = batch
        self.save_state()
        return batch

    def _waiting_tokens(self, batches: list[Batch], model: str) -> int:
        return sum(
            each.tokens for each in batches if each.model == model and self._updated_batch(each).status not in ENDED
        )

    def _draw_faults(self, chance: Random) -> Iterator[str]:
        ending_struck = False
        for name, rate in self._settings.batch_faults.items():
            if name in OF_CALLS or chance.random() >= rate:
                continue
            if name in _OF_ENDINGS:
                if ending_struck:
                    continue
                ending_struck = True
            yield name

    def find_batch(self, batch_id: str) -> Batch | None:
        """Return a batch in its present state, or None."""
        batch = self.state.batches.get(batch_id)
        if batch is None:
            return None
        before = batch.status
        self._updated_batch(batch)
        if batch.status != before:
            self.save_state()
        return batch

    def _updated_batch(self, batch: Batch) -> Batch:
        if batch.status in ENDED:
            return batch
        now = self._wall()
        age = now - batch.created_at
        if batch.cancelled_at is not None:
            if "stuck_cancel" not in batch.faults and now - batch.cancelled_at >= min(batch.seconds * 0.2, 600.0):
                share = 0.0 if "hang" in batch.faults else self._share_done(batch, batch.cancelled_at)
                self._finish_batch(batch, "cancelled", share)
        elif age < batch.seconds * _VALIDATING_SHARE:
            batch.status = "validating"
        elif batch.errors or "no_reason" in batch.faults:
            batch.status, batch.ended_at = "failed", now
        elif "hang" not in batch.faults and age >= batch.seconds:
            self._end_in_time(batch)
        else:
            batch.status = "crunching" if "strange_state" in batch.faults else "in_progress"
            batch.completed = int(batch.rows * self._share_done(batch, now)) if "hang" not in batch.faults else 0
        return batch

    def _end_in_time(self, batch: Batch) -> None:
        if "expired" in batch.faults:
            self._finish_batch(batch, "expired", 0.5)
        elif "failed_partly" in batch.faults:
            batch.note_error("server_error", "The batch broke off.")
            self._finish_batch(batch, "failed", 0.5)
        else:
            self._finish_batch(batch, "completed", 1.0)

    def _share_done(self, batch: Batch, now: float) -> float:
        """Return the share of the rows that are done at this time."""
        worked = now - batch.created_at - batch.seconds * _VALIDATING_SHARE
        return min(1.0, max(0.0, worked / (batch.seconds * (1 - _VALIDATING_SHARE)))) if batch.seconds else 1.0

    def cancel_batch(self, batch: Batch) -> None:
        """Ask for the end of a batch; it comes a little later."""
        batch.status, batch.cancelled_at = "cancelling", self._wall()
        self.save_state()

    def _finish_batch(self, batch: Batch, status: str, share: float) -> None:
        """Answer the rows, and register the files."""
        batch.status, batch.ended_at = status, self._wall()
        batch.completed = batch.failed = 0
        if "no_output" in batch.faults and status == "completed":
            batch.completed = batch.rows
            return
        output, errors = self.new_id("file"), self.new_id("file")
        tries = 1 + sum(
            each.endpoint == batch.endpoint and each.created_at < batch.created_at
            for each in self.state.batches.values()
        )
        requests = self.path_of(batch.input_file_id)
        files = (self.path_of(output), self.path_of(errors))
        self._answers.write_files(batch, requests, files, share=share, tries=tries)
        for id_, kind in ((output, "output"), (errors, "error")):
            if self.path_of(id_).stat().st_size:
                self.add_file(id_, f"{batch.id}_{kind}.jsonl", "batch_output")
            else:
                self.path_of(id_).unlink()
        if "lost_output" in batch.faults:
            self.state.files.pop(output, None)
            batch.output_file_id = output
            return
        batch.output_file_id = output if output in self.state.files else None
        batch.error_file_id = errors if errors in self.state.files else None

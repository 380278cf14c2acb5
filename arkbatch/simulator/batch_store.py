"""The files and batches of the simulated service, and the state of each batch.

Nothing runs in the background: the state of a batch is computed when it is read. The lines of its files are the answers
that the same bodies get online. With a directory everything is kept on disk, so that another process can continue.
"""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from arkbatch.simulator import faults, tokens, wire
from arkbatch.simulator.endpoints import ENDPOINTS, Asked
from arkbatch.simulator.refusals import Refusal
from arkbatch.simulator.seeded_random import fingerprint, random_for
from arkbatch.simulator.settings import Settings

MOST_ROWS, MOST_BYTES = 50_000, 200_000_000
STATE = "state.json"
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_VALIDATING_SHARE = 0.1  # of the time that a batch takes

# Faults of a call and not of a batch; they are drawn for each call.
OF_CALLS = frozenset({"lost_upload", "lost_create", "poll_502", "torn_content", "cut_content", "oldest_first"})
# At most one of these strikes a batch.
_OF_ENDINGS = ("hang", "no_output", "expired", "bad_line", "token_limit")


class StoredFile(Struct):
    id: str
    filename: str
    purpose: str
    bytes: int
    created_at: float
    expires_at: float | None = None


class Batch(Struct):
    """One batch.

    faults: those that strike it; seconds: how long it takes; tokens: of its input
    """

    id: str
    input_file_id: str
    endpoint: str
    window: str
    created_at: float
    seconds: float
    metadata: dict[str, str] | None = None
    model: str = ""
    faults: list[str] = []
    rows: int = 0
    tokens: int = 0
    status: str = "validating"
    output_file_id: str | None = None
    error_file_id: str | None = None
    errors: list[dict[str, Any]] = []
    completed: int = 0
    failed: int = 0
    cancelled_at: float | None = None
    ended_at: float | None = None
    usage: dict[str, int] = {}


class _State(Struct):
    files: dict[str, StoredFile] = {}
    batches: dict[str, Batch] = {}
    count: int = 0


class BilledLine(Struct, frozen=True):
    """One line that was billed, for tests to compare."""

    custom_id: str
    model: str
    usage: dict[str, Any]


class BatchStore:
    """All files and batches of one simulator; `billed`: each line that cost something."""

    def __init__(self, settings: Settings, wall: Callable[[], float]) -> None:
        self._settings = settings
        self._wall = wall
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self._folder: Path | None = Path(settings.batch_store) if settings.batch_store else None
        self._state: _State | None = None
        self.billed: list[BilledLine] = []

    @property
    def folder(self) -> Path:
        """The folder of the files, made when it is first needed."""
        if self._folder is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="arkbatch-simulator-")
            self._folder = Path(self._temporary.name)
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder

    def close(self) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()

    @property
    def state(self) -> _State:
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
        self.state.count += 1
        return f"{kind}-{self.state.count:06d}{random_for(kind.encode(), self.state.count).getrandbits(48):012x}"

    def path_of(self, file_id: str) -> Path:
        return self.folder / file_id

    def add_file(self, id_: str, filename: str, purpose: str, expires_after: int | None = None) -> StoredFile:
        """Register a file that stands in the folder under its id."""
        now = self._wall()
        size = self.path_of(id_).stat().st_size
        expires = None if expires_after is None else now + expires_after
        file = self.state.files[id_] = StoredFile(id_, filename, purpose, size, now, expires)
        return file

    def delete_file(self, file_id: str) -> bool:
        known = self.state.files.pop(file_id, None) is not None
        self.path_of(file_id).unlink(missing_ok=True)
        self.save_state()
        return known

    # ---- batches

    def create_batch(self, file_id: str, endpoint: str, window: str, metadata: dict[str, str] | None) -> Batch:
        """Create a batch; errors in its file are found when it is validated."""
        id_ = self.new_id("batch")
        chance = random_for(id_.encode())
        usual = self._settings.batch_seconds
        seconds = usual * (0.5 + 0.5 * chance.expovariate(1)) if usual else 0.0
        batch = Batch(id_, file_id, endpoint, window, self._wall(), seconds, metadata)
        batch.faults = list(self._draw_faults(chance))
        self.state.batches[id_] = batch
        self._validate_batch(batch)
        self.save_state()
        return batch

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

    def _validate_batch(self, batch: Batch) -> None:
        """Count the rows, and find errors in the file."""
        seen: set[str] = set()
        path = self.path_of(batch.input_file_id)
        if path.stat().st_size > MOST_BYTES:
            self._reject_batch(batch, "file_too_large", f"The file is larger than {MOST_BYTES} bytes.")
        lines = path.read_bytes().splitlines(keepends=True)
        for number, line in enumerate(lines, 1):
            error = self._wrong_line(batch, line, seen)
            if error is not None:
                self._reject_batch(batch, *error, line=number)
                return
            batch.rows += 1
        if not batch.rows:
            self._reject_batch(batch, "empty_file", "The file has no requests.")
        if batch.rows > MOST_ROWS:
            self._reject_batch(batch, "too_many_tasks", f"The batch has more than {MOST_ROWS} requests.")
        self._check_tokens(batch)
        if "bad_line" in batch.faults and batch.rows > 1 and not batch.errors:
            first = 1 + batch.rows // 2
            for number in range(first, first + max(1, batch.rows // 10)):
                self._reject_batch(batch, "invalid_request", "This line is not a valid request.", line=number)

    def _wrong_line(self, batch: Batch, line: bytes, seen: set[str]) -> tuple[str, str] | None:
        try:
            parsed = orjson.loads(line)
        except orjson.JSONDecodeError:
            return "invalid_json_line", "This line is not parseable as valid JSON."
        body, id_ = parsed.get("body"), parsed.get("custom_id")
        if not isinstance(body, dict) or not isinstance(id_, str) or not id_:
            return "invalid_request", "This line has no custom_id or no body."
        if id_ in seen:
            return "duplicate_custom_id", f"The custom_id {id_} is used more than once."
        seen.add(id_)
        if parsed.get("url") != batch.endpoint:
            return "url_mismatch", f"The url {parsed.get('url')} is not {batch.endpoint}."
        batch.model = batch.model or str(body.get("model", ""))
        if body.get("model", "") != batch.model:
            return "model_mismatch", "All requests of a batch must have the same model."
        batch.tokens += tokens.text_tokens(line.decode(errors="replace"))
        return None

    def _reject_batch(self, batch: Batch, code: str, message: str, line: int | None = None) -> None:
        batch.errors.append({"code": code, "message": message, "param": None, "line": line})

    def _check_tokens(self, batch: Batch) -> None:
        limit = self._settings.enqueued_tokens
        waiting = sum(
            other.tokens
            for other in self.state.batches.values()
            if other is not batch and other.model == batch.model and self._updated_batch(other).status not in ENDED
        )
        struck = "token_limit" in batch.faults and not any(
            other.input_file_id == batch.input_file_id and other is not batch for other in self.state.batches.values()
        )
        if struck or (limit is not None and waiting + batch.tokens > limit):
            named = f" Limit: {limit:,} enqueued tokens." if limit is not None else ""
            said = f"Enqueued token limit reached for {batch.model} in this organization.{named} Please try again once"
            self._reject_batch(batch, "token_limit_exceeded", f"{said} some in_progress batches have been completed.")

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
        elif "expired" in batch.faults and age >= batch.seconds:
            self._finish_batch(batch, "expired", 0.5)
        elif "hang" not in batch.faults and age >= batch.seconds:
            self._finish_batch(batch, "completed", 1.0)
        else:
            batch.status = "crunching" if "strange_state" in batch.faults else "in_progress"
            batch.completed = int(batch.rows * self._share_done(batch, now)) if "hang" not in batch.faults else 0
        return batch

    def _share_done(self, batch: Batch, now: float) -> float:
        """Return the share of the rows that are done at this time."""
        worked = now - batch.created_at - batch.seconds * _VALIDATING_SHARE
        return min(1.0, max(0.0, worked / (batch.seconds * (1 - _VALIDATING_SHARE)))) if batch.seconds else 1.0

    def cancel_batch(self, batch: Batch) -> None:
        batch.status, batch.cancelled_at = "cancelling", self._wall()
        self.save_state()

    def _finish_batch(self, batch: Batch, status: str, share: float) -> None:
        """Answer the rows, and write the files."""
        batch.status, batch.ended_at = status, self._wall()
        batch.completed = batch.failed = 0
        if "no_output" in batch.faults and status == "completed":
            batch.completed = batch.rows
            return
        done, failed = self.new_id("file"), self.new_id("file")
        with self.path_of(done).open("wb") as good, self.path_of(failed).open("wb") as bad:
            for line, is_good in self._output_lines(batch, status, share):
                (good if is_good else bad).write(line)
        if "torn_line" in batch.faults and (size := self.path_of(done).stat().st_size) > 100:
            with self.path_of(done).open("r+b") as file:
                file.truncate(size - 1)
        for id_, kind in ((done, "output"), (failed, "error")):
            if self.path_of(id_).stat().st_size:
                self.add_file(id_, f"{batch.id}_{kind}.jsonl", "batch_output")
            else:
                self.path_of(id_).unlink()
        if "lost_output" in batch.faults:
            self.state.files.pop(done, None)
            batch.output_file_id = done
            return
        batch.output_file_id = done if done in self.state.files else None
        batch.error_file_id = failed if failed in self.state.files else None

    def _output_lines(self, batch: Batch, status: str, share: float) -> Iterator[tuple[bytes, bool]]:
        """Yield the lines of both files in another order than the input's.

        Each comes with whether it is an answer.
        """
        rows = [line for line in self.path_of(batch.input_file_id).read_bytes().split(b"\n") if line]
        chance = random_for(batch.id.encode())
        order = list(range(len(rows)))
        chance.shuffle(order)
        worked_on = set(order[: int(len(rows) * share)])
        for number in order:
            request = orjson.loads(rows[number])
            if number not in worked_on:
                yield self._unsent_line(request["custom_id"], status), False
                continue
            if "missing_lines" in batch.faults and chance.random() < 0.1:
                continue
            times = 2 if "doubled_lines" in batch.faults and chance.random() < 0.1 else 1
            for time in range(times):
                line, is_good = self._answered_line(batch, request, chance, number, time)
                is_moved = "misplaced_lines" in batch.faults and chance.random() < 0.3
                yield line, is_good and not is_moved

    def _unsent_line(self, custom_id: str, status: str) -> bytes:
        code = "batch_expired" if status == "expired" else "batch_cancelled"
        error = {"code": code, "message": "This request could not be executed before the batch ended."}
        line = {"id": self._line_id(custom_id, 0), "custom_id": custom_id, "response": None, "error": error}
        return orjson.dumps(line) + b"\n"

    def _line_id(self, custom_id: str, time: int) -> str:
        return f"batch_req_{random_for(custom_id.encode(), time).getrandbits(64):016x}"

    def _answered_line(
        self, batch: Batch, request: dict[str, Any], chance: Random, number: int, time: int
    ) -> tuple[bytes, bool]:
        custom_id = request["custom_id"]
        status, body = self._reply_to(batch, request, number)
        if "failed_lines" in batch.faults and chance.random() < 0.1:
            status, body = 500, {"error": {"code": "server_error", "message": "The server had an error."}}
        response = {"status_code": status, "request_id": f"req_{number}_{time}", "body": body}
        line = {"id": self._line_id(custom_id, time), "custom_id": custom_id, "response": response, "error": None}
        if status == 200:
            batch.completed += time == 0
            usage = body.get("usage") or {}
            self._bill_line(batch, custom_id, body.get("model", batch.model), usage)
        else:
            batch.failed += time == 0
        return orjson.dumps(line) + b"\n", status == 200

    def _bill_line(self, batch: Batch, custom_id: str, model: str, usage: dict[str, Any]) -> None:
        self.billed.append(BilledLine(custom_id, model, usage))
        for name in ("prompt_tokens", "completion_tokens", "input_tokens", "output_tokens", "total_tokens"):
            if type(usage.get(name)) is int:
                batch.usage[name] = batch.usage.get(name, 0) + usage[name]

    def _reply_to(self, batch: Batch, request: dict[str, Any], number: int) -> tuple[int, dict[str, Any]]:
        """Return what the same body gets online, with the faults that its markers ask for."""
        body = {name: value for name, value in request["body"].items() if value is not None}
        path = batch.endpoint.removeprefix("/v1")
        endpoint, request_id = ENDPOINTS[path], f"{batch.id}-{number}"
        raw = orjson.dumps(body)
        refusal = endpoint.check(body)
        fault: str | None = None
        if refusal is None:
            drawn = faults.asked_for(raw, 1 + sum(b.endpoint == batch.endpoint for b in self._earlier_batches(batch)))
            if isinstance(drawn, Refusal):
                refusal = drawn
            elif drawn is not None:
                refusal, fault = faults.MENU[drawn].refusal, drawn
        if refusal is not None:
            error: dict[str, Any] = orjson.loads(wire.error_body(refusal, batch.model, request_id))
            return refusal.status, error
        asked = Asked(body, fingerprint(body, self._settings.seed), fault)
        said = endpoint.answer(asked, self._settings, request_id, int(batch.created_at))
        return 200, said.body

    def _earlier_batches(self, batch: Batch) -> list[Batch]:
        """Return earlier batches; markers such as `[[fault:server_error:1]]` count them as attempts."""
        return [other for other in self.state.batches.values() if other.created_at < batch.created_at]

"""What the simulator keeps of a file and of a batch."""

from typing import Any

from msgspec import Struct

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})


class StoredFile(Struct):
    """A file; its bytes stand in the folder of the store under its id."""

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

    def note_error(self, code: str, message: str, line: int | None = None) -> None:
        """Note an error of the file, which the batch fails with once it was validated."""
        self.errors.append({"code": code, "message": message, "param": None, "line": line})


class BilledLine(Struct, frozen=True):
    """One line that was billed, for tests to compare."""

    custom_id: str
    model: str
    usage: dict[str, Any]

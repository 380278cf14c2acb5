"""The bill of a simulator: a line of JSON for each answer.

A line is written before the answer is sent, so a simulator that is killed has billed all that it sent.
"""

from typing import TextIO

import orjson

from arkbatch.core.errors import UsageError
from arkbatch.simulator.endpoints import PreparedAnswer


class BillFile:
    """Adds lines to a file; with the path "" it does nothing."""

    def __init__(self, path: str) -> None:
        self._file: TextIO | None = None
        if path:
            try:
                self._file = open(path, "a", encoding="utf-8", buffering=1)
            except OSError as error:
                raise UsageError(f"cannot write the bill to {path}: {error.strerror or error}") from error

    def add(self, request_id: str, fault: str | None, said: PreparedAnswer) -> None:
        if self._file is None:
            return
        counts = {"input": said.input, "output": said.output, "cached": said.cached, "reasoning": said.reasoning}
        self._file.write(orjson.dumps({"id": request_id, "fault": fault or "", **counts}).decode() + "\n")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

"""Checks answers against a JSON Schema in another process.

A pattern such as `^(a+)+$` can take a regular expression for ever, and nothing in Python can interrupt it. So answers
are checked in a child process, which is killed when one answer takes too long, and started anew for the next. A thread
talks to it, since its pipes block.

The lines on both pipes are JSON: to the child the schema's text, then one value a line; from the child one reason a
line, null where the value satisfies the schema.
"""

import asyncio
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import orjson

from arkbatch.core.secret_variables import without_secrets
from arkbatch.engine.json_schema import build_schema_check

LONGEST_CHECK_SECONDS = 5.0
_LONGEST_START_SECONDS = 60.0  # a busy machine takes some seconds to import the library
_SERVE = "from arkbatch.engine.schema_process import serve_checks; serve_checks()"
_TOO_SLOW = (
    "it took longer than {seconds:g} s to check the answer against the schema; look for a slow pattern in the schema"
)


class SchemaProcess:
    """Checks values one after the other. Close it at the end of the session."""

    def __init__(self, schema_text: str) -> None:
        self._schema_text = schema_text
        self._thread = ThreadPoolExecutor(1, "schema")
        self._process: subprocess.Popen[bytes] | None = None

    async def misfit(self, value: object) -> str | None:
        """Why the value does not satisfy the schema. None: it does."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._check_value, orjson.dumps(value))

    def close(self) -> None:
        """End the process."""
        self._kill_process()
        self._thread.shutdown(wait=False)

    def _check_value(self, value: bytes) -> str | None:
        """In the thread."""
        try:
            process = self._running_process()
            reason = _ask_process(process, value, LONGEST_CHECK_SECONDS)
        except TimeoutError:
            self._kill_process()
            return _TOO_SLOW.format(seconds=LONGEST_CHECK_SECONDS)
        except OSError as error:
            self._kill_process()
            return f"the answer could not be checked against the schema: {error}"
        return reason

    def _running_process(self) -> "subprocess.Popen[bytes]":
        if self._process is None:
            self._process = subprocess.Popen(  # noqa: S603 - this interpreter, with no word of others
                [sys.executable, "-P", "-c", _SERVE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the session, which still has answers to check
                env={**without_secrets(os.environ), "PYTHONPATH": os.pathsep.join(sys.path)},
            )
            _ask_process(self._process, orjson.dumps(self._schema_text), _LONGEST_START_SECONDS)
        return self._process

    def _kill_process(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _ask_process(process: "subprocess.Popen[bytes]", line: bytes, seconds: float) -> str | None:
    """Send one line and read one. TimeoutError: none came in time; OSError: the process has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    began = time.monotonic()
    # To be killed is what ends the wait. `select` would not do: it takes no descriptor above 1023.
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        process.stdin.write(line + b"\n")
        process.stdin.flush()
        answer = process.stdout.readline()
    finally:
        timer.cancel()
    if not answer:
        if time.monotonic() - began >= seconds:
            raise TimeoutError
        raise OSError("the checking process ended")
    reason: str | None = orjson.loads(answer)
    return reason


def serve_checks() -> None:
    """The child: read the schema, then check each value until the parent closes the pipe."""
    lines, reasons = sys.stdin.buffer, sys.stdout.buffer
    misfit = build_schema_check(orjson.loads(lines.readline()))
    reasons.write(b"null\n")  # it is ready
    reasons.flush()
    for line in lines:
        reasons.write(orjson.dumps(misfit(orjson.loads(line))) + b"\n")
        reasons.flush()

"""The exceptions that end a run, and the exit code of each.

    ArkbatchError               1  an unexpected error
    ├── UsageError              2  the command line or an environment value is wrong
    │   └── JobError            2  a key of the job file is wrong
    ├── RunDirectoryError       5  the run directory cannot be used as asked
    │   ├── RunLocked           5  another process writes to it
    │   ├── RunChanged          5  the input or the job is not the one that the run began with
    │   ├── RunDamaged          5  a file in it has lines that arkbatch did not write
    │   └── StorageFull         5  the disk took no more bytes
    └── Halted                  4  every request would fail until something is fixed

How a row ends is never an exception: see `core.outcomes`. A message is one line that says what happened
and what to do next; it reaches the user unchanged.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the process; they are public and documented."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    FAILED_ROWS = 3
    HALTED = 4
    RUN_DIRECTORY = 5
    ORDERED = 6  # everything is ordered elsewhere, and answers are not all here (--detach)
    INTERRUPTED = 130


class ArkbatchError(Exception):
    """The base class of every exception that arkbatch raises on purpose."""

    exit_code = ExitCode.UNEXPECTED


class UsageError(ArkbatchError):
    exit_code = ExitCode.USAGE


class JobError(UsageError):
    """A job file has a mistake; the message names key, value and what is allowed."""


class RunDirectoryError(ArkbatchError):
    exit_code = ExitCode.RUN_DIRECTORY


class RunLocked(RunDirectoryError):
    """Another process writes to the run; the message names it."""


class RunChanged(RunDirectoryError):
    """The input or a parameter has changed since the run began; the message lists how."""


class RunDamaged(RunDirectoryError):
    """A journal file holds a line that arkbatch did not write."""


class StorageFull(RunDirectoryError):
    """The disk is full; everything recorded before stays readable."""


class Halted(ArkbatchError):
    """Every request would fail until something is fixed; rows without a record stay undone.

    run_dir, summary: set when the Python API raises it
    """

    exit_code = ExitCode.HALTED
    run_dir: str = ""
    summary: object = None

"""The exceptions that end a run, and the exit code of each.

    ArkbatchError               1  something we did not expect
    ├── UsageError              2  the command line or an environment value is wrong
    │   └── JobError            2  a key of the job file is wrong
    ├── RunDirectoryError       5  the run directory cannot be used as asked
    │   ├── RunLocked           5  another process writes to it
    │   ├── RunChanged          5  the input or the job is not the one that the run began with
    │   ├── RunDamaged          5  a file in it is not what we wrote
    │   └── StorageFull         5  the disk took no more bytes
    └── Halted                  4  every request would fail until something is fixed

How a *row* ends is never an exception: see `records.Outcome`. Messages are one line that says what
happened and what to do next; they reach the user as they are.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """What the process returns; public, documented in the README."""

    OK = 0
    UNEXPECTED = 1
    USAGE = 2
    FAILED_ROWS = 3
    HALTED = 4
    RUN_DIRECTORY = 5
    ORDERED = 6  # everything is ordered elsewhere, and answers are not all here (--detach)
    INTERRUPTED = 130


class ArkbatchError(Exception):
    """The root: everything that arkbatch raises on purpose."""

    exit_code = ExitCode.UNEXPECTED


class UsageError(ArkbatchError):
    exit_code = ExitCode.USAGE


class JobError(UsageError):
    """A mistake in a job file; the message names the key, the value and what is allowed."""


class RunDirectoryError(ArkbatchError):
    exit_code = ExitCode.RUN_DIRECTORY


class RunLocked(RunDirectoryError):
    """Another process holds the run; the message names it."""


class RunChanged(RunDirectoryError):
    """The input or a parameter differs from what the run began with; the message lists how."""


class RunDamaged(RunDirectoryError):
    """A line that we did not write stands in a journal file."""


class StorageFull(RunDirectoryError):
    """A write was refused for want of space; all that was recorded before stays readable."""


class Halted(ArkbatchError):
    """Every request would fail until something is fixed; rows without a record stay undone.

    run_dir, summary: where the run stands, on one that the Python API raises
    """

    exit_code = ExitCode.HALTED
    run_dir: str = ""
    summary: object = None

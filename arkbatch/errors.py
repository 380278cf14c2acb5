"""The exceptions that arkbatch raises on purpose, for programs: `except arkbatch.errors.ArkbatchError`."""

from arkbatch.core.errors import (
    ArkbatchError,
    ExitCode,
    Halted,
    JobError,
    RunChanged,
    RunDamaged,
    RunDirectoryError,
    RunLocked,
    StorageFull,
    UsageError,
)

__all__ = [
    "ArkbatchError",
    "ExitCode",
    "Halted",
    "JobError",
    "RunChanged",
    "RunDamaged",
    "RunDirectoryError",
    "RunLocked",
    "StorageFull",
    "UsageError",
]

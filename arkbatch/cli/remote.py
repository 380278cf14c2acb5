"""Object storage on the command line: inputs, run directories and answers in a bucket."""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from arkbatch.engine.run_beside import run_beside
from arkbatch.rows.object_storage import is_remote

if TYPE_CHECKING:
    from arkbatch.rows.object_folder import ObjectFolder

JOB_FILE = ".toml"
UPLOAD_SECONDS = 300.0  # between two uploads of a run directory, at least
PAUSE_IN_UPLOADS = 10  # the pause is so many times as long as the upload before
# What is uploaded, in this order: the totals never tell of more than the records that follow.
RUN_FILES = ("ledger.bin", "usage.json", "run.json", "run.log", "failures.jsonl", "results.jsonl")


def local_job_words(
    input_: str, flags: dict[str, Any], leave_shards: "Callable[[str], None]"
) -> tuple[str, dict[str, Any], str]:
    """Return input and flags of a run on this machine, and the address in a bucket for its directory.

    A remote input is copied into the run directory, also one that a job file names. A remote run directory is worked on
    in a directory of its name.

    leave_shards: merges a run of several machines, given its address. RunDirectoryError: not all shards are finished.
    """
    if target := remote_run_dir(input_, flags):
        from arkbatch.rows.object_folder import ObjectFolder

        flags = flags | {"run_dir": target.rpartition("/")[2]}
        leave_shards(target)
        fetch_run(ObjectFolder(target), Path(flags["run_dir"]))  # so that it is continued and not replaced
    return *_with_local_input(input_, flags, None), target


def fetch_run(folder: "ObjectFolder", run: Path) -> None:
    """Copy a run to this machine, where there is none. RunDirectoryError: the one here is older."""
    if not run.exists():
        run.mkdir(mode=0o700, parents=True)
        if not copy_run_files(folder, run):
            run.rmdir()
        return
    import msgspec

    from arkbatch.core.errors import RunDirectoryError
    from arkbatch.journal.run_directory import RUN, RunDirectory
    from arkbatch.journal.run_info import RunInfo

    directory, stored = RunDirectory(run), folder.read_if_there(RUN)
    if stored is None or not directory.exists:
        return
    here, there = directory.read_info(), msgspec.json.decode(stored, type=RunInfo)
    if here.run_id != there.run_id or len(here.sessions) < len(there.sessions):
        raise RunDirectoryError(
            f"{run} is not the run that {folder.address} holds now, or is older. Move it away, and run the same "
            f"command again: the run is copied from there."
        )


def local_copy(input_: str, flags: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the same for a command that only reads; remote inputs are copied until the command ends."""
    if not any(map(is_remote, inputs_of(input_)[0])):
        return input_, flags
    folder = click.get_current_context().with_resource(tempfile.TemporaryDirectory())
    return _with_local_input(input_, flags, Path(folder))


def input_of_run(run_dir: str) -> str:
    """Return where the input of a run can be read that is in object storage, "" for a run whose input is on disk.

    It is copied until the command ends. Rows that changed meanwhile are noticed by what was recorded of them.
    """
    from arkbatch.journal.run_directory import RunDirectory

    path = RunDirectory(Path(run_dir)).read_info().input.path
    return "" if (copied := local_copy(path, {})[0]) == path else copied


def _with_local_input(input_: str, flags: dict[str, Any], folder: Path | None) -> tuple[str, dict[str, Any]]:
    """Copy remote inputs into the run directory, or into another folder."""
    from arkbatch.rows.remote_input import fetch_input
    from arkbatch.rows.several_files import joined_paths

    names, run_dir = inputs_of(input_)
    if not any(map(is_remote, names)):
        return input_, flags
    run_dir = flags.get("run_dir") or run_dir
    copies = [
        fetch_input(name, folder or Path(run_dir), number=number if len(names) > 1 else None)
        if is_remote(name)
        else name
        for number, name in enumerate(names, 1)
    ]
    flags = flags | {"run_dir": run_dir} if folder is None else flags
    if input_.lower().endswith(JOB_FILE):
        return input_, flags | {"input": joined_paths(copies)}
    return joined_paths(copies), flags


def remote_run_dir(input_: str, flags: dict[str, Any]) -> str:
    """Return the address of a run directory in a bucket that a flag or the job file names, "" for one on disk."""
    named = flags.get("run_dir")
    if not named and input_.lower().endswith(JOB_FILE):
        named = _read_job_file(Path(input_)).get("run_dir")
    return named.rstrip("/") if isinstance(named, str) and is_remote(named) else ""


def inputs_of(input_: str) -> tuple[list[str], str]:
    """The inputs that are named, by a job file too, and the run directory where no flag names one."""
    from arkbatch.rows.several_files import parts_of

    if not input_.lower().endswith(JOB_FILE):
        names = parts_of(input_)
        stem = names[0].rpartition("/")[2].partition(".")[0]
        return names, f"{stem if stem and '*' not in stem else 'bucket'}.run"
    table, folder = _read_job_file(Path(input_)), Path(input_).parent
    named = table.get("input", [])
    names = [name for name in (named if isinstance(named, list) else [named]) if isinstance(name, str)]
    run_dir = table.get("run_dir")
    return (
        [name if is_remote(name) else str(folder / name) for name in names],
        str(folder / run_dir) if isinstance(run_dir, str) else input_[: -len(JOB_FILE)] + ".run",
    )


def name_of_input(input_: str) -> str:
    """Return the inputs as the user names them, also in a job file."""
    from arkbatch.rows.several_files import joined_paths

    return joined_paths(inputs_of(input_)[0])


def _read_job_file(path: Path) -> dict[str, Any]:
    """What a job file holds; nothing where it cannot be read, which is explained where the job is made of it."""
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return {}


@contextmanager
def remote_file(address: str, *, replace: bool) -> Iterator[str]:
    """Give a path to write to; its file is uploaded when the body has ended without an error."""
    from arkbatch.rows.object_storage import upload_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / address.rpartition("/")[2]
        yield str(path)
        upload_file(path, address, replace=replace)


@contextmanager
def readable_run(run_dir: str, *, with_records: bool = True) -> Iterator[str]:
    """Give the run directory to read; one in a bucket is copied until the body ends.

    with_records: False for a reader that needs no more than the sums of the ledgers, so that no answer is copied
    """
    if not is_remote(run_dir):
        yield run_dir
        return
    from arkbatch.cluster.bucket_shards import copy_shards
    from arkbatch.core.errors import RunDirectoryError
    from arkbatch.rows.object_folder import ObjectFolder

    folder = ObjectFolder(run_dir)
    with tempfile.TemporaryDirectory(prefix="arkbatch-") as place:
        run = Path(place) / folder.address.rpartition("/")[2]
        run.mkdir()
        if not copy_shards(folder, run, with_records=with_records) and not copy_run_files(
            folder, run, with_records=with_records
        ):
            raise RunDirectoryError(f"{folder.address} is not a run directory: it has no run.json.")
        yield str(run)


def copy_run_files(folder: "ObjectFolder", run: Path, *, with_records: bool = True) -> bool:
    """Copy the files of a run in a bucket into a directory; return False where there is no run.

    with_records: False where sums suffice; then records are left out that the ledger knows
    """
    from arkbatch.journal.journal import stand_in_for_records

    sizes = {each.name: each.size for each in folder.list_objects()}
    if "run.json" not in sizes:
        return False
    for name in RUN_FILES:
        if name in sizes:  # a run without failures has no file of them
            begin = (run / name).stat().st_size if (run / name).exists() else 0
            folder.download_object(name, run / name, sizes[name], begin)
        if name == RUN_FILES[0] and not with_records:
            stand_in_for_records(run)
    return True


def upload_run(run_dir: str, target: str) -> None:
    """Put the files of a run directory below an address in a bucket."""
    from arkbatch.rows.object_storage import upload_file

    for name in RUN_FILES:
        path = Path(run_dir) / name
        if path.exists():
            upload_file(path, f"{target.rstrip('/')}/{name}", replace=True)


@asynccontextmanager
async def keep_uploaded(run_dir: str, target: str, note: Callable[[str], None]) -> AsyncIterator[None]:
    """Upload the run directory at intervals while the body runs. A failed upload is reported and tried again."""
    async with run_beside(_keep_uploading(run_dir, target, note)):
        yield


async def _keep_uploading(run_dir: str, target: str, note: Callable[[str], None]) -> None:
    from arkbatch.core.errors import ArkbatchError

    clock, pause = asyncio.get_running_loop().time, UPLOAD_SECONDS
    while True:
        await asyncio.sleep(pause)
        began = clock()
        try:
            await asyncio.to_thread(upload_run, run_dir, target)
        except (ArkbatchError, OSError) as error:
            note(f"The upload to {target} failed and is tried again: {error}")
        pause = max(UPLOAD_SECONDS, PAUSE_IN_UPLOADS * (clock() - began))

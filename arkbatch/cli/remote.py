"""Object storage on the command line: an input from a bucket, a run directory and answers that go to one."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import click

from arkbatch.rows.storage import is_remote

UPLOAD_SECONDS = 300.0  # between two uploads of a run directory, at least
PAUSE_IN_UPLOADS = 10  # the pause is so many times as long as the upload before
# What is uploaded, in this order: the totals never tell of more than the records that follow.
RUN_FILES = ("ledger.bin", "usage.json", "run.json", "run.log", "failures.jsonl", "results.jsonl")


def local_job_words(input_: str, flags: dict[str, Any]) -> tuple[str, dict[str, Any], str]:
    """The input and the flags of a run on this machine, and the address in a bucket where the run directory goes.

    A remote input is copied into the run directory. A remote run directory is worked on in a directory of its name.
    """
    target = flags.get("run_dir") or ""
    if is_remote(target):
        flags = flags | {"run_dir": target.rstrip("/").rpartition("/")[2]}
    else:
        target = ""
    if is_remote(input_):
        from arkbatch.rows.remote_input import fetch_input

        run_dir = flags.get("run_dir") or f"{input_.rpartition('/')[2].partition('.')[0] or 'bucket'}.run"
        input_, flags = fetch_input(input_, Path(run_dir)), flags | {"run_dir": run_dir}
    return input_, flags, target


def local_copy(input_: str) -> str:
    """The input of a command that only looks: a remote one is copied for as long as the command runs."""
    if not is_remote(input_):
        return input_
    from arkbatch.rows.remote_input import fetch_input

    folder = click.get_current_context().with_resource(tempfile.TemporaryDirectory())
    return fetch_input(input_, Path(folder))


@contextmanager
def remote_file(address: str, *, replace: bool) -> Iterator[str]:
    """A path to write to, whose file goes to an address in a bucket when the body has ended well."""
    from arkbatch.rows.storage import upload_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / address.rpartition("/")[2]
        yield str(path)
        upload_file(path, address, replace=replace)


@contextmanager
def readable_run(run_dir: str) -> Iterator[str]:
    """The run directory to read: one in a bucket is copied for as long as the body runs."""
    if not is_remote(run_dir):
        yield run_dir
        return
    from arkbatch.core.errors import UsageError
    from arkbatch.rows.storage import copy_ranges, open_bytes

    address = run_dir.rstrip("/")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / address.rpartition("/")[2]
        place.mkdir()
        for name in RUN_FILES:
            source = open_bytes(f"{address}/{name}")
            try:
                size = source.identity().size
            except UsageError:
                if name == "run.json":
                    raise
                continue  # a run without failures has no file of them
            with open(place / name, "wb") as file:
                file.writelines(copy_ranges(source, 0, size))
        yield str(place)


def upload_run(run_dir: str, target: str) -> None:
    """Put the files of a run directory below an address in a bucket."""
    from arkbatch.rows.storage import upload_file

    for name in RUN_FILES:
        path = Path(run_dir) / name
        if path.exists():
            upload_file(path, f"{target.rstrip('/')}/{name}", replace=True)


@asynccontextmanager
async def keep_uploaded(run_dir: str, target: str, note: Callable[[str], None]) -> AsyncIterator[None]:
    """Upload the run directory at intervals while the body runs. A failed upload is reported and tried again."""
    task = asyncio.create_task(_keep_uploading(run_dir, target, note))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


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

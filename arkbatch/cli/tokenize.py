"""What `estimate --tokenize` does: asks Ark's tokenization for each row, and says how that went."""

import asyncio
import sys
import time

import click

from arkbatch.api.background import loop_factory
from arkbatch.cli.session import told_simulated
from arkbatch.core.errors import UsageError
from arkbatch.core.job import Job
from arkbatch.core.text import count, counted, printable
from arkbatch.core.types import Cause, Row
from arkbatch.estimate.count_tokens import Counted, count_tokens
from arkbatch.estimate.forecast import BY_CHARACTERS, Counting
from arkbatch.estimate.input_sizes import Kinds, readable_rows
from arkbatch.limits.token_estimator import OVERHEAD
from arkbatch.pricing.run_cost import ONLINE
from arkbatch.protocol.endpoints.batch_lane import misplaced
from arkbatch.transport.fd_limit import allow_files

MOST_AROUND = 100.0  # tokens that the service puts around a request; 97 were seen


def refuse_to_count(job: Job) -> None:
    """UsageError: the job's rows cannot be counted by Ark's tokenization."""
    if not job.at_ark:
        raise UsageError(f"--tokenize asks Ark's tokenizer, which {job.base_url} is not; leave it out")
    if job.encrypt:
        raise UsageError("--tokenize would send the prompts in clear, and the job is encrypted; leave it out")
    if misplaced(job.model, ONLINE):
        raise UsageError(f"--tokenize makes online calls, which {job.model} does not take; leave it out")


def count_rows(job: Job, kinds: Kinds, *, after_sample: bool = False) -> Counting:
    """Count the rows that matter into `kinds`. UsageError: the service counts none. KeyboardInterrupt: as it says."""
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        found = runner.run(_count(job, kinds, after_sample=after_sample))
    if found.halt is not None:
        advice = f" {found.halt.advice}." if found.halt.advice else ""
        raise UsageError(f"the tokens could not be counted: {_said(found.halt)}.{advice} Or leave --tokenize out")
    click.echo(printable(_text(found)), err=True)
    missing = f", {count(found.failed)} of {count(found.rows)} rows by characters" if found.failed else ""
    return Counting(
        f"counted by Ark's tokenization, with up to {MOST_AROUND:.0f} tokens around each request{missing}",
        factor=1 + ((BY_CHARACTERS.factor - 1) * found.failed / found.rows if found.rows else 0.0),
        fewer=OVERHEAD,
        more=MOST_AROUND - OVERHEAD,
    )


async def _count(job: Job, kinds: Kinds, *, after_sample: bool) -> Counted:
    from tqdm import tqdm

    allow_files(job.limits.concurrency * (2 if job.simulated else 1))
    with tqdm(unit=" rows", unit_scale=True, desc="counting", leave=False, disable=not sys.stderr.isatty()) as bar:

        def told(row: Row, tokens: int | None) -> None:
            kinds.add(row, tokens)
            bar.update()

        async with told_simulated(job, said=after_sample) as ready:
            return await count_tokens(ready, kinds.wanted(readable_rows(job)), told, time.time)


def _text(found: Counted) -> str:
    rows, calls = counted(found.rows - found.failed, "row"), counted(found.calls, "call")
    said = f"Counted {rows} by Ark's tokenization, in {calls}."
    if found.failed and found.cause is not None:
        missing, why = counted(found.failed, "row"), _said(found.cause)
        said += f" {missing} could not be counted ({why}): a rule by characters stands in."
    return said


def _said(cause: Cause) -> str:
    return " ".join(part for part in (cause.kind.value, cause.message) if part).rstrip(".")

"""`arkbatch shard`: one input on several machines, without a cluster engine."""

from typing import Any

import click

from arkbatch.cli.options import (
    ENDPOINTS,
    limit_options,
    request_options,
    serving_options,
    summary_json_option,
    table_options,
)


@click.group(short_help="Work off one input on several machines: Slurm, Kubernetes, GNU parallel.")
def command() -> None:
    """Cut an input into shards, and work them off on several machines.

    The machines share a directory or a bucket. `plan` cuts the input, `serve` keeps the limits of all workers together,
    `run` is a worker, and `arkbatch merge` makes one run of the shards.

    \b
    Examples:
      arkbatch shard plan job.toml -o nightly.run --shards 64
      arkbatch shard serve nightly.run
      arkbatch shard run nightly.run
      arkbatch merge nightly.run
    """


@command.command(short_help="Cut the input into shards.")
@click.argument("inputs", metavar="INPUT...", nargs=-1, required=True)
@click.option("-o", "--run-dir", metavar="RUN_DIR", help="Where results go (default: the input's name with .run).")
@click.option("--shards", type=click.IntRange(1), metavar="N", help="About so many shards (default: by the size).")
@click.option("--endpoint", metavar=ENDPOINTS, help="What rows ask for if they do not say; a path: /rerank.")
@table_options
@request_options
@limit_options
@click.option("--simulate", is_flag=True, default=None, help="Workers take answers from a simulator of their own.")
def plan(inputs: tuple[str, ...], shards: int | None, **flags: Any) -> int:
    """Cut input files into shards. Several files, patterns in quotes and addresses in object storage may be given.

    \b
    Examples:
      arkbatch shard plan prompts.jsonl --model doubao-seed-1-6-251015 --shards 64
      arkbatch shard plan 'in/*.jsonl' more.jsonl -o all.run --model doubao-seed-1-6-251015
    """
    from arkbatch.cli.cluster_plan import plan_run
    from arkbatch.core.text import count_text

    planned = plan_run(inputs, flags, shards=shards)
    parts, run_dir = planned.plan.parts, planned.run_dir
    size = sum(part.size for part in parts)
    said = f"{count_text(planned.plan.count, 'shard')} of {count_text(len(parts), 'file')}, {size:,} bytes"
    click.echo(f"{said}: {run_dir}")
    click.echo(f"Start the coordinator:  arkbatch shard serve {run_dir}", err=True)
    click.echo(f"Start workers:  arkbatch shard run {run_dir}", err=True)
    return 0


@command.command(short_help="Keep the limits of all workers together, and hand out shards.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Default: any free one.")
@limit_options
@serving_options
@summary_json_option
def serve(
    run_dir: str, host: str, port: int, *, as_json: bool, live: int | None, metrics: int | None, **flags: Any
) -> int:
    """Serve the coordinator of a run until all shards are done, then merge them.

    Workers find its address and token in the run directory. It listens on this machine alone unless --host says
    otherwise. Ctrl-C lets workers end their calls, a second one abandons them; the same command resumes later.
    arkbatch ctl, --live and --metrics work as on one machine, for all workers together.
    """
    from arkbatch.cli.cluster_lead import lead_run
    from arkbatch.cli.live_and_metrics import Serving

    return lead_run(run_dir, flags, host=host, port=port, as_json=as_json, serving=Serving(live, metrics))


@command.command(short_help="Be a worker: work off shards until none is left.")
@click.argument("run_dir", metavar="RUN_DIR")
@click.option("--index", type=click.IntRange(0), metavar="I", help="This worker's number, without a coordinator.")
@click.option("--of", type=click.IntRange(1), metavar="N", help="How many such workers there are.")
@click.option("--coordinator", metavar="URL", help="Its address; the token is in ARKBATCH_COORDINATOR_TOKEN.")
@limit_options
def run(run_dir: str, index: int | None, of: int | None, coordinator: str | None, **flags: Any) -> int:
    """Work off shards of a planned run.

    With a coordinator, shards are handed out and limits are shared. With --index, this worker takes shard I, or with
    --of N shards I, I+N, I+2N and so on, and each worker keeps its part of the limits. Slurm's SLURM_ARRAY_TASK_ID and
    Kubernetes' JOB_COMPLETION_INDEX stand for --index where no coordinator is there.

    \b
    Examples:
      arkbatch shard run nightly.run
      arkbatch shard run nightly.run --index 3 --of 16
      arkbatch shard run nightly.run --coordinator http://10.0.0.5:8700
    """
    from arkbatch.cli.cluster_worker import work_on

    return work_on(run_dir, index, of, coordinator, flags)
